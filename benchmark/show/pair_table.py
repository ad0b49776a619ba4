"""Tables of two curves compared by each form of interpolation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.answer import Column
from benchmark.compare.curves import Curve, Form, Pair, compared
from benchmark.metrics.metric import Metric
from benchmark.show.bd_tables import delta_text, doubt_notes
from benchmark.show.table import Table

FORMS: tuple[Form, ...] = ("akima", "cubic")
DELTAS = (
    Column("BD-rate (%)", "pair.rate", delta_text),
    Column("BD-metric", "pair.quality", lambda delta: delta_text(delta, "+z.3f")),
    Column("overlap", "pair.rate.overlap", ".0%"),
)
FORM_COLUMNS = (Column("metric", "metric.label"), Column("form"), *DELTAS)


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
