"""Presentation of a metric in figures, captions and published tables: an attribute of its class."""

from typing import Any, Literal, NamedTuple

# linear: values as they are. decades: a logarithmic axis once values span more than a factor of
# ten. saturating: values crowd towards 1 and are drawn as -10 log10(1 - value), in dB.
Scale = Literal["linear", "decades", "saturating"]


class Presentation(NamedTuple):
    """Facts about a metric that figures need, as the attribute `presentation` of its class."""

    scale: Scale = "linear"
    realism: int | None = None  # rank among the metrics that may judge realism, best founded first
    published: str = ""  # its name among published numbers; empty: that of its column
    # protocol ids of published numbers that the paper's figures may draw beside measured ones
    meets: tuple[str, ...] = ()
    few: str = "biased upward"  # what a metric of a whole set is over few images


def presentation_of(metric: type[Any]) -> Presentation:
    """Return the presentation that a metric's class declares, or the defaults without one."""
    found: Presentation = getattr(metric, "presentation", Presentation())
    return found
