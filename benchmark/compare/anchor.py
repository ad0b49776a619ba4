"""The anchor of BD-rates, and the rows that are compared with it.

The default anchor is VTM, or else the best conventional codec by PSNR, for all metrics.
Without PSNR values, codecs are compared by the first requested per-image metric.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from benchmark.compare.experiment import Experiment
from benchmark.compare.rate_quality import MIN_POINTS, RateQuality, bd_rate, mean_curve
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import facts_of, reference_codecs
from benchmark.metrics.metric import Metric, protocols
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.means import summarise
from benchmark.rows.names import find_variant, is_named
from benchmark.rows.stored import DatasetResults, RowSource, read_results, require_bundled
from benchmark.rows.summary import Summary, average_seeds, curves
from benchmark.rows.variants import NO_ANCHOR, Anchor, editions_in, has_variant, specs_of
from benchmark.rows.versions import OK
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

BEST_CONVENTIONAL = "the best conventional codec with a curve on these images"
NO_CONVENTIONAL = "no conventional codec has a curve on these images"
NO_VALUES = "the first codec, as no per-image metric has values for a choice"


def read_with_anchor(
    source: RowSource,
    codecs: str,
    metrics: Sequence[str],
    *,
    anchor: str = "",
    fall_back: bool = False,
    min_settings: int = MIN_POINTS,
    **options: Any,
) -> DatasetResults:
    """Read and summarise rows together with their anchor's (`add_anchor`); average seeds."""
    join = partial(
        add_anchor, name=anchor, fall_back=fall_back, metrics=metrics, min_settings=min_settings
    )
    if source.rows is None:
        require_bundled(source.results, options.get("bundled", ""))
    selection = source.results, source.dataset, codecs, metrics
    dataset_results = read_results(*selection, rows=source.rows, join=join, **options)
    return dataset_results._replace(
        summary=average_seeds(dataset_results.summary, dataset_results.anchor.spec)
    )


def read_experiment(
    experiment: Experiment, metrics: Sequence[str], fall_back: bool, **options: Any
) -> DatasetResults:
    """Read the rows of an experiment and of its anchor with `read_with_anchor`."""
    return read_with_anchor(
        RowSource(experiment.results, experiment.dataset),
        experiment.codecs,
        metrics,
        anchor=experiment.anchor,
        fall_back=fall_back,
        bundled=experiment.bundled,
        images=experiment.images,
        allow_few=experiment.allow_few,
        verified_only=experiment.verified_only,
        **options,
    )


def add_anchor(
    rows: pl.DataFrame,
    other_rows: pl.DataFrame,
    name: str = "",
    fall_back: bool = False,
    metrics: Sequence[str] = (),
    min_settings: int = MIN_POINTS,
) -> tuple[pl.DataFrame, Anchor]:
    """Add the anchor's rows to `rows`; return the joined rows and the anchor.

    other_rows: rows of the same images, used for an anchor that `rows` lack. name: a label,
    spec or codec; "": the default anchor. Raises `UnknownName` for an anchor without rows and
    `UsageError` for fewer than `min_settings`; with `fall_back`, the default anchor is
    returned instead, with the reason in `why`. metrics: names of the requested metrics.
    """
    if name:
        try:
            spec = find_variant(name, [*editions_in(rows), *editions_in(other_rows)])
            joined_rows = _add_variant(rows, other_rows, spec)
            _require_curve(joined_rows.filter(has_variant([spec])), label_of(spec), min_settings)
        except UsageError as error:
            if not fall_back:
                raise
            joined_rows, anchor = add_anchor(rows, other_rows, metrics=metrics)
            problem = "no" if isinstance(error, UnknownName) else "no curve of"
            reason = f"{problem} {name} here{anchor.why and ': '}{anchor.why}"
            return joined_rows, anchor._replace(why=reason, error=error)
        return joined_rows, Anchor(spec)
    metric_name = _metric_for_anchor(rows, metrics)
    anchor = choose_anchor(summarise(rows, protocols([metric_name])), metric_name)
    if not anchor.why or not other_rows.height:
        return rows, anchor
    conventional_specs = [
        spec for spec in specs_of(other_rows) if facts_of(spec).kind == "standard"
    ]
    candidate_rows = pl.concat([rows, other_rows.filter(has_variant(conventional_specs))])
    anchor = choose_anchor(summarise(candidate_rows, protocols([metric_name])), metric_name)
    return _add_variant(rows, other_rows, anchor.spec), anchor


def _metric_for_anchor(rows: pl.DataFrame, metrics: Sequence[str]) -> str:
    for name in ("psnr", *(name for name in metrics if name not in DISTRIBUTION_METRICS)):
        column = metric_class(name).column
        if column in rows.columns and rows[column].count():
            return name
    return "psnr"


def require_anchor(anchors: Iterable[Anchor]) -> None:
    """Raise the named anchor's error if none of the datasets has that anchor."""
    errors = [anchor.error for anchor in anchors]
    if errors and errors[0] and all(errors):
        raise errors[0]


def choose_anchor(summary: Summary, name: str = "psnr") -> Anchor:
    """Return the default anchor: VTM if it has a curve, else the best conventional codec.

    A curve has enough points for BD-rates, over the same images as the others. The best codec
    needs the fewest bits at equal values of the metric `name`. Without a conventional codec, the
    anchor is, if possible, not the user's codec.
    """
    metric = Metric.named(name)
    points_by_edition = curves(summary, metric) if metric.column in summary.protocols else {}
    curves_by_edition = {
        edition: mean_curve(points, metric) for edition, points in points_by_edition.items()
    }
    complete_editions = [
        edition for edition, curve in curves_by_edition.items() if len(curve.bpp) >= MIN_POINTS
    ]
    conventional_editions = [
        edition for edition in complete_editions if edition.facts.kind == "standard"
    ]
    for edition in conventional_editions:
        if edition.family == reference_codecs()[-1]:
            return Anchor(edition.spec)
    if conventional_editions:
        return Anchor(
            _best_edition(conventional_editions, curves_by_edition).spec, BEST_CONVENTIONAL
        )
    fallbacks = dict.fromkeys([*complete_editions, *curves_by_edition, *summary.editions])
    if not fallbacks:
        return NO_ANCHOR._replace(why=NO_CONVENTIONAL)
    fallback = min(
        fallbacks, key=lambda edition: (edition not in complete_editions, edition.is_from_user)
    )
    return Anchor(
        fallback.spec, NO_CONVENTIONAL if summary.count_values(metric.column) else NO_VALUES
    )


def headline_candidates(
    editions: Iterable[Edition], anchor: Edition | None, names: Sequence[str] = ()
) -> list[Edition]:
    """Return candidates for the headline: the user's codecs, or else named or measured ones."""
    candidates = [edition for edition in editions if edition != anchor]
    user_editions = [edition for edition in candidates if edition.is_from_user]
    named_editions = [e for e in candidates if any(is_named(e, name) for name in names)]
    return user_editions or named_editions or [e for e in candidates if not e.bundled] or candidates


def _best_edition(
    editions: Sequence[Edition], curves_by_edition: Mapping[Edition, RateQuality]
) -> Edition:
    """Return the edition with the fewest bits, by BD-rates against the first edition."""
    first_edition = editions[0]

    def rate_against_first(edition: Edition) -> float:
        if edition == first_edition:
            return 0.0
        rate = bd_rate(
            curves_by_edition[first_edition], curves_by_edition[edition], USUAL_RULE
        ).value
        return math.inf if rate is None else rate

    return min(editions, key=rate_against_first)


def _require_curve(rows: pl.DataFrame, label: str, min_settings: int) -> None:
    num_settings = rows.filter(OK).select("setting_name", "setting_value").n_unique()
    if num_settings < min_settings:
        raise UsageError(
            f"the anchor {label} has {counted(num_settings, 'setting')} here, but BD-rates need "
            f"{min_settings}: measure more settings, or choose another --anchor"
        )


def _add_variant(
    rows: pl.DataFrame, other_rows: pl.DataFrame, spec: CodecSpec | None
) -> pl.DataFrame:
    if spec is None or spec in specs_of(rows):
        return rows
    return pl.concat([rows, other_rows.filter(has_variant([spec]))])
