"""The table of means, with a row per point."""

from collections.abc import Callable, Sequence
from functools import partial

from benchmark.answer import Column, seconds_text
from benchmark.compare.caveats import caveat_notes
from benchmark.metrics.metric import FEW_IMAGES, Metric
from benchmark.rows.summary import REAL_TO_ESTIMATED, SECONDS, Mean, Point, Summary
from benchmark.show.table import FEW_MARK, INFINITE_MARK, Table

COUNT_NOTE = "A number in brackets is the number of images in the mean, if not all."
IDENTICAL_NOTE = (
    f"{INFINITE_MARK} n: the value of n images is infinite (PSNR: decoded without loss); they are "
    "not in the mean."
)
FEW_NOTE = (
    f"{FEW_MARK} Over fewer than {FEW_IMAGES} images, where such a metric is biased or imprecise."
)


def means_table(summary: Summary, metrics: Sequence[Metric]) -> Table:
    """Return a row per point, without empty columns; a mean over fewer images has their number."""

    def images_text(point: Point) -> str:
        return f"{point.images} of {summary.images}" if point.missing else str(point.images)

    labels = summary.labels
    columns = [
        Column("codec", lambda point: labels[point.edition]),
        Column("setting", lambda point: str(point.setting)),
        Column("images", images_text, str),
        Column("bpp", "bpp", ".4f"),
        *(Column(m.label, partial(_mean_of_metric, m), str) for m in metrics),
        Column("real / estimated bits", partial(_mean, REAL_TO_ESTIMATED, "{:.4f}".format), str),
    ]
    columns += [
        Column(f"mean {name.partition('_')[0]}", partial(_mean, name, seconds_text), str)
        for name in SECONDS
    ]
    if any(point.failed for point in summary.points):
        columns.append(Column("failed", lambda point: str(point.failed or ""), str))
    table = Table.create(columns, summary.points)
    all_cells = "".join(cell for row in table.rows for cell in row[3:])
    notes_by_mark = (("(", COUNT_NOTE), (INFINITE_MARK, IDENTICAL_NOTE), (FEW_MARK, FEW_NOTE))
    notes = [note for mark, note in notes_by_mark if mark in all_cells]
    notes += caveat_notes(summary.editions)
    return table._replace(notes=tuple(notes)).drop_empty_columns(num_fixed=4)


def _mean_of_metric(metric: Metric, point: Point) -> str | None:
    mean = point.means[metric.column]
    is_few = mean.value is not None and metric.has_few_images(mean.images)
    form = f"{{:.{metric.decimals}f}}".format
    return _mean(metric.column, form, point, FEW_MARK if is_few else "")


def _mean(name: str, render: Callable[[float], str], point: Point, mark: str = "") -> str | None:
    mean: Mean | None = point.means.get(name)
    if mean is None:
        return None
    infinite_text = f"{INFINITE_MARK} {mean.infinite}" if mean.infinite else ""
    if mean.value is None:
        return infinite_text or None
    count = str(mean.images) if mean.images != point.images else ""
    remarks = ", ".join(filter(None, (count, infinite_text)))
    return f"{render(mean.value)}{mark}" + (f" ({remarks})" if remarks else "")


def metrics_over_few(summary: Summary, metrics: Sequence[Metric]) -> list[Metric]:
    """Return the distribution metrics that have too few images at every point."""
    return [
        metric
        for metric in metrics
        if metric.is_distribution
        and all(metric.has_few_images(p.means[metric.column].images) for p in summary.points)
    ]
