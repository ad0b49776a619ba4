"""Curves of one's own experiment, of stored rows and published points, for figures and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from benchmark.compare.anchor import read_experiment, require_anchor
from benchmark.compare.curves import MIN_POINTS
from benchmark.compare.experiment import Experiment
from benchmark.compare.system_curve import Panel, cut_curves, measured_curves, share_marks
from benchmark.compare.tradeoff import restrict_to_shared
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import reference_codecs
from benchmark.metrics.metric import Metric, remedies
from benchmark.published.curves import overlays, system_of
from benchmark.published.points import PublishedPoint, slug
from benchmark.published.registry import chosen_points, without_values
from benchmark.registry import DATASETS
from benchmark.rows.edition import Edition, add_remark, titles
from benchmark.rows.names import find_variant
from benchmark.rows.schema import metric_names
from benchmark.rows.store import stores_below
from benchmark.rows.stored import DatasetResults
from benchmark.rows.summary import Summary, average_seeds
from benchmark.show.absences import absent_sentences
from benchmark.show.figures.choice import beyond_sentences, renamed
from benchmark.show.figures.style import look
from benchmark.show.sections import listed
from benchmark.spec import CodecSpec, split_codecs

METRICS: Mapping[str, tuple[str, ...]] = {  # where none are named
    "rd": ("psnr", "ms_ssim", "lpips_squeeze"),
    "table": ("psnr", "lpips_squeeze"),
    "bd": ("psnr", "lpips_squeeze"),
    "complexity": ("psnr",),
    "realism": ("psnr", "lpips_squeeze"),
}


class ExperimentCurves(NamedTuple):
    """Curves of an experiment on a dataset."""

    dataset: str
    stored: DatasetResults | None  # None: published points alone
    metrics: Sequence[Metric]  # that have values
    panels: Sequence[Panel]  # of the metrics that have curves
    anchor: CodecSpec | None
    lacking: Sequence[str]  # sentences on metrics that were named and have no values

    @property
    def title(self) -> str:
        """Title of the dataset."""
        return profile(self.dataset).title

    @property
    def summary(self) -> Summary | None:
        """Means of the rows."""
        return self.stored and self.stored.summary

    @property
    def editions(self) -> tuple[Edition, ...]:
        """The measured editions, then those of published curves."""
        curves = chain(*self.panels)
        published = dict.fromkeys(curve.edition for curve in curves if not curve.measured)
        return (*(self.summary.editions if self.summary else ()), *published)

    @property
    def anchor_edition(self) -> Edition | None:
        """The measured edition that is the anchor, if any is."""
        return self.summary.edition_of(self.anchor) if self.summary else None


def experiment_curves(
    asked: Experiment, datasets: Sequence[str], verb: str, least_settings: int = MIN_POINTS
) -> list[ExperimentCurves]:
    """Return the curves on each dataset, of which one may lack named codecs, or the anchor.

    verb: of figures, whose usual metrics are taken where none are named. least_settings: of a named
    anchor. Raises `UnknownName` for a name without rows on any of them, and a dataset without any
    codec.
    """
    lacking: dict[str, list[UnknownName]] = {}

    def on(of: Experiment) -> ExperimentCurves:
        try:
            return _on_dataset(of, verb, len(datasets) > 1, least_settings)
        except UnknownName as error:
            codecs, bundled = (
                ",".join(name for name in split_codecs(text) if name != error.name)
                for text in (of.codecs, of.bundled)
            )
            if (codecs, bundled) == (of.codecs, of.bundled):
                raise
            lacking.setdefault(error.name, []).append(error)
            if not codecs:
                raise next(iter(lacking.values()))[0] from None
            return on(replace(of, codecs=codecs, bundled=bundled))

    results = [on(replace(asked, dataset=dataset)) for dataset in datasets]
    require_anchor(of.stored.anchor for of in results if of.stored)
    for errors in lacking.values():
        if len(errors) == len(results):
            raise errors[0]
    results = _named_alike(results) if results[1:] else results
    editions = {curve.edition for of in results for curve in chain(*of.panels)}
    return [of._replace(panels=renamed(of.panels, editions)) for of in results]


def _on_dataset(of: Experiment, verb: str, instead: bool, least_settings: int) -> ExperimentCurves:
    """Return what is stored of the codecs asked for and the anchor, and published points.

    instead, least_settings: see `compare.anchor.add_anchor`.
    """
    fits = METRICS["bd"] if verb == "rd" and look().width == "column" else METRICS[verb]
    names = metric_names(of.metrics or fits)
    points = chosen_points(of.results, of.published)
    stored = None
    if not _only_published(of, points):
        rows = replace(of, anchor="") if _are_of(of.anchor, points) else of
        stored = read_experiment(rows, names, instead, least_settings=least_settings)
        summary_of_seeds = average_seeds(stored.summary, stored.anchor.spec)
        stored = stored._replace(summary=summary_of_seeds)
    asked = [*map(Metric.named, names)]
    if stored and verb == "realism" and len(asked) == 2:
        both = restrict_to_shared(stored.summary.points, *asked)
        stored = stored._replace(summary=replace(stored.summary, points=both))
    dataset, summary = (stored.name, stored.summary) if stored else (of.dataset, None)
    over = overlays(points, summary, asked, dataset, of.mix_protocols)
    every: dict[Metric, Panel] = {}
    for metric in asked:
        published = over[metric.column].compatible if metric.column in over else ()
        curves = [*measured_curves(summary, metric), *published]
        if curves or (summary and metric.column in over):
            every[metric] = curves
    if not every and summary is None:
        raise UsageError(
            f"nothing published on {dataset} has {asked[0].label}: name another metric"
        )
    if not every and summary:
        why = remedies(names, summary.absence_reason(asked[0].column), summary.again)
        raise UsageError(f"no row of {dataset} has {asked[0].label}: {why}")
    look().check({curve.edition for curve in chain(*every.values())})
    sentences = list[str]()
    if of.metrics and summary:
        sentences = absent_sentences(names, summary)
        sentences += without_values(points, asked, dataset, of.results)
    elif of.metrics:
        labels = sorted({metric.label for metric in asked} - {metric.label for metric in every})
        sentences = [f"Nothing published on {profile(dataset).title} has {of}." for of in labels]
    cut = [panel for curves in every.values() if (panel := cut_curves(curves, of.rule))]
    beyond = beyond_sentences(every.values(), cut, of.rule)
    if beyond and not cut:
        where = f"below {of.rule.up_to_bpp:g} bpp"
        raise UsageError(f"no curve has a point {where}: --up-to-bpp takes a higher rate")
    result = ExperimentCurves(dataset, stored, [*every], cut, None, [*sentences, *beyond])
    return result._replace(anchor=_anchor(result, of.anchor, points, instead))


def _named_alike(results: Sequence[ExperimentCurves]) -> list[ExperimentCurves]:
    """Give each codec one name, which says on which datasets its rows are bundled.

    A published one has the mark of another rule on all datasets if it has it on one.
    """
    curves = [(of.title, c) for of in results for c in chain(*of.panels) if c.measured]
    latest = {curve.spec: curve.edition for _, curve in curves}
    names = {edition.spec: name for edition, name in titles(latest.values()).items()}
    where = dict[CodecSpec, dict[str, str]]()
    for title, curve in curves:
        where.setdefault(curve.spec, {})[title] = curve.edition.origin
    if any("here" in origins.values() for origins in where.values()):
        for spec, origins in where.items():
            bundled = [title for title, origin in origins.items() if origin == "bundled"]
            on = "" if len(bundled) == len(origins) else f" on {listed(bundled)}"
            names[spec] = add_remark(names[spec], f"bundled{on}" if bundled else "")

    def called(panel: Panel) -> Panel:
        return [c.retitled(names[c.spec]) if c.measured else c for c in panel]

    panels = iter(share_marks([called(panel) for of in results for panel in of.panels]))
    return [of._replace(panels=[next(panels) for _ in of.panels]) for of in results]


def _anchor(
    result: ExperimentCurves, asked: str, points: Sequence[PublishedPoint], instead: bool
) -> CodecSpec | None:
    """Return the anchor of the rows, else that of a published curve.

    asked: `system` or `system:variant`; without it the last of the codecs that readers know, or
    none. instead: none, too, where there is no such curve; else raise `UnknownName`.
    """
    measured = result.stored.anchor.spec if result.stored else None
    if measured and not _are_of(asked, points):
        return measured
    system, _, variant = (asked or reference_codecs()[-1]).partition(":")
    for curve in (curve for curve in chain(*result.panels) if not curve.measured):
        _, of = curve.edition.facts.published[0]
        if slug(system_of(curve)) == slug(system) and variant in ("", of):
            return curve.spec
    if measured or not asked or instead:
        return measured
    return find_variant(asked, result.editions)


def _are_of(name: str, points: Sequence[PublishedPoint]) -> bool:
    """Return whether some points are of a published system's name."""
    system, _, variant = name.partition(":")
    return any(p.slug == slug(system) and variant in ("", p.variant) for p in points)


def _only_published(of: Experiment, points: Sequence[PublishedPoint]) -> bool:
    """Return whether there are published points to draw, and no rows to draw them beside."""
    if of.named or of.dataset in stores_below(of.results):
        return False
    return bool(points) and of.dataset in {*DATASETS, *(point.dataset for point in points)}
