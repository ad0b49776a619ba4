"""The anchor of BD-rates, and the rows that are compared with it.

It is the one that is named, else VTM, else the best conventional codec: one rule for every verb, by
PSNR alone, so that no choice of metrics changes it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from benchmark.compare.curves import LEAST_POINTS, Curve, Delta, bd_rate, mean_curve
from benchmark.compare.experiment import Experiment
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import reference_codecs
from benchmark.metrics.metric import Metric, protocols
from benchmark.rows.means import summarise
from benchmark.rows.stored import DatasetResults, Source, read_results
from benchmark.rows.summary import Summary, curves
from benchmark.rows.systems import System, family, find_label, is_users, kind, label_of
from benchmark.rows.variants import Anchor, are_of, pairs_of
from benchmark.rows.versions import OK
from benchmark.system.text import counted

BEST = "the best conventional codec with a curve on these images"
NO_CONVENTIONAL = "no conventional codec has a curve on these images"


def read_compared(
    source: Source,
    codecs: str,
    metrics: Sequence[str],
    *,
    anchor: str = "",
    instead: bool = False,
    **options: Any,
) -> DatasetResults:
    """Read and summarise the rows of an experiment and of its anchor.

    anchor, instead: as of `with_anchor`. Other arguments as of `stored.read_results`.
    """
    joined = partial(with_anchor, named=anchor, instead=instead)
    of = source.results, source.dataset, codecs, metrics
    return read_results(*of, rows=source.rows, joined=joined, **options)


def read_experiment(
    of: Experiment, metrics: Sequence[str], instead: bool, **options: Any
) -> DatasetResults:
    """Read the rows of an experiment on its dataset, and of its anchor, as `read_compared` does."""
    return read_compared(
        Source(of.results, of.dataset), of.codecs, metrics, anchor=of.anchor, instead=instead,
        bundled=of.bundled, images=of.images, allow_few=of.allow_few,
        verified_only=of.verified_only, **options,
    )  # fmt: skip


def with_anchor(
    rows: pl.DataFrame, others: pl.DataFrame, named: str = "", instead: bool = False
) -> tuple[pl.DataFrame, Anchor]:
    """Return rows with those of their anchor, and the anchor.

    others: rows of the same images, from which the anchor's are taken if `rows` have none. named: a
    label, spec or codec; "": by the rule of this module. Raises `UnknownName` for one without rows
    and `UsageError` for one with too few settings; instead: the rule's is taken then, and says why.
    """
    if named:
        own, more = _labels(rows), _labels(others)
        try:
            label = find_label(named, [*own] if named in own else [*(own | more)])
            both = _added(rows, others, label)
            _require_curve(both.filter(are_of([(more | own)[label]])), label)
        except UsageError as error:
            if not instead:
                raise
            both, anchor = with_anchor(rows, others)
            lacks = "no" if isinstance(error, UnknownName) else "no curve of"
            why = f"{lacks} {named} here{anchor.why and ': '}{anchor.why}"
            return both, anchor._replace(why=why, refused=error)
        return both, Anchor(label)
    anchor = anchor_among(summarise(rows, protocols(["psnr"])))
    if not anchor.why or not others.height:
        return rows, anchor
    standard = [pair for pair in pairs_of(others) if _is_standard(label_of(*pair))]
    every = pl.concat([rows, others.filter(are_of(standard))])
    anchor = anchor_among(summarise(every, protocols(["psnr"])))
    return _added(rows, others, anchor.label), anchor


def require_named(anchors: Iterable[Anchor]) -> None:
    """Raise why the named anchor is not taken, where none of several datasets has it."""
    refused = [anchor.refused for anchor in anchors]
    if refused and refused[0] and all(refused):
        raise refused[0]


def anchor_among(summary: Summary) -> Anchor:
    """Return the anchor where none is named: VTM if it has a curve, else the best standard codec.

    A curve has the points that BD-rates need, over the same images as the others. The best needs
    fewest bits at equal PSNR. Without a standard codec it is one that is not the user's, if any.
    """
    metric = Metric.named("psnr")
    known = curves(summary, metric) if metric.column in summary.protocols else {}
    of = {label: mean_curve(points, metric) for label, points in known.items()}
    whole = [label for label, curve in of.items() if len(curve.bpp) >= LEAST_POINTS]
    standard = [label for label in whole if _is_standard(label)]
    for label in standard:
        if family(label) == reference_codecs()[-1]:
            return Anchor(label)
    if standard:
        return Anchor(_best(standard, of), BEST)
    rest = dict.fromkeys([*whole, *of, *summary.labels])
    first = min(rest, key=lambda label: (label not in whole, is_users(label)), default="")
    return Anchor(first, NO_CONVENTIONAL)


def headlined(labels: Iterable[str], anchor: str, named: Sequence[str] = ()) -> list[str]:
    """Return the labels of which the headline of a comparison with an anchor names the best.

    Those of codecs that the user brought; else of the first codec that was named, of this project's
    own, or of the first of all.

    >>> headlined(["jpeg", "mine.py:Mine", "vtm"], "vtm"), headlined(["ours", "jpeg"], "jpeg")
    (['mine.py:Mine'], ['ours'])
    """
    others = [label for label in labels if label != anchor]
    brought = [label for label in others if is_users(label)]
    of_named = (
        [label for label in others if label == name or label.startswith(f"{name}:")]
        for name in named
    )
    own = [label for label in others if kind(System("", label)) == "own"]
    return brought or next(filter(None, of_named), own) or others[:1]


def _best(labels: Sequence[str], of: Mapping[str, Curve]) -> str:
    """Return the label of the curve that needs fewest bits, by BD-rates against the first."""

    def rate(label: str) -> float:
        delta = bd_rate(of[labels[0]], of[label]) if label != labels[0] else Delta(0.0, 1.0)
        return delta.value if delta.value is not None else math.inf

    return min(labels, key=rate)


def _require_curve(rows: pl.DataFrame, label: str) -> None:
    settings = rows.filter(OK).select("setting_name", "setting_value").n_unique()
    if settings < LEAST_POINTS:
        raise UsageError(
            f"the anchor {label} has {counted(settings, 'setting')} here, and BD-rates need "
            f"{LEAST_POINTS}: measure more of them, or name another --anchor"
        )


def _is_standard(label: str) -> bool:
    return kind(System("", label)) == "standard"


def _labels(rows: pl.DataFrame) -> dict[str, tuple[str, str]]:
    return {label_of(*pair): pair for pair in sorted(pairs_of(rows))}


def _added(rows: pl.DataFrame, others: pl.DataFrame, label: str) -> pl.DataFrame:
    """Return rows with those of others that have this label, unless there are some."""
    if label in _labels(rows) or label not in (more := _labels(others)):
        return rows
    return pl.concat([rows, others.filter(are_of([more[label]]))])
