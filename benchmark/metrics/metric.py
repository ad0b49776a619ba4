"""Metrics: the boundaries of their classes, and `Metric`, as tables and figures know one.

A metric is of single images, whose source is prepared once, or of a whole set of images: then it is
a reduction of features of every image.
"""

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
    is_brought,
    metric_class,
    require_packages,
    scored_by_image,
)

loops: ModuleType | None = None  # of PSNR and SSIM in C; without them numpy does the same
with suppress(ImportError):  # where there was no C compiler
    loops = import_module(f"{__package__}.loops")

# decades: a logarithmic axis once values span more than a factor of ten. saturating: values crowd
# towards 1 and are plotted as -10 log10(1 - value), in dB.
Scale = Literal["linear", "decades", "saturating"]
# distortion: differences of pixels. perceptual quality: a distortion too, as it is seen (LPIPS,
# DISTS). realism: how far decoded images are from photographs, whatever their sources, as all
# distribution metrics (Blau and Michaeli, "The Perception-Distortion Tradeoff", 2018).
Kind = Literal["distortion", "perceptual quality", "realism"]

# Panels of the figure that holds several metrics: of each, the first that any codec has; LPIPS on
# AlexNet's features is in training losses, on SqueezeNet's it is not.
OVERVIEW = (("psnr",), ("ms_ssim",), ("lpips_squeeze", "lpips"))

OF_PIXELS = Reason("pixels")  # the same pixels, measured again, have no value either
# Beyond it, metrics compute in bands of rows what they otherwise hold as a whole: 4,096 x 4,096.
LARGE_PIXELS = 1 << 24
BAND_PIXELS = 1 << 20


class Presentation(NamedTuple):
    """Facts about a metric that figures need, as the attribute `presentation` of its class."""

    scale: Scale = "linear"
    # rank among metrics for the realism axis of figures, best founded first; those of perceptual
    # quality come last and replace a metric of realism, which captions say
    realism: int | None = None
    published: str = ""  # its name among published numbers; empty: that of its column
    # protocol ids of published numbers that the paper's figures may draw beside measured ones
    meets: tuple[str, ...] = ()
    kind: Kind = "distortion"
    over_few: str = "biased upward"  # what a metric of a whole set is over few images


ErrorMap = NDArray[np.float32]  # (height, width); more is worse; NaN where no window fits


class MapScale(NamedTuple):
    """Scale on which the map of a metric is shown."""

    most: float  # value of the brightest level of a picture
    label: str = ""  # of a legend, with its unit; empty: the metric's
    root: bool = False  # its square root is shown, whose unit the label has


class ImageMetric(Protocol):
    """Number that compares a decoded image with its source.

    A metric may inherit from it, for the defaults below. `column`, `label`, `better` and `protocol`
    can be read from the class; it may have a `presentation`. A class whose constructor takes long
    may have `require()`, without arguments, which raises what the constructor would for missing
    weights, without loading anything (`availability.lacking`).
    """

    column: ClassVar[str]  # column of the table, unit included: "psnr_db"
    words: ClassVar[str] = ""  # more names on the command line, with spaces between
    label: ClassVar[str]  # axis label: "PSNR (dB)"
    better: ClassVar[Better] = "higher"
    # changes whenever the same pixels would get another number: "psnr-rgb8/1"
    protocol: ClassVar[str]
    presentation: ClassVar[Presentation] = Presentation()
    min_side_px: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()  # Python packages outside the core that it needs
    on_cpu: ClassVar[bool] = False  # computed there for long, on every device
    map_scale: ClassVar[MapScale | None] = None  # of its map; None: it has none

    def __init__(self, device: str = "cpu") -> None:
        """Take the torch device ("cpu", "cuda"); `Unavailable` where weights are missing."""

    def prepare(self, reference: Pixels) -> Any:
        """Return what depends on the source alone, computed once per image; by default itself.

        Raises `NotMeasurable` where this image can have no value (too small, say).
        """
        require_side(reference, self.min_side_px, self.label)
        return reference

    @abstractmethod
    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the metric of a decoded image; `ValueError` unless it has the source's shape."""

    def error_map(self, prepared: Any, decoded: Pixels) -> ErrorMap:
        """Return each pixel's term of the metric on "cpu"; `of_map` makes a value of their mean."""
        raise NotImplementedError

    def of_map(self, mean: float) -> float:
        """Return the metric of an image, or a part of one, whose map has this mean."""
        return mean


def require_same_shape(reference: tuple[int, ...], decoded: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a decoded image has the shape of its source."""
    if reference != decoded:
        raise ValueError(f"shapes differ: reference {reference}, decoded {decoded}")


NOT_FLAT = "needs a source that is not flat"  # as metrics do that weigh by information


def require_side(pixels: Pixels, least_px: int, metric: str) -> None:
    """Raise `NotMeasurable` where a side of the image is shorter than a metric needs."""
    side = min(pixels.shape[:2])
    if side < least_px:
        raise NotMeasurable(
            f"{metric} needs at least {least_px} px on the shorter side, this image has {side}",
            OF_PIXELS,
        )


def is_large(shape: tuple[int, ...]) -> bool:
    """Return whether an image of this shape, (height, width, ...), is to be computed in bands."""
    return shape[0] * shape[1] > LARGE_PIXELS


def bands(height: int, width: int) -> Iterator[slice]:
    """Yield slices of rows, of about `BAND_PIXELS` pixels each, that cover all rows in order.

    >>> [list(bands(height, width)) for height, width in ((3, 1 << 19), (2, 1 << 21))]
    [[slice(0, 2, None), slice(2, 3, None)], [slice(0, 1, None), slice(1, 2, None)]]
    """
    step = max(BAND_PIXELS // width, 1)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


# Below it a distribution metric is marked; FID and KID are given only when asked for.
FEW_IMAGES = 50

Features = NDArray[np.float32]  # (patches of an image, dimensions)


class FeatureSpace(Protocol):
    """Network that turns the patches of an image into feature vectors.

    The constructor takes the torch device ("cpu", "cuda") and raises `Unavailable` where weights
    are missing. `column` and `protocol` can be read, and `patch_count` called, on the class.
    """

    column: str  # column of the table that counts an image's patches: "inception256_patches"
    protocol: str  # changes whenever the same pixels would get other features

    @staticmethod
    def patch_count(height: int, width: int) -> int:
        """Return the number of patches of an image of this size (px), 0 where it is too small."""

    def features(self, pixels: Pixels) -> Features:
        """Return the feature vectors of the image's patches, in the order of the patches.

        Raises `NotMeasurable` where the image has no patch (a side is too short).
        """


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Value of a distribution metric, and the influence of each image on it where it is known."""

    value: float
    # (images,) of sum 0, the derivative of the value to each image's weight times the images: for
    # the mean of x it is x - mean(x). The standard error is the infinitesimal jackknife's,
    # sqrt(sum(influence**2) / (images * (images - 1))). None: see `has_influence`.
    influence: NDArray[np.float64] | None = None


class DistributionMetric(Protocol):
    """Number that compares a set of decoded images with the set of their sources.

    A metric may inherit from it, for the defaults below. All attributes can be read from the class,
    without the feature space's weights.
    """

    column: ClassVar[str]  # "fid256"
    words: ClassVar[str] = ""
    label: ClassVar[str]  # axis label: "FID/256"
    better: ClassVar[Better] = "lower"
    protocol: ClassVar[str]  # of the reduction: "frechet/1"; that of the features is their space's
    presentation: ClassVar[Presentation] = Presentation()
    space: ClassVar[str] = "inception256"  # name of the feature space in the registry
    # below it the value is refused unless it was asked for all the same
    min_images: ClassVar[int] = FEW_IMAGES

    @abstractmethod
    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Compare the decoded images' features with the sources'.

        Image i is `reference[i]` and `decoded[i]`; the order of images does not matter. Raises
        `NotMeasurable` where there are too few images for any value at all.
        """


def has_influence(metric: type[DistributionMetric]) -> bool:
    """Return whether a metric's `reduce` gives each image's influence, as metrics do by default.

    One that cannot has the class attribute `has_influence = False`. Its values have no interval,
    are not judged by `bench check` and `bench tradeoff`.
    """
    return bool(getattr(metric, "has_influence", True))


def patches_by_image(
    reference: Sequence[Features], decoded: Sequence[Features]
) -> NDArray[np.intp]:
    """Return the index of the image that every patch belongs to, (patches,).

    Raises `ValueError` where the two sets differ in images, patches or dimensions, or hold numbers
    that are not finite.
    """
    shapes = [[features.shape for features in images] for images in (reference, decoded)]
    if shapes[0] != shapes[1] or len({dimensions for _, dimensions in shapes[0]}) > 1:
        raise ValueError("the features of the two sets differ in shape")
    if not all(np.isfinite(features).all() for features in (*reference, *decoded)):
        raise ValueError("features are not finite numbers")
    return np.repeat(np.arange(len(reference)), [patches for patches, _ in shapes[0]])


def require_patches(count: int, least: int, what: str) -> None:
    """Raise `NotMeasurable` where there are fewer patches than a metric needs."""
    if count < least:
        raise NotMeasurable(f"{what} needs at least {least} patches, here are {count}")


def image_influence(
    gains: NDArray[np.float64], image_of: NDArray[np.intp], images: int
) -> NDArray[np.float64]:
    """Return each image's influence, (images,), from what each patch adds to the value, (patches,).

    `gains` are known up to a common constant; `image_of` is what `patches_by_image` returns.
    """
    parts = np.bincount(image_of, weights=gains - gains.mean(), minlength=images)
    return parts * (images / len(gains))


@dataclass(frozen=True, slots=True)
class Metric:
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
    name: str = field(default="", compare=False)  # on the command line: "psnr"
    protocol: str = field(default="", compare=False)  # id that its values have: "psnr-rgb8/1"

    @classmethod
    def named(cls, name: str) -> "Metric":
        """Return the metric of that name in the registry."""
        metric, of_sets = metric_class(name), name in DISTRIBUTION_METRICS
        facts = getattr(metric, "presentation", Presentation())._asdict()
        if of_sets:
            facts |= {"kind": "realism", "of_sets": True, "by_image": has_influence(metric)}
        facts |= {"name": name, "protocol": protocol_of(name)}
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

        >>> Metric("ms_ssim", "MS-SSIM", "higher", "saturating").plotted(0.75)
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

        >>> [Metric("fd", "FD", "lower", "decades").quality(value) for value in (100.0, 0.1)]
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


def protocols(metrics: Iterable[str]) -> dict[str, str]:
    """Return the protocol ids of coding and of metrics, by column: values of one id compare."""
    return {"coding": CODING, **{metric_class(name).column: protocol_of(name) for name in metrics}}


def protocol_of(name: str) -> str:
    """Return a metric's protocol id; a distribution metric's names its reduction and its features.

    >>> protocol_of("psnr"), protocol_of("fid256")
    ('psnr-rgb8/1', 'fid256/1-pytorch-fid-0.3.0-6726825d')
    """
    kind = metric_class(name)
    if name not in DISTRIBUTION_METRICS:
        protocol: str = kind.protocol
        return protocol
    of_features = metric_class(kind.space).protocol
    versions = (text.partition("/")[2] for text in (kind.protocol, of_features))
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
        columns = [metric_class(metric).column for metric in metrics]
        result += [column for column in columns if counts.get(column)][:1]
    known = {metric_class(metric).column for metric in (*METRICS, *DISTRIBUTION_METRICS)}
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


RESCORE = "bench rescore"  # computes metrics of stored rows from kept streams


def remedies(names: Iterable[str], reason: str = "", again: str = RESCORE) -> str:
    """Return what computes metrics of stored rows, with what they lack here, as part of a sentence.

    reason: why rows have no values of them, as rows keep it; returned where no command helps.
    again: the command that computes them, without `--metrics`.
    """
    kind, sentence = read_reason(reason)
    if sentence and kind.kind not in ABSENT and NOT_COMPUTED not in sentence:
        return sentence
    metrics = ",".join(asked := dict.fromkeys(names))
    absent = [absence(text) for text in lacking(asked).values()]
    if not absent:
        return f"`{again} --metrics {metrics}` computes it"
    what, first = (", ".join(filter(None, dict.fromkeys(of))) for of in zip(*absent, strict=True))
    return f"{what}: {first}, then `{again} --metrics {metrics}`" if first else what


def labelled(names: Mapping[str, str]) -> dict[str, str]:
    """Return the same mapping by the labels of the metrics instead of their names."""
    return {metric_class(name).label: reason for name, reason in names.items()}
