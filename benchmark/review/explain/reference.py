"""The reference of `bench explain`: stored rows or a published curve, single images, pictures."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.published.points import DOUBTFUL, slug
from benchmark.compare.published.registry import read_curve
from benchmark.datasets.dataset import open_dataset
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError, UsageError
from benchmark.metrics.metric import Metric
from benchmark.registry import DISTRIBUTION_METRICS, metric_named
from benchmark.review.explain.curve_rules import Images, Reference, Scale, colour_errors, places
from benchmark.rows.comparable import image_numbers
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import DatasetResults, read_one
from benchmark.system.machine import BUNDLED

# Columns of one kind, which papers take for each other.
KINDS = (
    ("psnr_db", "psnr_y_db", "psnr_ycbcr_db"),
    ("ms_ssim", "ssim"),
    ("lpips_alex", "lpips_vgg", "lpips_squeeze"),
)


def scale_of(metric: Metric) -> Scale:
    """Return the scale on which values of a metric are explained."""
    if metric.saturating:
        return "saturating"
    return "psnr" if metric.column.startswith("psnr") else "distance"


def _kind(metric: Metric) -> tuple[str, ...]:
    return next((kind for kind in KINDS if metric.column in kind), (metric.column,))


def read_reference(
    against: str, dataset: str, metric: Metric, results: Path, data_dir: Path | None
) -> tuple[Reference, str]:
    """Return a reference and its name; raise `UsageError` where it has no curve.

    Stored rows of a published program give the values of its single images.
    """
    scale, label, published = scale_of(metric), against, None
    stored = _stored(against, dataset, metric, results)
    if stored is None:
        published = read_curve(against, dataset, results)
        label = slug(against.removeprefix(DOUBTFUL).partition(":")[0])
        stored = _stored(label, dataset, metric, results)
    images = _images(stored, label, metric, data_dir) if stored and not metric.of_sets else None
    if published:
        series = published.series.get(metric.column) or published.series.get(metric.published)
        if series is None:
            raise UsageError(f"{against} has no {metric.label} on {dataset}: name another metric")
        return Reference(scale, np.array(series[0]), places(series[1], scale), images), against
    points = [point for point in stored.summary.points if point.label == label] if stored else []
    means = [point.means[metric.column] for point in points]
    values = places([mean.value or 0.0 for mean in means], scale)
    version = points[0].edition.version.partition(",")[0]
    bpp = np.array([mean.bpp for mean in means])
    return Reference(scale, bpp, values, images), f"{against} ({version}, stored rows)"


def _stored(label: str, dataset: str, metric: Metric, results: Path) -> DatasetResults | None:
    """Return the rows of a codec with a metric and others of its kind, those of the project last.

    None without any.
    """
    every = (*metric_names("all"), *DISTRIBUTION_METRICS)
    names = [name for name in every if metric_named(name).column in _kind(metric)]
    for folder in (results, BUNDLED):
        with suppress(BenchError):
            stored = read_one(folder, dataset, label, names)
            means = [p.means[metric.column] for p in stored.summary.points if p.label == label]
            if means and all(mean.value is not None for mean in means):
                return stored
    return None


def _images(
    stored: DatasetResults, label: str, metric: Metric, data_dir: Path | None
) -> Images | None:
    """Return the values of single images behind a stored curve; None where some are lacking."""
    points = [point for point in stored.summary.points if point.label == label]
    facts = stored.table.select("image", "width_px", "height_px").rows()
    rows = dict(zip(image_numbers(stored.table).tolist(), facts, strict=True))
    ids = points[0].image_ids.tolist()
    order = sorted(range(len(ids)), key=lambda at: rows[ids[at]])
    names, widths, heights = zip(*(rows[ids[at]] for at in order), strict=True)
    values = {
        column: np.array([point.image_values[column][order] for point in points])
        for column in points[0].image_values
        if column in _kind(metric)
    }
    bpp, mine = np.array([point.image_bpp[order] for point in points]), values.pop(metric.column)
    if np.isnan(mine).any() or np.isnan(bpp).any():
        return None
    return Images(
        bpp,
        mine,
        points[0].image_pixels[order].astype(float),
        names,
        np.greater(widths, heights),
        {column: of for column, of in values.items() if not np.isnan(of).any()},
        _colours(stored.name, names, data_dir) if metric.column == "psnr_db" else {},
    )


def _colours(dataset: str, names: Sequence[str], data_dir: Path | None) -> dict[str, Float64Array]:
    """Return the errors of wrong conversions of a dataset's pictures; empty without these."""
    try:
        files = {file.name: file.path for file in open_dataset(dataset, data_dir).images}
        by_image = [colour_errors(read_image(files[name]).pixels) for name in names]
    except (BenchError, KeyError, OSError):
        return {}
    return {rule: np.array([errors[rule] for errors in by_image]) for rule in by_image[0]}
