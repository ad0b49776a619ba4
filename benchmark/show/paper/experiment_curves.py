"""Curves of a user's experiment, from rows and published points, for figures and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from benchmark.compare.anchor import read_experiment, require_anchor
from benchmark.compare.curve import Panel, cut_curves, measured_curves, share_marks
from benchmark.compare.experiment import Experiment
from benchmark.compare.rate_quality import MIN_POINTS
from benchmark.compare.tradeoff import restrict_to_shared
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import reference_codecs
from benchmark.metrics.metric import Metric, remedies
from benchmark.published.curves import overlays, system_of
from benchmark.published.points import PublishedPoint, refers_to
from benchmark.published.registry import chosen_points, note_missing_values
from benchmark.registry import DATASETS
from benchmark.rows.edition import Edition, add_remark, titles
from benchmark.rows.names import find_variant
from benchmark.rows.schema import metric_names
from benchmark.rows.store import stores_below
from benchmark.rows.stored import DatasetResults
from benchmark.rows.summary import Summary
from benchmark.show.absences import absent_sentences
from benchmark.show.figures.choice import note_cut_curves, rename_curves
from benchmark.show.figures.style import look
from benchmark.show.sections import listed
from benchmark.spec import CodecSpec, split_codecs

METRICS: Mapping[str, tuple[str, ...]] = {  # default metrics by figure
    "rd": ("psnr", "ms_ssim", "lpips_squeeze"),
    "table": ("psnr", "lpips_squeeze"),
    "bd": ("psnr", "lpips_squeeze"),
    "complexity": ("psnr",),
    "realism": ("psnr", "lpips_squeeze"),
}


class ExperimentCurves(NamedTuple):
    """Curves of an experiment on a dataset."""

    dataset: str
    stored: DatasetResults | None  # None: only published points
    metrics: Sequence[Metric]  # metrics with values
    panels: Sequence[Panel]  # one per metric with curves
    anchor: CodecSpec | None
    missing_notes: Sequence[str]  # on metrics without values and on cut curves

    @property
    def title(self) -> str:
        """Title of the dataset."""
        return profile(self.dataset).title

    @property
    def summary(self) -> Summary | None:
        """Summary of the rows; None if there are only published points."""
        return self.stored and self.stored.summary

    @property
    def editions(self) -> tuple[Edition, ...]:
        """The measured editions, then those of published curves."""
        curves = chain(*self.panels)
        published_editions = dict.fromkeys(curve.edition for curve in curves if not curve.measured)
        return (*(self.summary.editions if self.summary else ()), *published_editions)

    @property
    def anchor_edition(self) -> Edition | None:
        """The measured edition that is the anchor, if there is one."""
        return self.summary.edition_of(self.anchor) if self.summary else None


def experiment_curves(
    experiment: Experiment, datasets: Sequence[str], verb: str, min_settings: int = MIN_POINTS
) -> list[ExperimentCurves]:
    """Return the curves on each dataset; a dataset may lack some requested codecs or the anchor.

    verb: figure with the default metrics. min_settings: number of settings that an anchor needs.
    Raises `UnknownName` for a name without rows on any dataset, or a dataset without such rows.
    """
    unknown_names: dict[str, list[UnknownName]] = {}

    def read_known(dataset_experiment: Experiment) -> ExperimentCurves:
        try:
            return _read_curves(dataset_experiment, verb, len(datasets) > 1, min_settings)
        except UnknownName as error:
            known_codecs, known_bundled = (
                ",".join(name for name in split_codecs(text) if name != error.name)
                for text in (dataset_experiment.codecs, dataset_experiment.bundled)
            )
            if (known_codecs, known_bundled) == (
                dataset_experiment.codecs,
                dataset_experiment.bundled,
            ):
                raise
            unknown_names.setdefault(error.name, []).append(error)
            if not known_codecs:
                raise next(iter(unknown_names.values()))[0] from None
            return read_known(
                replace(dataset_experiment, codecs=known_codecs, bundled=known_bundled)
            )

    results = [read_known(replace(experiment, dataset=dataset)) for dataset in datasets]
    require_anchor(result.stored.anchor for result in results if result.stored)
    for errors in unknown_names.values():
        if len(errors) == len(results):
            raise errors[0]
    results = _unify_names(results) if results[1:] else results
    editions = {curve.edition for result in results for curve in chain(*result.panels)}
    return [result._replace(panels=rename_curves(result.panels, editions)) for result in results]


def _read_curves(
    experiment: Experiment, verb: str, fall_back: bool, min_settings: int
) -> ExperimentCurves:
    default_metrics = METRICS["bd"] if verb == "rd" and look().width == "column" else METRICS[verb]
    names = metric_names(experiment.metrics or default_metrics)
    points = chosen_points(experiment.results, experiment.published)
    dataset_results = None
    if not _only_published(experiment, points):
        row_experiment = (
            replace(experiment, anchor="")
            if any(refers_to(experiment.anchor, p.system, p.variant) for p in points)
            else experiment
        )
        dataset_results = read_experiment(
            row_experiment, names, fall_back, min_settings=min_settings
        )
    metrics = [*map(Metric.named, names)]
    if dataset_results and verb == "realism" and len(metrics) == 2:
        points_with_both = restrict_to_shared(dataset_results.summary.points, *metrics)
        dataset_results = dataset_results._replace(
            summary=replace(dataset_results.summary, points=points_with_both)
        )
    dataset, summary = (
        (dataset_results.name, dataset_results.summary)
        if dataset_results
        else (experiment.dataset, None)
    )
    overlays_by_column = overlays(points, summary, metrics, dataset, experiment.mix_protocols)
    panels: dict[Metric, Panel] = {}
    for metric in metrics:
        published_curves = (
            overlays_by_column[metric.column].compatible
            if metric.column in overlays_by_column
            else ()
        )
        curves = [*measured_curves(summary, metric), *published_curves]
        if curves or (summary and metric.column in overlays_by_column):
            panels[metric] = curves
    if not panels and summary is None:
        raise UsageError(
            f"nothing published on {dataset} has {metrics[0].label}: choose another metric"
        )
    if not panels and summary:
        remedy = remedies(names, summary.absence_reason(metrics[0].column), summary.rescore_command)
        raise UsageError(f"no row of {dataset} has {metrics[0].label}: {remedy}")
    look().check({curve.edition for curve in chain(*panels.values())})
    sentences = list[str]()
    if experiment.metrics and summary:
        sentences = absent_sentences(names, summary)
        sentences += note_missing_values(points, metrics, dataset, experiment.results)
    elif experiment.metrics:
        labels = sorted({metric.label for metric in metrics} - {metric.label for metric in panels})
        sentences = [
            f"Nothing published on {profile(dataset).title} has {label}." for label in labels
        ]
    cut_panels = [
        panel for curves in panels.values() if (panel := cut_curves(curves, experiment.rule))
    ]
    cut_notes = note_cut_curves(panels.values(), cut_panels, experiment.rule)
    if cut_notes and not cut_panels:
        limit_text = f"below {experiment.rule.up_to_bpp:g} bpp"
        raise UsageError(f"no curve has a point {limit_text}: raise --up-to-bpp")
    curves_without_anchor = ExperimentCurves(
        dataset, dataset_results, [*panels], cut_panels, None, [*sentences, *cut_notes]
    )
    return curves_without_anchor._replace(
        anchor=_find_anchor(curves_without_anchor, experiment.anchor, points, fall_back)
    )


def _unify_names(results: Sequence[ExperimentCurves]) -> list[ExperimentCurves]:
    """Give each codec one name on all datasets, marked if bundled or measured by another rule."""
    curves = [(result.title, c) for result in results for c in chain(*result.panels) if c.measured]
    latest_editions = {curve.spec: curve.edition for _, curve in curves}
    names = {edition.spec: name for edition, name in titles(latest_editions.values()).items()}
    origins_by_spec = dict[CodecSpec, dict[str, str]]()
    for title, curve in curves:
        origins_by_spec.setdefault(curve.spec, {})[title] = curve.edition.origin
    if any("here" in origins.values() for origins in origins_by_spec.values()):
        for spec, origins in origins_by_spec.items():
            bundled_titles = [title for title, origin in origins.items() if origin == "bundled"]
            datasets_clause = (
                "" if len(bundled_titles) == len(origins) else f" on {listed(bundled_titles)}"
            )
            names[spec] = add_remark(
                names[spec], f"bundled{datasets_clause}" if bundled_titles else ""
            )

    def share_names(panel: Panel) -> Panel:
        return [c._replace(title=names[c.spec]) if c.measured else c for c in panel]

    panels = iter(
        share_marks([share_names(panel) for result in results for panel in result.panels])
    )
    return [result._replace(panels=[next(panels) for _ in result.panels]) for result in results]


def _find_anchor(
    result: ExperimentCurves, name: str, points: Sequence[PublishedPoint], fall_back: bool
) -> CodecSpec | None:
    """Return the anchor of the rows, otherwise the anchor among the published curves.

    name: `system` or `system:variant`; empty: the last reference codec, if it has a curve.
    fall_back: return None if no curve has this name; otherwise raise `UnknownName`.
    """
    measured_anchor = result.stored.anchor.spec if result.stored else None
    if measured_anchor and not any(refers_to(name, p.system, p.variant) for p in points):
        return measured_anchor
    for curve in (curve for curve in chain(*result.panels) if not curve.measured):
        _, variant = curve.edition.facts.published[0]
        if refers_to(name or reference_codecs()[-1], system_of(curve), variant):
            return curve.spec
    if measured_anchor or not name or fall_back:
        return measured_anchor
    return find_variant(name, result.editions)


def _only_published(experiment: Experiment, points: Sequence[PublishedPoint]) -> bool:
    if experiment.named_codecs or experiment.dataset in stores_below(experiment.results):
        return False
    return bool(points) and experiment.dataset in {*DATASETS, *(point.dataset for point in points)}
