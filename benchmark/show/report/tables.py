"""Tables beside a report: a metric attributed to images, measured points against published ones."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from benchmark.compare.published.agreement import COLUMNS, TOLERANCE_DB, NotCompared, agreements
from benchmark.compare.published.registry import read_points
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure, protocol_of
from benchmark.registry import DATASETS, METRICS, metric_named
from benchmark.rows.reduce import attribution
from benchmark.rows.stored import DatasetResults, datasets_with_results, read_results
from benchmark.show.table import Column, Table, csv_text

SHOWN_IMAGES = 3  # of each setting
AGREEMENT = (
    Column("dataset"),
    Column("codec", "label"),
    Column("published"),
    Column("metric", "column"),
    Column("verdict"),
    Column("points", "points", "d"),
    Column("mean (dB)", "mean_db", "+.3f"),
    Column("largest (dB)", "largest_db", "+.3f"),
    Column("at bpp", "at_bpp", ".3f"),
)


def attribution_files(metric: str, stored: DatasetResults) -> tuple[Table, dict[str, str]]:
    """Return the largest parts, and all of them as a file `attribution_<column>.csv`.

    Raises `UsageError` where no point has values of two images.
    """
    kind, protocol = metric_named(metric), protocol_of(metric)
    parts = attribution(stored.table, kind.column, protocol)
    if not parts:
        raise UsageError(
            f"{stored.name} has no {kind.label} of two images: `bench rescore --metrics {metric}`"
        )
    seen = Counter[tuple[str, str]]()
    shown = []
    for part in parts:
        seen[part.label, part.setting] += 1
        if (place := seen[part.label, part.setting]) <= SHOWN_IMAGES:
            shown.append({**part._asdict(), "value": part.value if place == 1 else None})
    columns = (
        Column("codec", "label"),
        Column("setting"),
        Column("image"),
        Column(kind.label, "value", ".4f"),
        Column("without the image", "without", ".4f"),
        Column("influence", "influence", "+.4f"),
    )
    note = (
        f"The {SHOWN_IMAGES} images that move {kind.label} most at each setting ({protocol}); "
        "values without an image are to first order."
    )
    text = csv_text([part._asdict() for part in parts])
    return Table.of(columns, shown, [note], ""), {f"attribution_{kind.column}.csv": text}


class PublishedCheck(NamedTuple):
    """Comparison with published points."""

    table: Table
    differs: bool  # anywhere by more than any known difference explains


def check_published(results: Path, dataset: str) -> PublishedCheck:
    """Compare measured points with published ones of the same codec, dataset and rules.

    dataset: one that has results, or "all". Raises `UsageError` where nothing can be compared.
    """
    measures = {name: Measure.named(name) for name in METRICS}
    measures = {name: measure for name, measure in measures.items() if measure.column in COLUMNS}
    points = read_points(results)
    rows, notes, differs = [], [], False
    for name in datasets_with_results(results, dataset):
        wanted = profile(name).published_images
        if wanted is None:
            continue
        summary = read_results(results, name, "all", [*measures], False, False).summary
        if summary.images != wanted:
            notes.append(f"not compared: {name}: {summary.images} of its {wanted} images")
            continue
        for agreement in agreements(summary, points, name, [*measures.values()]):
            what = f"{agreement.label}, {agreement.column}, {name}: {agreement.why}"
            if isinstance(agreement, NotCompared):
                notes.append(f"not compared: {what}")
                continue
            differs |= agreement.verdict == "differs"
            rows.append({"dataset": name, **agreement._asdict()})
            if agreement.why:
                notes.append(f"{agreement.verdict}: {what}")
    if not rows and not notes:
        known = ", ".join(name for name in DATASETS if profile(name).published_images)
        raise UsageError(
            f"nothing to compare: {results} has no rows of a published codec on {known}."
        )
    rule = f"Measured minus published at equal rate; up to {TOLERANCE_DB:g} dB agrees."
    return PublishedCheck(Table.of(AGREEMENT, rows, (rule, *notes)), differs)
