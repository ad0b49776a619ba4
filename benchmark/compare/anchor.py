"""The anchor of BD-rates: the one that is named, else VTM, else the best conventional codec.

One rule for every verb, by PSNR alone, so that no choice of metrics changes it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.compare.curves import LEAST_POINTS, Curve, Delta, bd_rate, curves, mean_curve
from benchmark.facts import reference_codecs
from benchmark.metrics.measure import Measure, protocols
from benchmark.rows.experiment import Anchor, are_of, pairs_of
from benchmark.rows.means import summarise
from benchmark.rows.stored import DatasetResults, read_rows
from benchmark.rows.summary import Summary
from benchmark.rows.systems import System, family, find_label, kind, label_of, spec_of
from benchmark.spec import PATHS, names_code

BEST = "the best conventional codec with a curve on these images"
NO_CONVENTIONAL = "no conventional codec has a curve on these images"


def read_compared(
    results: Path,
    dataset: str,
    codecs: str,
    metrics: Sequence[str],
    *,
    anchor: str = "",
    **options: Any,
) -> DatasetResults:
    """Read and summarise the rows of an experiment and of its anchor.

    anchor: label, spec or codec; "": by the rule of this module. Other arguments as of
    `stored.read_rows`. Raises `UnknownName` for an anchor without rows.
    """
    stored = read_rows(results, dataset, codecs, metrics, **options)
    return stored.summarised(*with_anchor(*stored.experiment[:2], anchor))


def with_anchor(
    rows: pl.DataFrame, others: pl.DataFrame, named: str = ""
) -> tuple[pl.DataFrame, Anchor]:
    """Return rows with those of their anchor, and the anchor.

    others: rows of the same images, from which the anchor's are taken if `rows` have none. named: a
    label, spec or codec. Raises `UnknownName` for one without rows.
    """
    if named:
        own, more = _labels(rows), _labels(others)
        label = find_label(named, [*own] if named in own else [*(own | more)])
        return _added(rows, others, label), Anchor(label)
    anchor = anchor_among(summarise(rows, protocols(["psnr"])))
    if not anchor.why or not others.height:
        return rows, anchor
    standard = [pair for pair in pairs_of(others) if _is_standard(label_of(*pair))]
    every = pl.concat([rows, others.filter(are_of(standard))])
    anchor = anchor_among(summarise(every, protocols(["psnr"])))
    return _added(rows, others, anchor.label), anchor


def anchor_among(summary: Summary) -> Anchor:
    """Return the anchor where none is named: VTM if it has a curve, else the best standard codec.

    A curve has the points that BD-rates need, over the same images as the others. The best needs
    fewest bits at equal PSNR. Without a standard codec it is one that is not the user's, if any.
    """
    measure = Measure.named("psnr")
    known = curves(summary, measure) if measure.column in summary.protocols else {}
    of = {label: mean_curve(points, measure) for label, points in known.items()}
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


def subjects(labels: Iterable[str], anchor: str, named: Sequence[str] = ()) -> list[str]:
    """Return the labels that a comparison with an anchor is about.

    Those of codecs that the user brought; else of the first codec that was named, of this project's
    own, or of the first of all.

    >>> subjects(["jpeg", "mine.py:Mine", "vtm"], "vtm"), subjects(["ours:beta=0", "jpeg"], "jpeg")
    (['mine.py:Mine'], ['ours:beta=0'])
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
        return delta.value if isinstance(delta, Delta) else math.inf

    return min(labels, key=rate)


def _is_standard(label: str) -> bool:
    return kind(System("", label)) == "standard"


def _labels(rows: pl.DataFrame) -> dict[str, tuple[str, str]]:
    return {label_of(*pair): pair for pair in sorted(pairs_of(rows))}


def _added(rows: pl.DataFrame, others: pl.DataFrame, label: str) -> pl.DataFrame:
    """Return rows with those of others that have this label, unless there are some."""
    if label in _labels(rows) or label not in (more := _labels(others)):
        return rows
    return pl.concat([rows, others.filter(are_of([more[label]]))])


def is_users(label: str) -> bool:
    """Return whether a label is of a codec, or of weights, that the user brought.

    >>> [is_users(label) for label in ("mine.py:Mine", "ours:checkpoint=a.pth", "ours:beta=0")]
    [True, True, False]
    """
    spec = spec_of(label)
    return names_code(spec) or any(key in PATHS for key, _ in spec.options)
