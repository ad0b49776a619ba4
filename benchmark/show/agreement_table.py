"""The table of measured points against published ones of the same codec, dataset and rules."""

from pathlib import Path
from typing import NamedTuple

from benchmark.compare.published.agreement import COLUMNS, TOLERANCE_DB, NotCompared, agreements
from benchmark.compare.published.registry import read_points
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure
from benchmark.registry import DATASETS, METRICS
from benchmark.rows.stored import datasets_with_results, read_results
from benchmark.show.table import Column, Table

AGREEMENT = (
    Column("dataset"),
    Column("codec", "label"),
    Column("published"),
    Column("metric", "column"),
    Column("verdict"),
    Column("points", form="d"),
    Column("mean (dB)", "mean_db", "+.3f"),
    Column("largest (dB)", "largest_db", "+.3f"),
    Column("at bpp", "at_bpp", ".3f"),
)


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
        summary = read_results(results, name, "all", [*measures], bundled="all").summary
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
