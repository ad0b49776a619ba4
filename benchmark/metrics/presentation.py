"""Presentation of a metric in figures, captions and published tables: an attribute of its class."""

from typing import Any, Literal, NamedTuple

# linear: values as they are. decades: a logarithmic axis once values span more than a factor of
# ten. saturating: values crowd towards 1 and are drawn as -10 log10(1 - value), in dB.
Scale = Literal["linear", "decades", "saturating"]


# What a metric measures, as sentences name it. distortion: differences of pixels. perceptual
# quality: a distortion too, of one image to its source, as it is seen (LPIPS, DISTS). realism: how
# far decoded images are from photographs, whatever their sources; distribution metrics always are
# of it (Blau and Michaeli, "The Perception-Distortion Tradeoff", 2018).
Kind = Literal["distortion", "perceptual quality", "realism"]


class Presentation(NamedTuple):
    """Facts about a metric that figures need, as the attribute `presentation` of its class."""

    scale: Scale = "linear"
    # rank among metrics for the realism axis of figures, best founded first; those of perceptual
    # quality come last and stand in for a metric of realism, which captions say
    realism: int | None = None
    published: str = ""  # its name among published numbers; empty: that of its column
    # protocol ids of published numbers that the paper's figures may draw beside measured ones
    meets: tuple[str, ...] = ()
    kind: Kind = "distortion"
    over_few: str = "biased upward"  # what a metric of a whole set is over few images


def presentation_of(metric: type[Any]) -> Presentation:
    """Return the presentation that a metric's class declares, or the defaults without one."""
    found: Presentation = getattr(metric, "presentation", Presentation())
    return found
