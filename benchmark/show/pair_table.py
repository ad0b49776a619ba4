"""Tables of curves compared in pairs by one rule, and of measured points beside published ones."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.answer import Column
from benchmark.compare.curves import Curve, Delta, Form, Pair, compared
from benchmark.compare.panel import SystemCurve
from benchmark.compare.published.agreement import COLUMNS, TOLERANCE_DB, NotCompared, agreements
from benchmark.compare.published.registry import read_points
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.registry import DATASETS, METRICS
from benchmark.rows.stored import datasets_with_results, read_results
from benchmark.show.bd_tables import delta_text, doubt_notes
from benchmark.show.table import Table

FORMS: tuple[Form, ...] = ("akima", "cubic")
DELTAS = (
    Column("BD-rate (%)", "pair.rate", delta_text),
    Column("BD-metric", "pair.quality", lambda delta: delta_text(delta, "+z.3f")),
    Column("overlap", "pair.rate.overlap", ".0%"),
)
FORM_COLUMNS = (Column("metric", "metric.label"), Column("form"), *DELTAS)
APART_COLUMNS = (
    Column("metric", "metric.label"),
    Column("curve", "curve.system.name"),
    Column("source", lambda row: row["curve"].points[0].source),
    Column("protocol", lambda row: row["curve"].points[0].protocol),
    Column("points", lambda row: len(row["curve"].points), "d"),
    *DELTAS,
)
APART_NOTE = "By Akima's method, against the first curve of each group; no two are averaged."


def remarks(pair: Pair, names: tuple[str, str]) -> Iterator[str]:
    """Yield why there is no BD-rate, where the curves cross, and the points that are left out.

    names: of the anchor and of the other curve.
    """
    if pair.rate.value is None:
        hint = " (--any-overlap gives a number)" if pair.rate.overlap else ""
        yield f"no BD-rate, since {pair.rate.why}{hint}"
        return
    if pair.crossing is not None:
        yield f"the curves cross at {pair.crossing:.4g}"
    for name, points in zip(names, pair.left_out, strict=True):
        if points:
            yield f"{name} is below its own Pareto front, and left out, at {points}"


def by_form(
    metric: Metric, anchor: Curve, test: Curve, names: tuple[str, str], any_overlap: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield a row for each form of interpolation: PCHIP alone where a curve has three points."""
    for form in FORMS:
        pair = compared(anchor, test, metric, any_overlap, form)
        three = pair.rate.value is not None and pair.rate.three_points
        sentences = [*remarks(pair, names)]
        used = "pchip" if three else form
        yield {"metric": metric, "form": used, "pair": pair, "remarks": sentences}
        if three:
            return


def form_records(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of `by_form` as JSON values."""
    for row in rows:
        pair: Pair = row["pair"]
        yield {
            "metric": row["metric"].label,
            "form": row["form"],
            "bd_rate_percent": getattr(pair.rate, "value", None),
            "bd_metric": getattr(pair.quality, "value", None),
            "overlap": pair.rate.overlap,
            "crossing": pair.crossing,
            "note": "; ".join(row["remarks"]),
        }


def form_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of the rows of `by_form`, each remark a note."""
    sentences = [f"{row['metric'].label}: {text}." for row in rows for text in row["remarks"]]
    doubts = doubt_notes(delta for row in rows for delta in row["pair"][:2])
    return Table.of(FORM_COLUMNS, rows, (*dict.fromkeys(sentences), *doubts))


def apart_table(groups: Sequence[tuple[Metric, Sequence[SystemCurve]]], any_overlap: bool) -> Table:
    """Return a row for each curve, with its distance from the first of its group."""
    rows: list[dict[str, Any]] = []
    notes, deltas = [APART_NOTE], list[Delta]()
    for metric, (first, *others) in groups:
        rows.append({"metric": metric, "curve": first})
        for curve in others:
            pair = compared(first.rates(metric), curve.rates(metric), metric, any_overlap)
            rows.append({"metric": metric, "curve": curve, "pair": pair})
            deltas += pair[:2]
            sentences = remarks(pair, (first.system.name, curve.system.name))
            notes += [f"{curve.system.name}, {metric.label}: {text}." for text in sentences]
    return Table.of(APART_COLUMNS, rows, (*notes, *doubt_notes(deltas)))


AGREEMENT = (
    Column("dataset"),
    Column("codec", "label"),
    Column("published"),
    Column("metric", "column"),
    Column("verdict"),
    Column("points", form="d"),
    Column("mean (dB)", "mean_db", "+z.3f"),
    Column("largest (dB)", "largest_db", "+z.3f"),
    Column("at bpp", "at_bpp", ".3f"),
)


def check_published(results: Path, dataset: str) -> tuple[Table, bool]:
    """Compare measured points with published ones of the same codec, dataset and rules.

    Return the comparisons, and whether any differs by more than what is known explains. dataset:
    one that has results, or "all". Raises `UsageError` where nothing can be compared.
    """
    metrics = {name: Metric.named(name) for name in METRICS}
    metrics = {name: metric for name, metric in metrics.items() if metric.column in COLUMNS}
    points = read_points(results)
    rows, notes, differs = [], [], False
    for name in datasets_with_results(results, dataset):
        wanted = profile(name).published_images
        if wanted is None:
            continue
        summary = read_results(results, name, "all", [*metrics], bundled="all").summary
        if summary.images != wanted:
            notes.append(f"not compared: {name}: {summary.images} of its {wanted} images")
            continue
        for agreement in agreements(summary, points, name, [*metrics.values()]):
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
        of = known if dataset == "all" else f"{dataset}: name another --dataset"
        raise UsageError(
            f"nothing to compare: {results} has no rows of a codec with published means of {of}"
        )
    rule = f"Measured minus published at equal rate; up to {TOLERANCE_DB:g} dB agrees."
    return Table.of(AGREEMENT, rows, (rule, *notes)), differs
