"""The anchor of BD-rates, and the rows that are compared with it.

It is the one that is named, else VTM, else the best conventional codec: one rule for every verb, by
PSNR, so that no choice of metrics changes it. Rows without PSNR are judged by the first metric of
single images that they have, of those that were asked for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from benchmark.compare.curves import LEAST_POINTS, Curve, bd_rate, mean_curve
from benchmark.compare.experiment import Experiment
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import facts_of, reference_codecs
from benchmark.metrics.metric import Metric, protocols
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.means import summarise
from benchmark.rows.names import find_variant, is_named
from benchmark.rows.stored import DatasetResults, Source, read_results, require_bundled
from benchmark.rows.summary import Summary, curves
from benchmark.rows.variants import NO_ANCHOR, Anchor, are_of, editions_in, specs_of
from benchmark.rows.versions import OK
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

BEST = "the best conventional codec with a curve on these images"
NO_CONVENTIONAL = "no conventional codec has a curve on these images"
NO_VALUES = "the first: no metric of single images to choose it by"


def read_compared(
    source: Source,
    codecs: str,
    metrics: Sequence[str],
    *,
    anchor: str = "",
    instead: bool = False,
    least_settings: int = LEAST_POINTS,
    **options: Any,
) -> DatasetResults:
    """Read and summarise the rows of an experiment and of its anchor.

    anchor, instead, least_settings: as of `with_anchor`. Other arguments as of
    `stored.read_results`.
    """
    joined = partial(
        with_anchor, named=anchor, instead=instead, metrics=metrics, least_settings=least_settings
    )
    if source.rows is None:
        require_bundled(source.results, options.get("bundled", ""))
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
    rows: pl.DataFrame,
    others: pl.DataFrame,
    named: str = "",
    instead: bool = False,
    metrics: Sequence[str] = (),
    least_settings: int = LEAST_POINTS,
) -> tuple[pl.DataFrame, Anchor]:
    """Return rows with those of their anchor, and the anchor.

    others: rows of the same images, from which the anchor's are taken if `rows` have none. named: a
    label, spec or codec; "": by the rule of this module. Raises `UnknownName` for one without rows
    and `UsageError` for one of fewer than `least_settings`; instead: the rule's is taken then, and
    says why. metrics: names of those that were asked for.
    """
    if named:
        try:
            spec = find_variant(named, [*editions_in(rows), *editions_in(others)])
            both = _added(rows, others, spec)
            _require_curve(both.filter(are_of([spec])), label_of(spec), least_settings)
        except UsageError as error:
            if not instead:
                raise
            both, anchor = with_anchor(rows, others, metrics=metrics)
            missing = "no" if isinstance(error, UnknownName) else "no curve of"
            why = f"{missing} {named} here{anchor.why and ': '}{anchor.why}"
            return both, anchor._replace(why=why, refused=error)
        return both, Anchor(spec)
    name = _judging_metric(rows, metrics)
    anchor = anchor_among(summarise(rows, protocols([name])), name)
    if not anchor.why or not others.height:
        return rows, anchor
    standard = [spec for spec in specs_of(others) if facts_of(spec).kind == "standard"]
    every = pl.concat([rows, others.filter(are_of(standard))])
    anchor = anchor_among(summarise(every, protocols([name])), name)
    return _added(rows, others, anchor.spec), anchor


def _judging_metric(rows: pl.DataFrame, metrics: Sequence[str]) -> str:
    """Return the name of the metric that an anchor is chosen by: see the module."""
    for name in ("psnr", *(name for name in metrics if name not in DISTRIBUTION_METRICS)):
        column = metric_class(name).column
        if column in rows.columns and rows[column].count():
            return name
    return "psnr"


def require_named(anchors: Iterable[Anchor]) -> None:
    """Raise why the named anchor is not taken, where none of several datasets has it."""
    refused = [anchor.refused for anchor in anchors]
    if refused and refused[0] and all(refused):
        raise refused[0]


def anchor_among(summary: Summary, name: str = "psnr") -> Anchor:
    """Return the anchor where none is named: VTM if it has a curve, else the best standard codec.

    A curve has the points that BD-rates need, over the same images as the others. The best needs
    fewest bits at equal values of the metric `name`. Without a standard codec it is one that is not
    the user's, if any.
    """
    metric = Metric.named(name)
    known = curves(summary, metric) if metric.column in summary.protocols else {}
    of = {edition: mean_curve(points, metric) for edition, points in known.items()}
    whole = [edition for edition, curve in of.items() if len(curve.bpp) >= LEAST_POINTS]
    standard = [edition for edition in whole if edition.facts.kind == "standard"]
    for edition in standard:
        if edition.family == reference_codecs()[-1]:
            return Anchor(edition.spec)
    if standard:
        return Anchor(_best(standard, of).spec, BEST)
    rest = dict.fromkeys([*whole, *of, *summary.editions])
    if not rest:
        return NO_ANCHOR._replace(why=NO_CONVENTIONAL)
    first = min(rest, key=lambda edition: (edition not in whole, edition.is_users))
    return Anchor(first.spec, NO_CONVENTIONAL if summary.values_of(metric.column) else NO_VALUES)


def headlined(
    editions: Iterable[Edition], anchor: Edition | None, named: Sequence[str] = ()
) -> list[Edition]:
    """Return the editions of which the headline of a comparison with an anchor names the best.

    Those of codecs that the user brought; else of codecs that were named, else of all that were
    measured here, or of all.

    >>> from benchmark.spec import parse_codec
    >>> known = [Edition.of(parse_codec(text)) for text in ("ours:beta=0", "jpeg", "vtm")]
    >>> [edition.title for edition in headlined(known, known[2], ["jpeg", "vtm"])]
    ['JPEG']
    """
    others = [edition for edition in editions if edition != anchor]
    brought = [edition for edition in others if edition.is_users]
    of_named = [e for e in others if any(is_named(e, name) for name in named)]
    return brought or of_named or [e for e in others if not e.bundled] or others


def _best(editions: Sequence[Edition], of: Mapping[Edition, Curve]) -> Edition:
    """Return the edition whose curve needs fewest bits, by BD-rates against the first."""
    first = editions[0]

    def rate_against_first(edition: Edition) -> float:
        if edition == first:
            return 0.0
        rate = bd_rate(of[first], of[edition], USUAL_RULE).value
        return math.inf if rate is None else rate

    return min(editions, key=rate_against_first)


def _require_curve(rows: pl.DataFrame, label: str, least_settings: int) -> None:
    settings = rows.filter(OK).select("setting_name", "setting_value").n_unique()
    if settings < least_settings:
        raise UsageError(
            f"the anchor {label} has {counted(settings, 'setting')} here, and BD-rates need "
            f"{least_settings}: measure more of them, or name another --anchor"
        )


def _added(rows: pl.DataFrame, others: pl.DataFrame, spec: CodecSpec | None) -> pl.DataFrame:
    """Return rows with those of others that are of a codec variant, unless there are some."""
    if spec is None or spec in specs_of(rows):
        return rows
    return pl.concat([rows, others.filter(are_of([spec]))])
