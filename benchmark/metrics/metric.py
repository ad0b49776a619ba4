"""Interfaces of metric classes; `Metric`, the description that tables and figures use."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import CODING, Float64Array, Pixels
from benchmark.errors import NotMeasurable, Reason, Unavailable
from benchmark.registry import (
    DISTRIBUTION_METRICS,
    METRICS,
    Better,
    is_user_code,
    metric_class,
    per_image_names,
    require_packages,
)

loops: ModuleType | None = None  # from loops.c; without it, numpy computes the same values
with suppress(ImportError):  # if there was no C compiler
    loops = import_module(f"{__package__}.loops")

# decades: the axis is logarithmic if values span more than a factor of ten. saturating: values
# approach 1 and are plotted as -10 log10(1 - value), in dB.
Scale = Literal["linear", "decades", "saturating"]
# distortion: difference of pixels. perceptual quality: a distortion as people perceive it (LPIPS,
# DISTS). realism: distance of decoded images from photographs, regardless of their sources; all
# distribution metrics (Blau and Michaeli, "The Perception-Distortion Tradeoff", 2018).
Kind = Literal["distortion", "perceptual quality", "realism"]

# Panels of the overview figure; a panel shows the first of its metrics that any codec has. Training
# losses may include LPIPS with AlexNet, but not LPIPS with SqueezeNet.
OVERVIEW = (("psnr",), ("ms_ssim",), ("lpips_squeeze", "lpips"))

PIXELS_REASON = Reason("pixels")  # the same pixels never have a value
# Larger images (more than 4,096 x 4,096) are processed in bands of rows, to save memory.
MAX_PIXELS_WITHOUT_BANDS = 1 << 24
BAND_PIXELS = 1 << 20


class Presentation(NamedTuple):
    """How figures show a metric: the attribute `presentation` of its class."""

    scale: Scale = "linear"
    # rank among metrics for the realism axis of figures; 0 is the best justified. Metrics of
    # perceptual quality have the last ranks; captions say that they replace a metric of realism
    realism: int | None = None
    published: str = ""  # the metric's name in published points; "": its column
    # protocol ids of published points that the paper's figures may draw with measured points
    meets: tuple[str, ...] = ()
    kind: Kind = "distortion"
    over_few: str = "biased upward"  # effect of few images on a distribution metric
    # default margin of `bench check` in the metric's unit, if zero has no meaning; None: in percent
    margin: float | None = None
    short_title: str = ""  # without the variant: "LPIPS" for "LPIPS (AlexNet)"
    decimals: int = 4  # of values in tables and texts


ErrorMap = NDArray[np.float32]  # (height, width); higher is worse; NaN where no window fits


class MapScale(NamedTuple):
    """Scale on which a metric's map is shown."""

    most: float  # value shown with a picture's brightest level
    label: str = ""  # legend with its unit; empty: the metric's label
    root: bool = False  # show the square root, in the unit given by `label`


class ImageMetric(Protocol):
    """Metric that compares a decoded image with its source, which is prepared once.

    `column`, `label`, `better` and `protocol` are attributes of the class. If its constructor is
    slow, it may have `require()`, without arguments, which raises the constructor's errors for
    missing weights without loading anything (see `uncomputable_metrics`).
    """

    column: ClassVar[str]  # column of the table, unit included: "psnr_db"
    words: ClassVar[str] = ""  # other names on the command line, separated by spaces
    label: ClassVar[str]  # "PSNR"; with the unit in brackets, the label of axes and columns
    unit: ClassVar[str] = ""  # "dB"
    better: ClassVar[Better] = "higher"
    # id that changes whenever the same pixels would get a different value: "psnr-rgb8/1"
    protocol: ClassVar[str]
    presentation: ClassVar[Presentation] = Presentation()
    min_side_px: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()  # required Python packages outside the core
    on_cpu: ClassVar[bool] = False  # computes on the CPU, slowly, for any device
    map_scale: ClassVar[MapScale | None] = None  # None: the metric has no map

    def __init__(self, device: str = "cpu") -> None:
        """Take the torch device ("cpu", "cuda"); `Unavailable` if weights are missing."""

    def prepare(self, reference: Pixels) -> Any:
        """Return all that depends only on the source; `NotMeasurable` if no value is possible."""
        require_side(reference, self.min_side_px, self.label)
        return reference

    @abstractmethod
    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the metric of a decoded image; `ValueError` unless it has the source's shape."""

    def error_map(self, prepared: Any, decoded: Pixels) -> ErrorMap:
        """Return each pixel's term; device "cpu" only. `value_of_map` converts the terms' mean."""
        raise NotImplementedError

    def value_of_map(self, mean: float) -> float:
        """Return the metric's value for an image or a crop from the mean of its map."""
        return mean


def require_same_shape(reference: tuple[int, ...], decoded: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a decoded image has the shape of its source."""
    if reference != decoded:
        raise ValueError(f"shapes differ: reference {reference}, decoded {decoded}")


NOT_FLAT = "needs a source that is not flat"  # reason of metrics that weight by information


def require_side(pixels: Pixels, min_side_px: int, metric: str) -> None:
    """Raise `NotMeasurable` if a side of the image is shorter than the metric needs."""
    side = min(pixels.shape[:2])
    if side < min_side_px:
        raise NotMeasurable(
            f"{metric} needs at least {min_side_px} px on the shorter side, this image has {side}",
            PIXELS_REASON,
        )


def is_large(shape: tuple[int, ...]) -> bool:
    """Return whether an image of shape (height, width, ...) is processed in bands."""
    return shape[0] * shape[1] > MAX_PIXELS_WITHOUT_BANDS


def bands(height: int, width: int) -> Iterator[slice]:
    """Yield slices of about `BAND_PIXELS` pixels that cover all rows in order."""
    step = max(BAND_PIXELS // width, 1)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


# Distribution metrics over fewer images are marked in tables; FID and KID then need --allow-few.
FEW_IMAGES = 50

Features = NDArray[np.float32]  # (patches of an image, dimensions)


class FeatureSpace(Protocol):
    """Network that maps the patches of an image to feature vectors.

    The constructor takes the torch device ("cpu", "cuda") and raises `Unavailable` if weights are
    missing. `column`, `protocol` and `patch_count` are usable on the class.
    """

    column: str  # column of the table that counts an image's patches: "inception256_patches"
    protocol: str  # id that changes whenever the same pixels would get different features

    @staticmethod
    def patch_count(height: int, width: int) -> int:
        """Return the number of patches in an image of a size in px; 0 if it is too small."""

    def features(self, pixels: Pixels) -> Features:
        """Return the feature vectors in patch order; `NotMeasurable` if the image has no patch."""


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Value of a distribution metric and, if known, each image's influence on the value."""

    value: float
    # (images,), sum 0: the number of images times the derivative of the value with respect to each
    # image's weight; x - mean(x) for the mean of x. The standard error is the infinitesimal
    # jackknife's, sqrt(sum(influence**2) / (images * (images - 1))). None: see `has_influence`.
    influence: NDArray[np.float64] | None = None


class DistributionMetric(Protocol):
    """Metric of a set of decoded images and their sources; all attributes belong to the class."""

    column: ClassVar[str]  # "fid256"
    words: ClassVar[str] = ""
    label: ClassVar[str]  # axis label: "FID/256"
    better: ClassVar[Better] = "lower"
    protocol: ClassVar[str]  # id of the reduction: "frechet/1"; the feature space has its own id
    presentation: ClassVar[Presentation] = Presentation()
    space: ClassVar[str] = "inception256"  # name of the feature space in the registry
    # minimum number of images without --allow-few
    min_images: ClassVar[int] = FEW_IMAGES

    @abstractmethod
    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Compare features, in any order of images; `NotMeasurable` if there are too few."""


def has_influence(metric: type[DistributionMetric]) -> bool:
    """Return whether `reduce` computes influences; if not, the class sets `has_influence = False`.

    Without influences, values have no interval, and `bench check` and `bench tradeoff` ignore them.
    """
    return bool(getattr(metric, "has_influence", True))


def patches_by_image(
    reference: Sequence[Features], decoded: Sequence[Features]
) -> NDArray[np.intp]:
    """Return each patch's image index; `ValueError` for unequal shapes or infinite features."""
    shapes = [[features.shape for features in images] for images in (reference, decoded)]
    if shapes[0] != shapes[1] or len({dimensions for _, dimensions in shapes[0]}) > 1:
        raise ValueError("the features of the two sets differ in shape")
    if not all(np.isfinite(features).all() for features in (*reference, *decoded)):
        raise ValueError("features are not finite numbers")
    return np.repeat(np.arange(len(reference)), [patches for patches, _ in shapes[0]])


def require_patches(count: int, min_count: int, subject: str) -> None:
    """Raise `NotMeasurable` if there are fewer patches than `subject` needs."""
    if count < min_count:
        raise NotMeasurable(f"{subject} needs at least {min_count} patches, here are {count}")


def image_influence(
    contributions: NDArray[np.float64], image_indices: NDArray[np.intp], num_images: int
) -> NDArray[np.float64]:
    """Return each image's influence, (images,): the sum over its patches, minus the mean."""
    totals = np.bincount(image_indices, contributions - contributions.mean(), num_images)
    return totals * (num_images / len(contributions))


@dataclass(frozen=True, slots=True)
class Metric:
    """Description of a metric for tables and figures."""

    column: str  # "psnr_db"
    title: str  # "PSNR", "LPIPS (AlexNet)"
    better: Better
    scale: Scale = "linear"
    # from the metric's class, see `Presentation`:
    realism: int | None = field(default=None, compare=False)
    published: str = field(default="", compare=False)
    meets: tuple[str, ...] = field(default=(), compare=False)
    kind: Kind = field(default="distortion", compare=False)
    over_few: str = field(default="biased upward", compare=False)
    margin: float | None = field(default=None, compare=False)
    short_title: str = field(default="", compare=False)
    decimals: int = field(default=4, compare=False)
    unit: str = ""  # "dB"
    is_distribution: bool = False  # if True, per-image values are first-order estimates
    has_image_values: bool = True  # False for a distribution metric without influences
    name: str = field(default="", compare=False)  # on the command line: "psnr"
    protocol: str = field(default="", compare=False)  # id of its values: "psnr-rgb8/1"

    @classmethod
    def named(cls, name: str) -> "Metric":
        """Return the metric with this name in the registry."""
        metric, is_distribution = metric_class(name), name in DISTRIBUTION_METRICS
        facts = getattr(metric, "presentation", Presentation())._asdict()
        facts |= {"name": name, "protocol": protocol_of(name), "is_distribution": is_distribution}
        if is_distribution:
            facts |= {"kind": "realism", "has_image_values": has_influence(metric)}
        unit = getattr(metric, "unit", "")
        return cls(metric.column, metric.label, metric.better, unit=unit, **facts)

    @property
    def label(self) -> str:
        """Title with the unit, for axes and columns: "PSNR (dB)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def saturating(self) -> bool:
        """True if values approach 1, and are therefore plotted and integrated in dB."""
        return self.scale == "saturating"

    @property
    def axis_label(self) -> str:
        """Label of the axis in figures, with the plotted unit."""
        return f"{self.label} (dB)" if self.saturating else self.label

    def has_few_images(self, images: int) -> bool:
        """Return whether this is a distribution metric over so few images that it is marked."""
        return self.is_distribution and images < FEW_IMAGES

    def axis_position(self, value: float) -> float:
        """Return a value's position on the axis: the value itself, or -10 log10(1 - value)."""
        if not self.saturating:
            return value
        return -10 * math.log10(1 - value) if value < 1 else math.inf

    def value_at(self, position: float) -> float:
        """Return the value at a position on the axis, the inverse of `axis_position`."""
        return 1 - 10 ** (-position / 10) if self.saturating else position

    def quality(self, value: float) -> float:
        """Return the quality of a value, on which curves are compared: higher is better.

        Quality is the position on the axis. For distances of distributions, which span decades, it
        is -log10 of the distance, or NaN if the distance is not above 0.
        >>> [Metric("fd", "FD", "lower", "decades").quality(value) for value in (100.0, 0.1)]
        [-2.0, 1.0]
        """
        position = self.axis_position(value)
        if self.scale == "decades":
            position = math.log10(position) if position > 0 else math.nan
        return position if self.better == "higher" else -position

    def value(self, quality: float) -> float:
        """Return the value with this quality, the inverse of `quality`."""
        position = quality if self.better == "higher" else -quality
        return float(10**position) if self.scale == "decades" else self.value_at(position)


def protocols(metrics: Iterable[str]) -> dict[str, str]:
    """Return the protocol ids of coding and metrics by column; if equal, values are comparable."""
    return {"coding": CODING, **{metric_class(name).column: protocol_of(name) for name in metrics}}


def protocol_of(name: str) -> str:
    """Return a metric's protocol id; a distribution metric's names both of its steps."""
    cls = metric_class(name)
    if name not in DISTRIBUTION_METRICS:
        protocol: str = cls.protocol
        return protocol
    space_protocol = metric_class(cls.space).protocol
    versions = (text.partition("/")[2] for text in (cls.protocol, space_protocol))
    return f"{cls.column}/{'-'.join(versions)}"


def overview_columns(counts: Mapping[str, int]) -> list[str]:
    """Return the overview's columns: each panel's first metric with values, then users' metrics."""
    result = []
    for metrics in OVERVIEW:
        columns = [metric_class(metric).column for metric in metrics]
        result += [column for column in columns if counts.get(column)][:1]
    registered_columns = {
        metric_class(metric).column for metric in (*METRICS, *DISTRIBUTION_METRICS)
    }
    return result + [
        column for column in counts if column not in registered_columns and counts[column]
    ]


def psnr_of_mean_mse(psnr_db: Float64Array) -> float | None:
    """Return the PSNR (dB) of the images' mean MSE, ignoring NaN; None if no PSNR is finite.

    >>> psnr_of_mean_mse(np.array([20.0, np.inf]))
    23.01029...
    """
    values_db = psnr_db[~np.isnan(psnr_db)]
    if not np.isfinite(values_db).any():
        return None
    return float(-10 * np.log10(np.mean(10 ** (-values_db / 10))))


NOT_COMPUTED = "not computed"
ABSENCE_TEXTS = {
    "weights": "weights absent", "package": "Python package absent", NOT_COMPUTED: NOT_COMPUTED,
}  # fmt: skip
REASON_KINDS = (*ABSENCE_TEXTS, "pixels")


def reason_text(error: Unavailable | NotMeasurable) -> str:
    """Return why a metric has no value, in the form that rows store."""
    if error.reason is None or error.reason.kind not in REASON_KINDS:
        return str(error)
    kind, _, remedy = error.reason
    return f"{kind} ({remedy}): {error}" if remedy else f"{kind}: {error}"


def read_reason(text: str) -> tuple[Reason, str]:
    """Split a text of `reason_text` into a reason (without subject) and a sentence."""
    head, _, sentence = text.partition(": ")
    kind, _, remedy = head.removesuffix(")").partition(" (")
    return (Reason(kind, "", remedy), sentence) if kind in REASON_KINDS else (Reason(""), text)


def absence(text: str) -> tuple[str, str]:
    """Return what is missing according to a reason, and the command that adds it, or ""."""
    reason, sentence = read_reason(text)
    command = "bench rescore" if reason.kind == NOT_COMPUTED else reason.remedy
    return ABSENCE_TEXTS.get(reason.kind, sentence), command and f"`{command}`"


def is_lasting(text: str, retry: bool = True) -> bool:
    """Return whether a missing value with this reason stays missing.

    With `retry`, only a reason in the pixels is lasting; without it, every reason except absent
    weights or packages.
    """
    kind = read_reason(text)[0].kind
    return kind == "pixels" if retry else kind not in ("weights", "package")


def uncomputable_metrics(names: Iterable[str], *, loaded: bool = False) -> dict[str, str]:
    """Return the metrics that cannot be computed here, with reasons.

    Looks for files, programs and packages without loading networks; with `loaded`, constructs each
    metric on the CPU, which also detects a damaged weight file.
    """
    scored_names = {name: per_image_names([name])[0] for name in names}
    reasons = {name: _absence_reason(name, loaded) for name in dict.fromkeys(scored_names.values())}
    return {name: text for name, scored in scored_names.items() if (text := reasons[scored])}


def _absence_reason(name: str, loaded: bool) -> str:
    cls, is_from_user = metric_class(name), is_user_code(name)
    require = getattr(cls, "require", None)
    try:
        require_packages(getattr(cls, "label", name), getattr(cls, "packages", ()))
        if require is not None and (is_from_user or not loaded):
            require()
        elif not is_from_user:  # a user's constructor runs only in workers, which report its errors
            cls("cpu")
    except Unavailable as error:
        return reason_text(error)
    return ""


def drop_uncomputable(names: Iterable[str], absent_metrics: Iterable[str]) -> tuple[str, ...]:
    """Return the image metrics and feature spaces that no absent metric needs."""
    absent_names = set(per_image_names(absent_metrics))
    return tuple(name for name in names if name not in absent_names)


def absence_lines(reasons: Iterable[tuple[str, str]], next_step: str = "") -> list[str]:
    """Return one line per missing requirement: "LPIPS, DISTS: weights absent (...)".

    reasons: (metric, why it cannot be computed). next_step: added after a line's commands.
    """
    groups: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for name, reason in reasons:
        missing, command = absence(reason)
        names, commands = groups.setdefault(missing, ({}, {}))
        names[name] = commands[command] = None
    result = []
    for missing, (names, commands) in groups.items():
        remedy = ", ".join(filter(None, commands))
        remedy += f", then {next_step}" if remedy and next_step else ""
        line = f"{', '.join(names)}: {missing}"
        result.append(f"{line} ({remedy})" if remedy else line)
    return result


def stand_ins(names: Iterable[str]) -> str:
    """Return a sentence on metrics that can replace absent ones; "" if there are none."""
    names = [*names]
    spaces = {metric_class(name).space for name in names if name in DISTRIBUTION_METRICS}
    substitutes = [
        name for space in spaces for name in getattr(metric_class(space), "stand_ins", ())
    ]
    substitutes = [name for name in dict.fromkeys(substitutes) if name not in names]
    distances = "distances of the same patches in another network, which no paper reports"
    return f"{' and '.join(substitutes)}: {distances}" if substitutes else ""


RESCORE = "bench rescore"  # computes metrics from stored streams


def remedies(metrics: Iterable[str], reason: str = "", command: str = RESCORE) -> str:
    """Return part of a sentence on how to add metrics to stored rows, and what is required.

    reason: why rows lack values; returned if no command helps. command: without `--metrics`.
    """
    stored_reason, sentence = read_reason(reason)
    if sentence and stored_reason.kind not in ABSENCE_TEXTS and NOT_COMPUTED not in sentence:
        return sentence
    metric_list = ",".join(names := dict.fromkeys(metrics))
    absences = [absence(text) for text in uncomputable_metrics(names).values()]
    if not absences:
        return f"`{command} --metrics {metric_list}` computes it"
    missing, commands = (
        ", ".join(filter(None, dict.fromkeys(texts))) for texts in zip(*absences, strict=True)
    )
    remedy = (
        f"{missing}: {commands}, then `{command} --metrics {metric_list}`" if commands else missing
    )
    return "; ".join(filter(None, [remedy, stand_ins(uncomputable_metrics(names))]))


def key_by_label(names: Mapping[str, str]) -> dict[str, str]:
    """Replace the keys of a mapping, which are metrics' names, by their labels."""
    return {Metric.named(name).label: reason for name, reason in names.items()}
