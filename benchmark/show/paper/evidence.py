"""Rows, published points and curves of a figure or table of one's own experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchmark.compare.experiment import Experiment
from benchmark.compare.panel import (
    Panel,
    measured_panel,
    read_compared,
    require_named,
)
from benchmark.compare.tradeoff import of_both
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import reference_codecs
from benchmark.metrics.metric import Metric, remedies
from benchmark.published.curves import overlays
from benchmark.published.points import PublishedPoint, slug
from benchmark.published.registry import chosen_points
from benchmark.registry import DATASETS
from benchmark.rows.schema import metric_names
from benchmark.rows.store import stores_below
from benchmark.rows.stored import DatasetResults, Source
from benchmark.rows.summary import Summary
from benchmark.rows.systems import find_label, short_names, with_remark
from benchmark.show.figures.choice import beyond_sentences
from benchmark.show.figures.style import Style, look, styles
from benchmark.show.means import absent_sentences
from benchmark.show.sections import listed
from benchmark.spec import split_codecs

METRICS: Mapping[str, tuple[str, ...]] = {  # where none are named
    "rd": ("psnr", "ms_ssim", "lpips_squeeze"),
    "table": ("psnr", "lpips_squeeze"),
    "bd": ("psnr", "lpips_squeeze"),
    "complexity": ("psnr",),
    "realism": ("psnr", "lpips_squeeze"),
    "generations": ("psnr", "ms_ssim", "lpips"),
}


class Evidence(NamedTuple):
    """Rows and points that a figure is made from."""

    name: str  # of the dataset
    stored: DatasetResults | None  # None: published points alone
    points: Sequence[PublishedPoint]
    panels: list[Panel]  # with every curve
    anchor: str  # label
    title: str  # of the dataset
    styles: Mapping[str, Style]
    lacking: Sequence[str] = ()  # sentences on metrics that were named and have no panel

    @property
    def summary(self) -> Summary | None:
        """Means of the rows."""
        return self.stored and self.stored.summary

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the measured codecs, then those of published curves."""
        curves = (curve for panel in self.panels for curve in panel.published)
        of_published = dict.fromkeys(curve.system.label for curve in curves)
        return (*(self.summary.labels if self.summary else ()), *of_published)


def evidence(of: Experiment, verb: str, instead: bool = False) -> Evidence:
    """Return what is stored of the codecs asked for and the anchor, and published points.

    instead: see `compare.panel.with_anchor`.
    """
    fits = METRICS["bd"] if verb == "rd" and look().width == "column" else METRICS[verb]
    names = metric_names(of.metrics or fits)
    points = chosen_points(of.results, of.published)
    stored = None if _only_published(of, points) else _read(of, names, points, instead)
    metrics = [*map(Metric.named, names)]
    if stored and verb == "realism" and len(metrics) == 2:
        both = of_both(stored.summary.points, *metrics)
        stored = stored._replace(summary=replace(stored.summary, points=both))
    dataset, summary = (stored.name, stored.summary) if stored else (of.dataset, None)
    over = overlays(points, summary, metrics, dataset, of.mix_protocols)
    panels = []
    for metric in metrics:
        panel = measured_panel(summary, metric)
        compatible = over[metric.column].compatible if metric.column in over else ()
        panel = panel._replace(curves=(*panel.curves, *compatible))
        panels += [panel] if panel.curves or (summary and metric.column in over) else []
    if not panels:
        first = Metric.named(names[0])
        if summary is None:
            raise UsageError(
                f"nothing published on {dataset} has {first.label}: name another metric"
            )
        why = remedies(names, summary.why_without(first.column), summary.again)
        raise UsageError(f"no row of {dataset} has {first.label}: {why}")
    look().check({curve.system.label for panel in panels for curve in panel.curves})
    title, sentences = profile(dataset).title, list[str]()
    if of.metrics and summary:
        sentences = absent_sentences(names, summary)
    elif of.metrics:
        lacking = {of.label for of in metrics} - {panel.metric.label for panel in panels}
        sentences = [f"Nothing published on {title} has {label}." for label in sorted(lacking)]
    cut = [panel.up_to(of.up_to_bpp) for panel in panels]
    beyond = beyond_sentences(panels, cut, of.up_to_bpp)
    if beyond and not any(panel.curves for panel in cut):
        where = f"below {of.up_to_bpp:g} bpp"
        raise UsageError(f"no curve has a point {where}: --up-to-bpp takes a higher rate")
    sentences += beyond
    result = Evidence(dataset, stored, points, cut, "", title, {}, sentences)
    anchor = _anchor(result, of.anchor, instead)
    return result._replace(anchor=anchor, styles=styles(result.labels))


def of_datasets(asked: Experiment, datasets: Sequence[str], verb: str) -> list[Evidence]:
    """Return what there is on each dataset, of which one may lack named codecs, or the anchor.

    Raises `UnknownName` for a name without rows on any of them, and a dataset without any codec.
    """
    lacking: dict[str, list[UnknownName]] = {}

    def on(of: Experiment) -> Evidence:
        try:
            return evidence(of, verb, instead=len(datasets) > 1)
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
    require_named(of.stored.anchor for of in results if of.stored)
    for errors in lacking.values():
        if len(errors) == len(results):
            raise errors[0]
    return _named_alike(results)


def _named_alike(results: Sequence[Evidence]) -> list[Evidence]:
    """Give each measured codec one name, which says on which datasets its rows are bundled."""
    curves = [(of.title, c) for of in results for panel in of.panels for c in panel.measured]
    versions = {c.system.label: c.edition.version for _, c in curves if c.edition}
    names, where = short_names([*versions], versions), dict[str, dict[str, str]]()
    for title, curve in curves:
        where.setdefault(curve.system.label, {})[title] = curve.origin
    if any("here" in origins.values() for origins in where.values()):
        for label, origins in where.items():
            bundled = [title for title, origin in origins.items() if origin == "bundled"]
            on = "" if len(bundled) == len(origins) else f" on {listed(bundled)}"
            names[label] = with_remark(names[label], f"bundled{on}" if bundled else "")

    def called(panel: Panel) -> Panel:
        curves = (c.called(names[c.system.label]) if c.measured else c for c in panel.curves)
        return panel._replace(curves=tuple(curves))

    return [of._replace(panels=[*map(called, of.panels)]) for of in results]


def _anchor(result: Evidence, asked: str, instead: bool) -> str:
    """Return the label of the anchor of the rows, else that of a published curve.

    asked: `system` or `system:variant`; without it the last of the codecs that readers know, or
    none. instead: none, too, where there is no such curve; else raise `UnknownName`.
    """
    measured = result.stored.anchor.label if result.stored else ""
    if measured and not _are_of(asked, result.points):
        return measured
    system, _, variant = (asked or reference_codecs()[-1]).partition(":")
    for curve in (curve for panel in result.panels for curve in panel.published):
        name, of = curve.system.published[0]
        if slug(name) == slug(system) and variant in ("", of):
            return curve.system.label
    return measured or (find_label(asked, result.labels) if asked and not instead else "")


def _are_of(name: str, points: Sequence[PublishedPoint]) -> bool:
    """Return whether some points are of a published system's name."""
    system, _, variant = name.partition(":")
    return any(p.slug == slug(system) and variant in ("", p.variant) for p in points)


def _only_published(of: Experiment, points: Sequence[PublishedPoint]) -> bool:
    """Return whether there are published points to draw, and no rows to draw them beside."""
    if of.named or of.dataset in stores_below(of.results):
        return False
    return bool(points) and of.dataset in {*DATASETS, *(point.dataset for point in points)}


def _read(
    of: Experiment, names: Sequence[str], points: Sequence[PublishedPoint], instead: bool
) -> DatasetResults:
    """Read the rows of the codecs that were named and of the anchor, if it is not published."""
    return read_compared(
        Source(of.results, of.dataset), of.codecs, names, instead=instead,
        anchor="" if _are_of(of.anchor, points) else of.anchor, bundled=of.bundled,
        images=of.images, allow_few=of.allow_few, verified_only=of.verified_only,
    )  # fmt: skip
