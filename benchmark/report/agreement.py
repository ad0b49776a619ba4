"""Measured points of all datasets compared with published ones, as one table."""

from pathlib import Path
from typing import NamedTuple

from benchmark.analysis.stored import datasets_with_results, read_results
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.figures.table import Table
from benchmark.metrics.measure import Measure
from benchmark.published.agreement import COLUMNS, TOLERANCE_DB, NotCompared, agreements
from benchmark.published.points import read_points
from benchmark.registry import DATASETS, METRICS


class PublishedCheck(NamedTuple):
    """Comparison with published points."""

    table: Table
    differs: bool  # anywhere by more than any known difference explains


def check_published(results: Path, dataset: str) -> PublishedCheck:
    """Compare measured points with published ones of the same codec, dataset and rules.

    dataset: one that has results, or "all". Raises `UsageError` where nothing can be compared.
    """
    names = [name for name in METRICS if Measure.named(name).column in COLUMNS]
    measures = [Measure.named(name) for name in names]
    points = read_points(results)
    rows, notes, differs = [], [], False
    for name in datasets_with_results(results, dataset):
        wanted = profile(name).published_images
        if wanted is None:
            continue
        summary = read_results(results, name, "all", names, False, False).summary
        if summary.images != wanted:
            notes.append(f"not compared: {name}: {summary.images} of its {wanted} images")
            continue
        for one in agreements(summary, points, name, measures):
            what = f"{one.label}, {one.column}, {name}: {one.why}"
            if isinstance(one, NotCompared):
                notes.append(f"not compared: {what}")
                continue
            differs |= one.verdict == "differs"
            numbers = f"{one.mean_db:+.3f}", f"{one.largest_db:+.3f}", f"{one.at_bpp:.3f}"
            words = name, one.label, one.published, one.column, one.verdict
            rows.append((*words, str(one.points), *numbers))
            notes += [f"{one.verdict}: {what}"] * bool(one.why)
    if not rows and not notes:
        known = ", ".join(name for name in DATASETS if profile(name).published_images)
        raise UsageError(
            f"nothing to compare: {results} has no rows of a published codec on {known}."
        )
    headers = (
        "dataset", "codec", "published", "metric", "verdict",
        "points", "mean (dB)", "largest (dB)", "at bpp",
    )  # fmt: skip
    said = f"Measured minus published at equal rate; up to {TOLERANCE_DB:g} dB agrees."
    return PublishedCheck(Table(headers, tuple(rows), 5, (said, *notes)), differs)
