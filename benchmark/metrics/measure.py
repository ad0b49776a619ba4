"""Metrics as tables name them and figures plot them, and what some of them lack on this machine.

Rows keep the reason for a value's absence as a text that begins with its kind and remedy; without
these, as in older rows, it is tried again:

    weights (bench fetch alexnet): no weight file alexnet_features.pth in ...
    pixels: MS-SSIM needs at least 161 px on the shorter side, this image has 40
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from benchmark.codec import CODING, Float64Array
from benchmark.errors import NotMeasurable, Reason, Unavailable
from benchmark.metrics.metric import FEW_IMAGES, Kind, Presentation, Scale, has_influence
from benchmark.registry import (
    DISTRIBUTION_METRICS,
    METRICS,
    Better,
    is_brought,
    metric_class,
    metric_named,
    require_packages,
    scored_by_image,
)

# Panels of the figure that holds several metrics: of each, the first that any codec has; LPIPS on
# AlexNet's features is in training losses, on SqueezeNet's it is not.
OVERVIEW = (("psnr",), ("ms_ssim",), ("lpips_squeeze", "lpips"))


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as tables name it and figures draw it."""

    column: str  # "psnr_db"
    label: str  # "PSNR (dB)"
    better: Better
    scale: Scale = "linear"
    # of the class alone: see `Presentation`
    realism: int | None = field(default=None, compare=False)
    published: str = field(default="", compare=False)
    meets: tuple[str, ...] = field(default=(), compare=False)
    kind: Kind = field(default="distortion", compare=False)
    over_few: str = field(default="biased upward", compare=False)
    of_sets: bool = False  # reduced from features: values of single images are to first order
    by_image: bool = True  # whether values differ by image; not where influence is unknown

    @classmethod
    def named(cls, name: str) -> "Measure":
        """Return the metric of that name in the registry."""
        metric, of_sets = metric_class(name), name in DISTRIBUTION_METRICS
        facts = getattr(metric, "presentation", Presentation())._asdict()
        if of_sets:
            facts |= {"kind": "realism", "of_sets": True, "by_image": has_influence(metric)}
        return cls(metric.column, metric.label, metric.better, **facts)

    @property
    def saturating(self) -> bool:
        """True if values crowd towards 1, so that they are plotted and integrated in dB."""
        return self.scale == "saturating"

    @property
    def axis_label(self) -> str:
        """Label of the axis in figures, with the unit that is plotted."""
        return f"{self.label} (dB)" if self.saturating else self.label

    def few(self, images: int) -> bool:
        """Return whether this is a distribution metric over so few images that it is marked."""
        return self.of_sets and images < FEW_IMAGES

    def plotted(self, value: float) -> float:
        """Return the place of a value on the axis: the value itself, or -10 log10(1 - value).

        >>> Measure("ms_ssim", "MS-SSIM", "higher", "saturating").plotted(0.75)
        6.0205...
        """
        if not self.saturating:
            return value
        return -10 * math.log10(1 - value) if value < 1 else math.inf

    def unplotted(self, place: float) -> float:
        """Return the value at a place on the axis, the inverse of `plotted`."""
        return 1 - 10 ** (-place / 10) if self.saturating else place

    def quality(self, value: float) -> float:
        """Return the quality of a value, by which curves are compared: more is better.

        As plotted; distances of distributions fall by decades and enter by their logarithm (base
        10), NaN for a value that is not above 0.

        >>> [Measure("fd", "FD", "lower", "decades").quality(value) for value in (100.0, 0.1)]
        [-2.0, 1.0]
        """
        place = self.plotted(value)
        if self.scale == "decades":
            place = math.log10(place) if place > 0 else math.nan
        return place if self.better == "higher" else -place

    def value(self, quality: float) -> float:
        """Return the value of a quality, the inverse of `quality`."""
        place = quality if self.better == "higher" else -quality
        return float(10**place) if self.scale == "decades" else self.unplotted(place)


PREFERENCE = Measure("preference", "Preference (log of odds)", "higher")  # of studies


def protocols(metrics: Iterable[str]) -> dict[str, str]:
    """Return the protocol ids of coding and of metrics, by column: values of one id compare."""
    return {"coding": CODING, **{metric_named(name).column: protocol_of(name) for name in metrics}}


def protocol_of(name: str) -> str:
    """Return a metric's protocol id; a distribution metric's names its reduction and its features.

    >>> protocol_of("psnr"), protocol_of("fid256")
    ('psnr-rgb8/1', 'fid256/1-pytorch-fid-0.3.0-6726825d')
    """
    kind = metric_named(name)
    if name not in DISTRIBUTION_METRICS:
        return kind.protocol
    of_features = metric_named(kind.space).protocol
    versions = (protocol.partition("/")[2] for protocol in (kind.protocol, of_features))
    return f"{kind.column}/{'-'.join(versions)}"


def overview_columns(counts: Mapping[str, int]) -> list[str]:
    """Return the columns of the overview: of each choice the first with any value.

    Metrics of users' files, which were asked for by name, follow.

    counts: numbers of values by metric column; metrics without any are left out.

    >>> overview_columns({"psnr_db": 3, "lpips_alex": 2, "lpips_squeeze": 0, "mine": 1})
    ['psnr_db', 'lpips_alex', 'mine']
    """
    result = []
    for metrics in OVERVIEW:
        columns = [metric_named(metric).column for metric in metrics]
        result += [column for column in columns if counts.get(column)][:1]
    known = {metric_named(metric).column for metric in (*METRICS, *DISTRIBUTION_METRICS)}
    return result + [column for column in counts if column not in known and counts[column]]


def psnr_of_mean_mse(psnr_db: Float64Array) -> float | None:
    """Return the PSNR (dB) of the mean over images of their mean squared errors.

    psnr_db: PSNR of each image, NaN for none, infinite for an image without error, which counts.
    None where no image has a value, or none an error.

    >>> psnr_of_mean_mse(np.array([20.0, np.inf]))
    23.01029...
    """
    known = psnr_db[~np.isnan(psnr_db)]
    if not np.isfinite(known).any():
        return None
    return float(-10 * np.log10(np.mean(10 ** (-known / 10))))


NOT_COMPUTED = "not computed"
ABSENT = {
    "weights": "weights absent", "package": "Python package absent", NOT_COMPUTED: NOT_COMPUTED,
}  # fmt: skip
KINDS = (*ABSENT, "pixels")


def reason_text(error: Unavailable | NotMeasurable) -> str:
    """Return the reason why a metric has no value as rows keep it."""
    if error.reason is None or error.reason.kind not in KINDS:
        return str(error)
    kind, _, remedy = error.reason
    return f"{kind} ({remedy}): {error}" if remedy else f"{kind}: {error}"


def read_reason(text: str) -> tuple[Reason, str]:
    """Return the reason, without its subject, and the sentence that `reason_text` put together.

    >>> read_reason("weights (bench fetch alexnet): no weight file")
    (Reason(kind='weights', subject='', remedy='bench fetch alexnet'), 'no weight file')
    """
    head, _, sentence = text.partition(": ")
    kind, _, remedy = head.removesuffix(")").partition(" (")
    return (Reason(kind, "", remedy), sentence) if kind in KINDS else (Reason(""), text)


def absence(text: str) -> tuple[str, str]:
    """Shorten a reason to what is absent and the command that brings it, "" where none is known."""
    reason, sentence = read_reason(text)
    command = "bench rescore" if reason.kind == NOT_COMPUTED else reason.remedy
    return ABSENT.get(reason.kind, sentence), command and f"`{command}`"


def lasting(text: str, again: bool = True) -> bool:
    """Return whether a reason lies in the pixels, or with `again` False in no absent file."""
    kind = read_reason(text)[0].kind
    return kind == "pixels" if again else kind not in ("weights", "package")


def lacking(names: Iterable[str], *, loaded: bool = False) -> dict[str, str]:
    """Return those of the metrics that cannot be computed here, each with the reason.

    Files, programs and packages are looked for, and no network is loaded; with `loaded`, each
    metric is constructed for the CPU, which also finds a weight file that is damaged.
    """
    of_image = {name: scored_by_image([name])[0] for name in names}
    reasons = {name: _reason(name, loaded) for name in dict.fromkeys(of_image.values())}
    return {name: reasons[each] for name, each in of_image.items() if reasons[each]}


def _reason(of_image: str, loaded: bool) -> str:
    kind, of_user = metric_class(of_image), is_brought(of_image)
    require = getattr(kind, "require", None)
    try:
        require_packages(getattr(kind, "label", of_image), getattr(kind, "packages", ()))
        if require is not None and (of_user or not loaded):
            require()
        elif not of_user:  # a user's constructor runs in workers alone, which say what it raised
            kind("cpu")
    except Unavailable as missing:
        return reason_text(missing)
    return ""


def computable(of_images: Iterable[str], absent: Iterable[str]) -> tuple[str, ...]:
    """Return the image metrics and feature spaces that no metric of `absent` needs."""
    without = set(scored_by_image(absent))
    return tuple(name for name in of_images if name not in without)


def by_kind(reasons: Iterable[tuple[str, str]], then: str = "") -> list[str]:
    """Return a line for each kind of thing that is absent: "LPIPS, DISTS: weights absent (...)".

    reasons: pairs of a metric and why it cannot be computed. then: what is to be done after the
    commands that a line ends with.
    """
    kinds: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for name, reason in reasons:
        what, command = absence(reason)
        names, commands = kinds.setdefault(what, ({}, {}))
        names[name] = commands[command] = None
    result = []
    for what, (names, commands) in kinds.items():
        after = ", ".join(filter(None, commands))
        after += f", then {then}" if after and then else ""
        line = f"{', '.join(names)}: {what}"
        result.append(f"{line} ({after})" if after else line)
    return result


class Again(NamedTuple):
    """The commands that compute metrics of stored rows, without `--metrics`."""

    rescore: str = "bench rescore"
    run: str = ""  # where a run kept no streams: codes its cells again

    def command(self, metrics: str) -> str:
        """Return the command that computes these metrics, as a sentence has it."""
        return f"`{self.run or self.rescore} --metrics {metrics}`"

    def computes(self, metrics: str) -> str:
        """Return a clause on the command and on what the metrics come from."""
        how = "codes the images again, as no streams were kept"
        how = how if self.run else "computes it from kept streams"
        return f"{self.command(metrics)} {how}"


RESCORE = Again()


def remedies(names: Iterable[str], reason: str = "", again: Again = RESCORE) -> str:
    """Return what computes metrics of stored rows, with what they lack here, as part of a sentence.

    reason: why rows have no values of them, as rows keep it; returned where no command helps.
    """
    kind, sentence = read_reason(reason)
    if sentence and kind.kind not in ABSENT and NOT_COMPUTED not in sentence:
        return sentence
    metrics = ",".join(asked := dict.fromkeys(names))
    absent = [absence(text) for text in lacking(asked).values()]
    if not absent:
        return again.computes(metrics)
    what, first = (", ".join(filter(None, dict.fromkeys(of))) for of in zip(*absent, strict=True))
    return f"{what}: {first}, then {again.command(metrics)}" if first else what


def labelled(names: Mapping[str, str]) -> dict[str, str]:
    """Return the same mapping by the labels of the metrics instead of their names."""
    return {metric_named(name).label: reason for name, reason in names.items()}
