"""Points of rate-distortion curves: means over the images of each codec variant and setting."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
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
from benchmark.system.text import group_by_key

# Texts with their counts, most frequent first; at most `means.MAX_REASONS` texts
Tally = tuple[tuple[str, int], ...]
MEAN_MSE_COLUMNS = ("psnr_db", "psnr_y_db")  # records also give the PSNR of the mean MSE
# SECONDS come from the machine of the latest row measured here; TIMED from the machine of the
# latest row that was measured with nothing else running.
SECONDS = ("encode_seconds", "decode_seconds")
TIMED = ("encode_seconds_per_megapixel", "decode_seconds_per_megapixel")
CONTAINER = "container_bytes"  # bytes that a file format adds to a stream; included in bpp
REAL_TO_ESTIMATED = "real_to_estimated_bits"  # ratio; estimated from the codec's probabilities
COSTS = (*(column.name for column in CELL_COLUMNS if column.cost_format), REAL_TO_ESTIMATED)


class Mean(NamedTuple):
    """Mean over images, with the numbers of images."""

    value: float | None  # mean of the finite values; None: no finite value
    bpp: float | None  # mean rate over the same images
    images: int  # number of images in this mean
    infinite: int  # images with an infinite value (identical to the source), not in the mean
    missing: int  # images with a value in another point but not in this one
    reasons: Tally  # why images have no value


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Codec variant at one setting. All arrays have shape (images,)."""

    edition: Edition
    setting: Setting
    bpp: float | None
    images: int  # number of images with a stream
    missing: int  # images with a stream in another point but not in this one
    failed: int
    failures: Tally
    # means by column: metrics, SECONDS, TIMED, CONTAINER, and COSTS if any point has a value
    means: Mapping[str, Mean]
    image_ids: Int64Array  # image numbers in ascending order; an image has one number in all points
    image_bpp: Float64Array
    # values by column (metrics and TIMED); NaN: no value
    image_values: Mapping[str, Float64Array]
    image_pixels: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))
    seed_points: tuple["Point", ...] = ()  # points of single seeds, whose average this point is

    @property
    def num_attempted(self) -> int:
        """Number of images with a row, including failed ones."""
        return self.images + self.failed

    def has(self, column: str) -> bool:
        """Return whether any image has a value of a metric."""
        mean = self.means[column]
        return mean.images + mean.infinite > 0


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """All points of a dataset, in the order of codecs in the registry, then of rates."""

    points: tuple[Point, ...]
    images: int  # number of compared images
    dropped: int  # images left out by --common because a point lacks them
    pooled: bool  # True: bpp is all bits over all pixels; False: mean of per-image bpp
    protocols: Mapping[str, str]  # protocol id by metric column, and by "coding"
    machine: str  # machine of the TIMED means; "": no such means
    absent: tuple[Absent, ...]  # rows and editions without a point
    seconds_machine: str = ""  # machine of SECONDS, if rows come from several machines
    # points of editions that a newer build replaces
    replaced: tuple[Point, ...] = ()
    rescore_command: str = RESCORE  # `bench rescore` command, to which `--metrics` is appended

    @property
    def not_shown(self) -> list[Absent]:
        """Editions measured here that are not shown, each with a command that shows it."""
        return [absent for absent in self.absent if absent.remedy]

    @property
    def editions(self) -> tuple[Edition, ...]:
        """Editions of the points, in order; one per codec variant."""
        return tuple(dict.fromkeys(point.edition for point in self.points))

    @property
    def labels(self) -> dict[Edition, str]:
        """Names of the editions in csv and JSON, in order; then those of editions not shown."""
        return labels_of(point.edition for point in (*self.points, *self.replaced))

    @property
    def bundled(self) -> frozenset[Edition]:
        """Bundled editions; empty if all editions are bundled."""
        bundled_editions = {edition for edition in self.editions if edition.bundled}
        return frozenset(bundled_editions if bundled_editions < {*self.editions} else ())

    def titles(self, marks: bool = True) -> dict[Edition, str]:
        """Return the names of the editions in figures and tables. marks: mark bundled ones."""
        return titles(self.editions, self.bundled if marks else ())

    def edition_of(self, spec: CodecSpec | None) -> Edition | None:
        """Return the edition of a codec variant, if it has points."""
        return next((edition for edition in self.editions if edition.spec == spec), None)

    def edition_points(self, edition: Edition) -> list[Point]:
        """Return the points of an edition."""
        return [point for point in self.points if point.edition == edition]

    @property
    def protocols_in_use(self) -> dict[str, str]:
        """Entries of `protocols` for metrics with values."""
        names = [name for name in self.protocols if name == "coding" or self.count_values(name)]
        return {name: self.protocols[name] for name in names}

    def count_values(self, column: str, editions: Collection[Edition] | None = None) -> int:
        """Count the values of a metric column in the points of `editions`; None: all."""
        points = (
            self.points if editions is None else [p for p in self.points if p.edition in editions]
        )
        means = [point.means[column] for point in points]
        return sum(mean.images + mean.infinite for mean in means)

    def was_attempted(self, column: str, editions: Collection[Edition]) -> bool:
        """Return whether a metric could not be computed in some point of `editions`."""
        reasons = [p.means[column].reasons for p in self.points if p.edition in editions]
        return any(
            NOT_COMPUTED not in reason for point_reasons in reasons for reason, _ in point_reasons
        )

    def absence_reason(self, column: str) -> str:
        """Return the most frequent reason why rows have no value of a metric; "" if none."""
        reasons = Counter[str]()
        for point in self.points:
            reasons.update(dict(point.means[column].reasons))
        return next((reason for reason, _ in reasons.most_common(1)), "")

    def flat_records(self) -> list[dict[str, Any]]:
        """Return a flat record per point, JSON values only; counts follow each mean."""
        set_columns = {metric_class(name).column for name in DISTRIBUTION_METRICS}
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
                if name in MEAN_MSE_COLUMNS:
                    values = point.image_values[name]
                    is_complete = np.count_nonzero(~np.isnan(values)) == mean.images + mean.infinite
                    record[f"{name}_of_mean_mse"] = (
                        psnr_of_mean_mse(values) if is_complete else None
                    )
                if name in set_columns:
                    record[f"{name}_few"] = 0 < mean.images < FEW_IMAGES
            run_facts = point.edition.run_facts
            records.append(
                {**record, "caveat": "; ".join(run_facts.caveats), "version": run_facts.version}
            )
        return records


def average_seeds(summary: Summary, excluded_codec: CodecSpec | None = None) -> Summary:
    """Average the seeds of each generative decoder except `excluded_codec`.

    Only the seeds with the most images at a setting are averaged; the first seed's edition is kept.
    """
    has_seed = excluded_codec is not None and SEED in dict(excluded_codec.options)
    excluded_spec = excluded_codec.remove_options([SEED]) if excluded_codec and has_seed else None
    first_editions = {(e.spec, e.origin): e for e in summary.editions if e.spec != excluded_spec}

    def edition_of(point: Point) -> Edition:
        seedless_spec = point.edition.spec.remove_options([SEED])
        return first_editions.get((seedless_spec, point.edition.origin), point.edition)

    points_by_setting = group_by_key(
        ((edition_of(point), point.setting), point) for point in summary.points
    )
    points = (
        _average_points(edition, seed_points)
        for (edition, _), seed_points in points_by_setting.items()
    )
    return replace(summary, points=tuple(points))


def split_seeds(summary: Summary) -> Iterator[Summary]:
    """Yield one summary per seed; its points keep the edition of the average."""
    for index in range(max(len(point.seed_points) for point in summary.points)):
        points = (
            replace(point.seed_points[index], edition=point.edition)
            for point in summary.points
            if index < len(point.seed_points)
        )
        yield replace(summary, points=tuple(points))


def _average_points(edition: Edition, points: Sequence[Point]) -> Point:
    largest_point = max(points, key=lambda point: point.images)
    averaged_points = [
        point for point in points if np.array_equal(point.image_ids, largest_point.image_ids)
    ]
    if len(points) == 1:
        return points[0]
    rates = [point.bpp for point in averaged_points if point.bpp is not None]
    return replace(
        largest_point,
        edition=edition,
        bpp=fmean(rates) if rates else None,
        means={
            name: _average_means([point.means[name] for point in averaged_points])
            for name in largest_point.means
        },
        image_bpp=np.mean([point.image_bpp for point in averaged_points], axis=0),
        image_values={
            name: np.mean([point.image_values[name] for point in averaged_points], axis=0)
            for name in largest_point.image_values
        },
        seed_points=tuple(averaged_points),
    )


def _average_means(means: Sequence[Mean]) -> Mean:
    """Average means over the same images; counts are the worst ones of all means."""
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
    """Return each edition's points that have all compared images, lowest rate first."""
    points = sorted(summary.points, key=lambda point: point.means[metric.column].bpp or 0.0)
    complete_points = group_by_key(
        (p.edition, p) for p in points if exclusion_reason(p, metric, summary) is None
    )
    return {
        edition: complete_points[edition]
        for edition in summary.editions
        if edition in complete_points
    }


def count_images(summary: Summary, metric: Metric) -> int:
    """Count the images of a metric's curves; without a curve, those of the summary."""
    points = next(iter(curves(summary, metric).values()), ())
    return points[0].means[metric.column].images if points else summary.images


def excluded_points(summary: Summary, metric: Metric) -> list[tuple[Point, str]]:
    """Return the points that `curves` excludes, with the reason."""
    reasons = ((point, exclusion_reason(point, metric, summary)) for point in summary.points)
    return [(point, reason) for point, reason in reasons if reason]


def exclusion_reason(point: Point, metric: Metric, summary: Summary) -> str | None:
    """Return why a point cannot be compared with the others in a metric, or None."""
    mean = point.means[metric.column]
    count = mean.images + mean.infinite
    if point.missing or not point.images:
        return f"{point.images} of {summary.images} images"
    if point.bpp is None or point.bpp <= 0:
        return "no bits, so it cannot be on a rate-distortion curve"
    if mean.missing or not count:
        reason = f": {mean.reasons[0][0]}" if mean.reasons else ""
        return (
            f"{metric.column} of {count} of {count + mean.missing or point.images} images{reason}"
        )
    if mean.infinite:
        return f"identical to the source in {mean.infinite} of {count} images"
    if mean.value is None or math.isinf(metric.axis_position(mean.value)):
        return f"identical to the source in {count} of {count} images"
    return None
