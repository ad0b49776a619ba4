"""Reports: figures, tables and text on the stored results of a dataset, in a report folder."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from benchmark.answer import Absent
from benchmark.compare.anchor import read_experiment, require_anchor
from benchmark.compare.bd import Comparisons, Ranking, anchor_comparison, compare, rank_by_bd_rate
from benchmark.compare.curve import Panel, cut_curves, measured_curves, variant_curve
from benchmark.compare.experiment import Experiment
from benchmark.compare.interval import draw_spreads, records_with_intervals
from benchmark.compare.rule import Rule
from benchmark.datasets.dataset import profile
from benchmark.metrics.metric import Metric, overview_columns
from benchmark.rows.edition import Edition
from benchmark.rows.schema import metric_names
from benchmark.rows.store import Store
from benchmark.rows.stored import (
    DatasetResults,
    datasets_with_results,
    report_folder,
    requested_datasets,
    source_facts,
)
from benchmark.rows.summary import Summary
from benchmark.rows.variants import Anchor
from benchmark.rows.versions import BUNDLED, VARIANT
from benchmark.show.absences import absent_sentences, gaps, problems, value_absences
from benchmark.show.bd_rates import bd_table
from benchmark.show.figures.choice import (
    Choice,
    note_cut_curves,
    note_undrawn,
    pick_curves,
    rename_curves,
    sources_table,
)
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.style import look, styles
from benchmark.show.figures.texts import DrawnFigure, few_images, figure_files
from benchmark.show.means_table import means_table, metrics_over_few
from benchmark.show.report.details import (
    details_record,
    details_text,
    draws_table,
    page_sections,
    report_text,
    source_sentences,
)
from benchmark.show.report.files import PAGE, ReportFiles
from benchmark.show.sections import ONLY_BUNDLED, Section, note_bundled_values
from benchmark.show.sections import metric_names as metric_text
from benchmark.show.table import Table, csv_text, markdown
from benchmark.spec import CodecSpec
from benchmark.system.text import listed

if TYPE_CHECKING:
    from benchmark.published.curves import Overlay

CORE_FILES = {"report.md", "details.md", "details.json", "means.md", "means.csv"}


@dataclass(frozen=True, slots=True)
class Report:
    """Written report of one dataset, with the contents for the page and the terminal."""

    stored: DatasetResults
    metrics: Sequence[Metric]  # requested metrics
    measured_metrics: Sequence[Metric]  # metrics with values
    sections: Mapping[str, Section]  # sections of a page, by kind
    deltas: Table | str  # BD-rates, or the reason why there are none
    overlays: Mapping[str, "Overlay"]  # published curves by metric column
    ranking: Ranking
    files: Sequence[Path] = ()  # path of report.md
    figures: int = 0  # number of figures
    problems: Sequence[Absent] = ()  # absences that the user can resolve
    absent: Sequence[Absent] = ()  # problems, absent metrics and curves
    notes: Sequence[str] = ()  # sentences on photographs, published points and kept files
    anchor: CodecSpec | None = None  # reference of BD-rates
    earlier_page: str | None = None  # --page-images of the earlier page, if any
    named_codecs: Sequence[str] = ()  # requested codecs


def write_reports(
    experiment: Experiment,
    *,
    common: bool = False,
    pooled: bool = False,
    out: Path | None = None,
    page: bool = False,
    command: str = "",
) -> Iterator[Report]:
    """Write a report for each requested dataset; yield it after it has been written.

    page: the caller will add a page. command: command that reproduces the report. Raises
    `UsageError` before anything is written if the results do not allow an option, and `StoreError`
    for an unwritable folder.
    """
    names = metric_names(experiment.metrics)
    metrics = [*map(Metric.named, names)]
    datasets = datasets_with_results(experiment.results, experiment.dataset)
    dataset_names = requested_datasets(experiment.results, experiment.dataset)
    reports = []
    for name in datasets:
        folder = report_folder(experiment.results, name)
        if out is not None:
            folder = out / name.replace(":", "-") if len(dataset_names) > 1 else out
        reports.append(ReportFiles(folder, owned_by_bench=out is None))
    needs_streams = (page or files.page_images is not None for files in reports)
    all_results = [
        read_experiment(
            replace(experiment, dataset=name),
            names,
            True,
            common=common,
            pooled=pooled,
            with_streams=include_streams,
        )
        for name, include_streams in zip(dataset_names, needs_streams, strict=True)
    ]
    require_anchor(dataset_results.anchor for dataset_results in all_results)
    editions = {
        edition for dataset_results in all_results for edition in dataset_results.summary.editions
    }
    if experiment.published:
        from benchmark.published import curves
        from benchmark.published.registry import chosen_points, note_missing_values

        published = chosen_points(experiment.results, experiment.published)
        editions |= {curves.published_edition(point.system, point.variant) for point in published}
    look().check(editions)
    for report_files in reports:
        report_files.require_writable(CORE_FILES | {PAGE} if page else CORE_FILES)
    for stored_results, report_files in zip(all_results, reports, strict=True):
        dataset_results = stored_results._replace(folder=report_files.folder)
        overlays, published_notes = dict[str, "Overlay"](), list[str]()
        if experiment.published:
            arguments = published, dataset_results.summary, metrics, dataset_results.name
            try:
                overlays = curves.overlays(*arguments, experiment.mix_protocols)
                published_notes = curves.describe_excluded(
                    published, overlays, dataset_results.name
                )
                if experiment.metrics != "all":
                    published_notes += note_missing_values(
                        published, metrics, dataset_results.name, experiment.results
                    )
            except curves.MeansNotComparable as error:
                published_notes = [f"no published curve is drawn: {error}"]
        yield _write_report(
            experiment, dataset_results, metrics, overlays, published_notes, report_files, command
        )


def _write_report(
    experiment: Experiment,
    dataset_results: DatasetResults,
    metrics: Sequence[Metric],
    overlays: Mapping[str, "Overlay"],
    published_notes: Sequence[str],
    report_files: ReportFiles,
    command: str,
) -> Report:
    summary, folder = dataset_results.summary, dataset_results.folder
    anchor = summary.edition_of(dataset_results.anchor.spec)
    editions = (
        _editions_with_shown_metrics(summary, anchor) if experiment.metrics == "all" else None
    )
    measured_metrics = [
        metric for metric in metrics if summary.count_values(metric.column, editions)
    ]
    relevant_metrics = [
        m
        for m in metrics
        if m in measured_metrics or editions is None or summary.was_attempted(m.column, editions)
    ]
    partial_metrics = _partial_metrics(summary, measured_metrics, editions or ())
    measured_metrics = [metric for metric in measured_metrics if metric not in partial_metrics]
    few_image_metrics = (
        []
        if experiment.metrics != "all" or experiment.allow_few
        else metrics_over_few(summary, measured_metrics)
    )
    measured_metrics = [metric for metric in measured_metrics if metric not in few_image_metrics]
    scored_metrics = [
        metric for metric in metrics if metric in measured_metrics or metric in partial_metrics
    ]
    panels = {
        metric.column: [
            *measured_curves(summary, metric),
            *(overlays[metric.column].compatible if metric.column in overlays else ()),
        ]
        for metric in measured_metrics
    }
    codecs, rule = experiment.named_codecs, experiment.rule
    renamed_panels = dict(zip(panels, rename_curves([*panels.values()]), strict=True))
    cut_panels = {
        column: cut for column, panel in renamed_panels.items() if (cut := cut_curves(panel, rule))
    }
    choice = pick_curves([*cut_panels.values()], rule, dataset_results.anchor.spec, codecs)
    undrawn_notes = note_undrawn(choice, experiment)
    comparisons, deltas = compare_all(summary, measured_metrics, dataset_results.anchor, rule)
    drawings = _draw_figures(dataset_results, cut_panels, choice, comparisons)
    named_metrics = () if experiment.metrics == "all" else metrics
    ranking = rank_by_bd_rate(summary, metrics, anchor, rule, comparisons, named_metrics)
    ranking = ranking._replace(anchor_reason=dataset_results.anchor.why)
    reader_problems = problems(summary, dataset_results.runs)
    names = dict(zip(metrics, metric_names(experiment.metrics), strict=True))
    absences = [
        *reader_problems,
        *value_absences(summary, [m for m in relevant_metrics if m not in partial_metrics]),
    ]
    absences += _list_partial(summary, {names[metric]: metric for metric in partial_metrics})
    sources = source_facts(dataset_results.compared_rows)
    record = details_record(
        dataset_results,
        command,
        dataset_results.anchor.label,
        drawings,
        absences,
        published_notes,
        sources,
    )
    means = means_table(summary, measured_metrics)
    shown_curves = chain(*choice.select([*cut_panels.values()]))
    published = sources_table(curve for curve in shown_curves if not curve.measured)
    tables = {
        "means.md": markdown(means),
        "means.csv": csv_text(records_with_intervals(summary, scored_metrics)),
    }
    if not isinstance(deltas, str):
        tables["bd_rate.md"] = markdown(deltas)
        tables["bd_rate.csv"] = csv_text([*comparisons.values()])
    source_notes, title = source_sentences(sources), profile(dataset_results.name).title
    origin_notes = [
        *dataset_results.unfinished,
        *_note_bundled(experiment, dataset_results, ranking.metrics),
    ]
    origin_notes += note_cut_curves(renamed_panels.values(), cut_panels.values(), rule)
    if experiment.metrics != "all":
        noted_columns = {metric.column for metric, _ in ranking.absent}
        origin_notes += absent_sentences(
            [n for m, n in names.items() if m.column not in noted_columns], summary
        )
    remarks = [*origin_notes, *source_notes]
    if reader_problems:
        problem_names = listed([problem.what for problem in reader_problems])
        remarks.append(f"Left out: {problem_names}; details.md has the reasons.")
    files: dict[str, str | bytes] = {
        "report.md": report_text(
            title, summary, ranking, drawings, remarks, [*tables], command, codecs
        ),
        "details.json": json.dumps(record, indent=1) + "\n",
        "details.md": details_text(
            record,
            absences,
            draws_table(draw_spreads(summary, measured_metrics), measured_metrics),
            means_table(summary, few_image_metrics),
            published,
        ),
        **tables,
    }
    for name, drawing in drawings.items():
        files |= figure_files(drawing.figure, name, "png")  # report.md shows it
    earlier_page = report_files.page_images
    kept_files = report_files.replace(files, command)
    changed_notes = (
        f"kept: {folder / name} was changed after a report wrote it" for name in kept_files
    )
    return Report(
        dataset_results, metrics, measured_metrics,
        page_sections(summary, ranking, deltas, means, absences), deltas, overlays, ranking,
        [folder / "report.md"], len(drawings),
        [*reader_problems, *gaps(summary, ranking.metrics)], absences,
        [*origin_notes, *source_notes, *published_notes, *undrawn_notes, *changed_notes],
        dataset_results.anchor.spec, earlier_page, codecs,
    )  # fmt: skip


def _note_bundled(
    experiment: Experiment, dataset_results: DatasetResults, metrics: Sequence[Metric]
) -> list[str]:
    if dataset_results.only_bundled:
        return [ONLY_BUNDLED]
    store = Store(experiment.results / dataset_results.name.partition(":")[0])
    rows = store.measured_values(VARIANT, [metric.column for metric in metrics])
    measured_rows = dataset_results.table.filter(~BUNDLED)
    variants = measured_rows.select(pl.col(VARIANT).cast(pl.String)).unique()
    measured_values = rows.join(variants, on=VARIANT, how="semi", nulls_equal=True)
    return note_bundled_values(measured_values, metrics)


def _editions_with_shown_metrics(summary: Summary, anchor: Edition | None) -> set[Edition]:
    """Return the codecs whose metrics a report shows: those measured here, except the anchor.

    A metric that only bundled codecs have cannot compare them with codecs measured here. If only
    the anchor was measured here, return all codecs except the anchor, or else the anchor.
    """
    candidates = {edition for edition in summary.editions if edition != anchor}
    return (
        {edition for edition in candidates if not edition.bundled}
        or candidates
        or {*summary.editions}
    )


def _partial_metrics(
    summary: Summary, metrics: Sequence[Metric], editions: Collection[Edition]
) -> list[Metric]:
    measured_here = [edition for edition in editions if not edition.bundled]
    scored_editions = [
        e for e in measured_here if any(summary.count_values(m.column, [e]) for m in metrics)
    ]
    partial_metrics = [
        m for m in metrics if not all(summary.count_values(m.column, [e]) for e in scored_editions)
    ]
    return partial_metrics if len(partial_metrics) < len(metrics) else []


def _list_partial(summary: Summary, partial_metrics: Mapping[str, Metric]) -> list[Absent]:
    if not partial_metrics:
        return []
    labels = listed([metric.label for metric in partial_metrics.values()])
    reason = "only some of the codecs measured here have values"
    return [
        Absent(labels, reason, f"{summary.rescore_command} --metrics {','.join(partial_metrics)}")
    ]


def compare_all(
    summary: Summary,
    metrics: Sequence[Metric],
    anchor: Anchor,
    rule: Rule,
) -> tuple[Comparisons, Table | str]:
    """Return BD-rates, and their table or the reason why there are none."""
    anchor_edition, label = summary.edition_of(anchor.spec), anchor.label
    if anchor_edition is None:
        labels = summary.labels
        alternatives = ", ".join(labels[edition] for edition in summary.editions)
        return (
            {},
            f"No BD-rates: the anchor {label} has no rows; choose --anchor from {alternatives}.",
        )
    if len(summary.editions) == 1:
        return {}, f"No BD-rates: the anchor {label} is the only codec."
    comparisons = compare(summary, metrics, anchor_edition, rule)
    return comparisons, bd_table([*comparisons.values()], metrics, label, rule)


def _draw_figures(
    dataset_results: DatasetResults,
    panels: Mapping[str, Panel],
    choice: Choice,
    comparisons: Comparisons,
) -> dict[str, DrawnFigure]:
    summary, name = dataset_results.summary, dataset_results.name
    plottable_panels = {column: panel for column, panel in panels.items() if not few_images(panel)}
    published = [curve.edition for curve in chain(*panels.values()) if not curve.measured]
    styles_by_variant = styles([*summary.editions, *published])
    anchor = dataset_results.anchor.spec
    counts = {column: sum(c.measured for c in panel) for column, panel in plottable_panels.items()}
    overview_names = overview_columns(counts)
    figures = {"curves": overview_names} if len(overview_names) > 1 else {}
    drawings: dict[str, DrawnFigure | None] = {}
    for file, columns in (figures | {column: [column] for column in plottable_panels}).items():
        file_panels = [(profile(name).title, [plottable_panels[column] for column in columns])]
        drawings[file] = draw_rate_curves(file_panels, styles_by_variant, choice, anchor=anchor)
    for panel in choice.select([*plottable_panels.values()][:1]) if summary.machine else ():
        from benchmark.show.figures.cost_figure import cost_points, draw_costs

        metric, anchor_curve = panel[0].metric, variant_curve(panel, anchor)
        comparisons_with_anchor = {**comparisons}
        if anchor_edition := summary.edition_of(anchor):
            comparisons_with_anchor[anchor_edition, metric.column] = anchor_comparison(
                metric, choice.rule
            )
        points = cost_points(panel, comparisons_with_anchor, summary, ["seconds"])
        timed_points = [point for point in points if point.measured]
        if anchor_curve and timed_points[1:]:
            texts = profile(name).title, metric_text([metric]), anchor_curve.name
            drawings["timing"] = draw_costs(timed_points, styles_by_variant, *texts, choice.rule)
    return {file: drawing for file, drawing in drawings.items() if drawing is not None}
