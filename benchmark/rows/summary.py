"""Points of rate-distortion curves: means over the images of each codec variant and setting."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from benchmark.answer import Absent
from benchmark.codec import Float64Array, Int64Array, Setting
from benchmark.metrics.metric import (
    FEW_IMAGES,
    NOT_COMPUTED,
    RESCORE,
    Metric,
    psnr_of_mean_mse,
)
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.edition import Edition, labels_of, titles
from benchmark.rows.schema import CELL_COLUMNS
from benchmark.spec import SEED, CodecSpec
from benchmark.system.text import by_key

# Texts and how often each occurs, most frequent first, at most `means.REASONS_KEPT`.
Tally = tuple[tuple[str, int], ...]
OF_MEAN_MSE = ("psnr_db", "psnr_y_db")  # columns that also have the dB of the mean squared error
# Never of bundled rows, and of one machine: that of the latest row, for TIMED of the latest that
# was measured alone.
SECONDS = ("encode_seconds", "decode_seconds")
TIMED = ("encode_seconds_per_megapixel", "decode_seconds_per_megapixel")
CONTAINER = "container_bytes"  # of each stream, the file format's; bpp counts them
REAL_TO_ESTIMATED = "real_to_estimated_bits"  # of each stream, by the codec's own probabilities
COSTS = (*(column.name for column in CELL_COLUMNS if column.shown), REAL_TO_ESTIMATED)


class Mean(NamedTuple):
    """A mean over images, with the counts that belong to it."""

    value: float | None  # over the finite values; None where there is none
    bpp: float | None  # of the same images, so that a point's two coordinates belong together
    images: int  # in this mean
    infinite: int  # images of infinite value (identical to the source), not in the mean
    missing: int  # images that another point has a value of and this one has not
    reasons: Tally  # why images have no value


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A codec variant at one setting. Arrays have shape (images,)."""

    edition: Edition
    setting: Setting
    bpp: float | None
    images: int  # with a stream
    missing: int  # images that another point has a stream of and this one has not
    failed: int
    failures: Tally
    # of every metric column, of SECONDS, TIMED and CONTAINER; of COSTS if any point has a value
    means: Mapping[str, Mean]
    image_ids: Int64Array  # numbers that stand for images, ascending, the same in all points
    image_bpp: Float64Array
    # by metric column, and of TIMED; NaN where there is no value
    image_values: Mapping[str, Float64Array]
    image_pixels: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))
    drawings: tuple["Point", ...] = ()  # the points of single seeds that it is the mean of

    @property
    def coded(self) -> int:
        """Number of images with a row, failed ones among them."""
        return self.images + self.failed

    def has(self, column: str) -> bool:
        """Return whether any image has a value of a metric."""
        mean = self.means[column]
        return mean.images + mean.infinite > 0


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """All points of a dataset, in the registry's order of codecs and then by rate."""

    points: tuple[Point, ...]
    images: int  # that the points are compared on
    dropped: int  # images that not every point has, left out because `common` was asked for
    pooled: bool  # bpp is all bits over all pixels, else the mean of each image's own
    protocols: Mapping[str, str]  # protocol id by metric column, and of "coding"
    machine: str  # that the TIMED means come from; empty for none
    absent: tuple[Absent, ...]  # rows and editions that no point has
    seconds_machine: str = ""  # that the SECONDS are of, where rows are of several machines
    # Points of the editions that are not shown, for variants of one build (`builds`).
    replaced: tuple[Point, ...] = ()
    again: str = RESCORE  # command that computes metrics of the rows, without `--metrics`

    @property
    def not_shown(self) -> list[Absent]:
        """Editions measured here that a command would bring to be shown."""
        return [absent for absent in self.absent if absent.remedy]

    @property
    def editions(self) -> tuple[Edition, ...]:
        """The editions of the points, in order: one of each codec variant."""
        return tuple(dict.fromkeys(point.edition for point in self.points))

    @property
    def labels(self) -> dict[Edition, str]:
        """The names in csv and JSON of the editions, in order, then of those not shown."""
        return labels_of(point.edition for point in (*self.points, *self.replaced))

    @property
    def bundled(self) -> frozenset[Edition]:
        """The bundled editions beside others that were measured here; else none."""
        bundled = {edition for edition in self.editions if edition.bundled}
        return frozenset(bundled if bundled < {*self.editions} else ())

    def titles(self, marks: bool = True) -> dict[Edition, str]:
        """Return the names of the editions in figures and tables.

        marks: whether those of bundled codecs beside others say so.
        """
        return titles(self.editions, self.bundled if marks else ())

    def edition_of(self, spec: CodecSpec | None) -> Edition | None:
        """Return the edition of a codec variant, if it has points."""
        return next((edition for edition in self.editions if edition.spec == spec), None)

    def of(self, edition: Edition) -> list[Point]:
        """Return the points of an edition."""
        return [point for point in self.points if point.edition == edition]

    @property
    def protocols_in_use(self) -> dict[str, str]:
        """The entries of `protocols` under which there is any value."""
        used = [name for name in self.protocols if name == "coding" or self.values_of(name)]
        return {name: self.protocols[name] for name in used}

    def values_of(self, column: str, of: Collection[Edition] | None = None) -> int:
        """Count the values of a metric column in the points of some editions, None for all."""
        points = self.points if of is None else [p for p in self.points if p.edition in of]
        means = [point.means[column] for point in points]
        return sum(mean.images + mean.infinite for mean in means)

    def tried(self, column: str, of: Collection[Edition]) -> bool:
        """Return whether computing a metric failed in the points of some editions."""
        reasons = [p.means[column].reasons for p in self.points if p.edition in of]
        return any(NOT_COMPUTED not in why for of_point in reasons for why, _ in of_point)

    def why_without(self, column: str) -> str:
        """Return the most frequent reason why rows have no value of a metric; empty for none."""
        reasons = Counter[str]()
        for point in self.points:
            reasons.update(dict(point.means[column].reasons))
        return next((reason for reason, _ in reasons.most_common(1)), "")

    def for_machines(self) -> list[dict[str, Any]]:
        """Return one flat record per point, JSON values only, each mean followed by its counts."""
        of_sets = {metric_class(name).column for name in DISTRIBUTION_METRICS}
        records, labels = [], self.labels
        for point in self.points:
            record: dict[str, Any] = {
                "codec": labels[point.edition],
                "setting": str(point.setting),
                "bpp": point.bpp,
                "images": point.images,
                "images_missing": point.missing,
                "images_failed": point.failed,
            }
            for name, mean in point.means.items():
                record |= {name: mean.value, f"{name}_images": mean.images}
                if name not in (*SECONDS, *TIMED, CONTAINER, *COSTS):
                    record[f"{name}_infinite"] = mean.infinite
                if name in OF_MEAN_MSE:
                    known = point.image_values[name]
                    whole = np.count_nonzero(~np.isnan(known)) == mean.images + mean.infinite
                    record[f"{name}_of_mean_mse"] = psnr_of_mean_mse(known) if whole else None
                if name in of_sets:
                    record[f"{name}_few"] = 0 < mean.images < FEW_IMAGES
            ran = point.edition.ran
            records.append({**record, "caveat": "; ".join(ran.caveats), "version": ran.version})
        return records


def over_seeds(summary: Summary, apart: CodecSpec | None = None) -> Summary:
    """Return a summary in which all seeds of a generative decoder are one edition, the first.

    Its points are means over the seeds, of those with most images at a setting. apart: a variant,
    such as an anchor with a seed, whose drawings stay apart.
    """
    has_seed = apart is not None and SEED in dict(apart.options)
    kept_apart = apart.without([SEED]) if apart and has_seed else None
    firsts = {(e.spec, e.origin): e for e in summary.editions if e.spec != kept_apart}

    def edition_of(point: Point) -> Edition:
        seedless = point.edition.spec.without([SEED])
        return firsts.get((seedless, point.edition.origin), point.edition)

    drawings = by_key(((edition_of(point), point.setting), point) for point in summary.points)
    points = (_mean_point(edition, of) for (edition, _), of in drawings.items())
    return replace(summary, points=tuple(points))


def _mean_point(edition: Edition, points: Sequence[Point]) -> Point:
    """Return the mean of points of one setting, those of an edition's seeds."""
    most = max(points, key=lambda point: point.images)
    same = [point for point in points if np.array_equal(point.image_ids, most.image_ids)]
    if len(points) == 1:
        return points[0]
    rates = [point.bpp for point in same if point.bpp is not None]
    return replace(
        most,
        edition=edition,
        bpp=fmean(rates) if rates else None,
        means={name: _mean_of([point.means[name] for point in same]) for name in most.means},
        image_bpp=np.mean([point.image_bpp for point in same], axis=0),
        image_values={
            name: np.mean([point.image_values[name] for point in same], axis=0)
            for name in most.image_values
        },
        drawings=tuple(same),
    )


def _mean_of(means: Sequence[Mean]) -> Mean:
    """Return the mean of means over the same images; its counts are those of the poorest."""
    values = [mean.value for mean in means if mean.value is not None]
    rates = [mean.bpp for mean in means if mean.bpp is not None]
    return Mean(
        fmean(values) if values else None,
        fmean(rates) if rates else None,
        min(mean.images for mean in means),
        max(mean.infinite for mean in means),
        max(mean.missing for mean in means),
        next((mean.reasons for mean in means if mean.reasons), ()),
    )


def curves(summary: Summary, metric: Metric) -> dict[Edition, list[Point]]:
    """Return, by edition, the points over the same images as all others, low rate first."""
    points = sorted(summary.points, key=lambda point: point.means[metric.column].bpp or 0.0)
    complete = by_key((p.edition, p) for p in points if why_not(p, metric, summary) is None)
    return {edition: complete[edition] for edition in summary.editions if edition in complete}


def images_in(summary: Summary, metric: Metric) -> int:
    """Count the images of the means of a metric's curves; without a curve, those of the summary."""
    points = next(iter(curves(summary, metric).values()), ())
    return points[0].means[metric.column].images if points else summary.images


def excluded(summary: Summary, metric: Metric) -> list[tuple[Point, str]]:
    """Return the points that `curves` leaves out, each with its reason."""
    reasons = ((point, why_not(point, metric, summary)) for point in summary.points)
    return [(point, why) for point, why in reasons if why]


def why_not(point: Point, metric: Metric, summary: Summary) -> str | None:
    """Return why a point must not be beside the others in a metric, or None if it may."""
    mean = point.means[metric.column]
    known = mean.images + mean.infinite
    if point.missing or not point.images:
        return f"{point.images} of {summary.images} images"
    if point.bpp is None or point.bpp <= 0:
        return "no bits, which no rate-distortion curve has a place for"
    if mean.missing or not known:
        why = f": {mean.reasons[0][0]}" if mean.reasons else ""
        return f"{metric.column} of {known} of {known + mean.missing or point.images} images{why}"
    if mean.infinite:
        return f"identical to the source in {mean.infinite} of {known} images"
    if mean.value is None or math.isinf(metric.plotted(mean.value)):
        return f"identical to the source in {known} of {known} images"
    return None
