"""Outcome of a run on the terminal: ranking, missing results, and the folder of the rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from benchmark.answer import Absent, Answer
from benchmark.codec import CodecInfo
from benchmark.commands.output import print_lines, print_table, say, show_progress
from benchmark.commands.stated import file_matching_lines, stated_lines, stated_values
from benchmark.compare.rule import Rule
from benchmark.datasets.dataset import unread_kinds
from benchmark.measure.estimate import WorkerPlan
from benchmark.measure.loop import run
from benchmark.measure.record import Failure, Outcome, TargetResult
from benchmark.measure.request import Request
from benchmark.measure.select import Matrix
from benchmark.metrics.metric import (
    Metric,
    absence,
    absence_lines,
    key_by_label,
    overview_columns,
    stand_ins,
)
from benchmark.registry import METRICS, USUAL_METRICS, metric_class, per_image_names
from benchmark.rows.edition import short_version
from benchmark.rows.packs.pack import Pack
from benchmark.rows.schema import metric_names
from benchmark.system.text import counted, group_by_key, listed

MAX_METRICS_SHOWN_IN_FULL = 3

if TYPE_CHECKING:  # a run without a table does not import these
    from benchmark.compare.bd import Ranking
    from benchmark.rows.summary import Summary


def run_with_progress(
    request: Request,
    *,
    matrix: Matrix | None = None,
    details: bool = False,
) -> Outcome:
    """Run a request; print plan, progress and warnings on standard error."""

    def announce(
        matrix: Matrix, missing_metrics: Mapping[str, str], workers: WorkerPlan | None
    ) -> None:
        counts = (len(matrix.sources.images), "image"), (len(matrix.selection.contenders), "codec")
        plan_text = ", ".join(counted(*count) for count in (*counts, (len(matrix.cells), "cell")))
        say([f"{matrix.sources.dataset.name}: {plan_text}, {len(matrix.to_do)} to do"])
        say(file_matching_lines(matrix))
        say(metrics_not_measured(missing_metrics, details))
        if workers is not None and workers.remark and matrix.to_do:
            say([f"bench: {workers.remark}"])

    if request.target:
        from benchmark.compare.target import run_to_target

        outcome = run_to_target(request, progress=show_progress, announce=announce)
    else:
        outcome = run(request, matrix=matrix, progress=show_progress, announce=announce)
    say(f"bench: {remark}" for remark in outcome.remarks)
    return outcome


def metrics_not_measured(reasons_by_metric: Mapping[str, str], details: bool = False) -> list[str]:
    """Return a line for each missing requirement of metrics; `details`: for each metric."""
    reasons = key_by_label(reasons_by_metric).items()
    lines = [f"{label}: {reason}" for label, reason in reasons]
    texts = lines if details else absence_lines(reasons)
    substitute_notes = [text] if (text := stand_ins(reasons_by_metric)) else []
    return [*(f"not measured: {text}" for text in texts), *substitute_notes]


def print_outcome(
    outcome: Outcome,
    rule: Rule,
    table: bool | None = None,
    allow_few: bool = False,
    details: bool = False,
) -> None:
    """Print ranking (unless `table` is False), absences and folders; with `table` all points."""
    dataset, store = outcome.matrix.sources.dataset, outcome.matrix.store
    from benchmark.rows.stored import WIDE_SPREAD, source_facts
    from benchmark.show.absences import absent_lines

    print_lines(absent_lines(absences((), outcome.refused, (), dataset.unread_files)), details)
    prints_ranking, shown_codecs = outcome.rows.height and table is not False, set[str]()
    if prints_ranking:
        from benchmark.compare.interval import draw_spreads
        from benchmark.show.report.details import draws_table
        from benchmark.show.sections import note_bundled_values

        metrics = [*map(Metric.named, outcome.metrics)]
        summary, all_summary, ranking = _summarise_run(outcome, metrics, allow_few, rule)
        if outcome.target:
            shown_codecs = _print_settings(_settings_at_target(outcome, summary, ranking, metrics))
            if table:
                print_points(summary, metrics)
        else:
            print_ranking(ranking, all_summary, metrics, table, outcome.named, summary)
        missing_metrics = [*map(Metric.named, outcome.lacking)]
        if bundled_metrics := [m for m in ranking.metrics if m in missing_metrics]:
            values = store.measured_values(["cell"], [metric.column for metric in bundled_metrics])
            values = values.filter(pl.col("cell").is_in([cell.key for cell in outcome.cells]))
            print_lines(note_bundled_values(values, bundled_metrics), details=True)
        if spreads := draw_spreads(summary, metrics):
            print_table(draws_table(spreads, metrics))
    facts = source_facts(outcome.rows)
    if facts and (facts["lossy"] or facts["spread"] >= WIDE_SPREAD):
        from benchmark.show.report.details import source_sentences

        print_lines(source_sentences(facts), details)
    images = outcome.matrix.sources.images
    images_by_colours = group_by_key(
        (image.colours, image.file.name) for image in images if image.colours
    )
    for colours, names in images_by_colours.items():
        images_text = counted(len(names), "image")
        affected_images = f"{colours} of {images_text} ({listed(names)})"
        print(f"colours  {affected_images}: pixel values are treated as sRGB")
    missed_targets = [
        result for result in outcome.reached if result.why or result.codec not in shown_codecs
    ]
    print_lines([*map(_target_line, missed_targets)], details=True)
    print_lines(stated_lines(stated_values(outcome)), details)
    explained_columns = {metric_class(name).column for name in per_image_names(outcome.lacking)}
    missing_values = [
        record for record in outcome.null_counts() if record["column"] not in explained_columns
    ]
    all_absences = absences(outcome.failures, (), outcome.skipped, (), missing_values)
    pack_lines = [
        f"bundled {spec}: streams of {short_version(info.version)} from {pack.path}"
        for spec, info, pack in _pack_codecs(outcome)
    ]
    print_lines([*absent_lines(all_absences), *pack_lines], details)
    rows_text = f"rows in {store.folder}" if store.folder.is_dir() else "no rows"
    runs = outcome.rows["run"].value_counts().rows()
    if rows_without_streams := sum(
        rows for run, rows in runs if not store.keeps_streams(run or "")
    ):
        rows_text += f", {rows_without_streams} of them without streams (--no-keep)"
    print(
        f"{counted(outcome.measured, 'cell')} measured, {len(outcome.failures)} failed, "
        f"{len(outcome.cells) - outcome.measured} finished earlier; {rows_text}"
    )
    if prints_ranking:
        chosen_options = {"bundled": outcome.bundled, "anchor": outcome.anchor}
        print(f"figures and tables: {_command_on_rows('report', outcome, **chosen_options)}")


def _target_line(result: TargetResult) -> str:
    setting, value, reason = result[1:]
    if setting is None or value is None:
        return f"target   {result.codec}: not measured: {reason}"
    reason_text = f", the nearest value: {reason}" if reason else ""
    return f"target   {result.codec}: {setting} gives {value:.4g}{reason_text}"


def _settings_at_target(
    outcome: Outcome, summary: "Summary", ranking: "Ranking", metrics: Sequence[Metric]
) -> Answer:
    from benchmark.compare.rank import parse_target
    from benchmark.show.ranks import nearest_settings

    anchor = ranking.anchor
    is_conventional = anchor is not None and anchor.facts.kind == "standard"
    reference = anchor if outcome.anchor or is_conventional else None
    reference = reference if reference in summary.editions else None
    return nearest_settings(summary, parse_target(outcome.target), metrics, reference)


def _print_settings(answer: Answer) -> set[str]:
    """Print the settings found for a target; return their codecs, which have finite values."""
    from benchmark.show.table import Table

    ranked_records = [record for record in answer.records if record["rank"]]
    if ranked_records:
        print_table(Table.create(answer.columns, ranked_records).drop_empty_columns())
        print(answer.summary)
    return {record["codec"] for record in ranked_records}


def print_points(summary: "Summary", metrics: Sequence[Metric]) -> None:
    """Print a table of points; of many metrics, omit unusual and unmeasured ones."""
    from benchmark.show.means_table import means_table

    counts = {metric.column: summary.count_values(metric.column) for metric in metrics}
    usual_columns = overview_columns(counts)
    shows_unusual = not usual_columns or len(metrics) <= MAX_METRICS_SHOWN_IN_FULL
    shown_metrics = [
        metric
        for metric in metrics
        if metric.column in usual_columns
        or (counts[metric.column] and (shows_unusual or metric.is_distribution))
    ]
    print_table(means_table(summary, shown_metrics))


def print_ranking(
    ranking: "Ranking",
    summary: "Summary",
    metrics: Sequence[Metric],
    table: bool | None,
    named_codecs: Sequence[str] = (),
    points: "Summary | None" = None,
) -> None:
    """Print codecs, best first; with `table`, or without a ranking, also their settings.

    table: False prints nothing.
    """
    if table is False:
        return
    from benchmark.compare.caveats import caveats_measured_here
    from benchmark.show.absences import hidden_edition_lines
    from benchmark.show.bd_rates import headline, ranking_heading, ranking_table
    from benchmark.show.figures.texts import figure_names

    if table or not ranking.ranked:
        print_points(points or summary, metrics)
    names = figure_names(summary)
    if len(ranking.records) > 1:
        print(headline(ranking, summary.images, names, named_codecs))
    print_lines(hidden_edition_lines(summary), details=True)
    if ranking.ranked:
        print(ranking_heading(ranking, names))
        print_table(ranking_table(ranking, marks=True))
        print_lines(caveats_measured_here(summary), details=True)


def absences(
    failures: Iterable[Failure] = (),
    refused_images: Iterable[Absent] = (),
    skipped_codecs: Iterable[Absent] = (),
    unread_files: Iterable[str] = (),
    missing_values: Iterable[Mapping[str, Any]] = (),
) -> list[Absent]:
    """Return failed cells, refused images, skipped codecs, unread files and missing values."""
    absence_list = [
        Absent(entry.cell, f"failed: {entry.stage}: {entry.reason}") for entry in failures
    ]
    for state, entries in (("refused", refused_images), ("skipped", skipped_codecs)):
        absence_list += [entry._replace(why=f"{state}: {entry.why}") for entry in entries]
    unread_reason = "their names lack the ending of an image file"
    absence_list += [Absent(kind, unread_reason) for kind in unread_kinds(unread_files)]
    for values in missing_values:
        message, command = absence(values["reason"])
        cells = counted(values["cells"], "cell")
        absence_list.append(
            Absent(f"{values['column']} of {cells}", f"no value: {message}", command.strip("`"))
        )
    return absence_list


def _pack_codecs(outcome: Outcome) -> list[tuple[str, CodecInfo, Pack]]:
    contenders = outcome.matrix.selection.contenders
    return [
        (contender.spec.text, contender.info, contender.pack)
        for contender in contenders
        if contender.pack
    ]


def _summarise_run(
    outcome: Outcome, metrics: Sequence[Metric], allow_few: bool, rule: Rule
) -> "tuple[Summary, Summary, Ranking]":
    """Summarise a run's rows, alone and with bundled and anchor rows; rank the latter."""
    from benchmark.compare.anchor import add_anchor
    from benchmark.compare.bd import rank_by_bd_rate
    from benchmark.rows.reduce import summarise_with_distributions
    from benchmark.rows.summary import average_seeds
    from benchmark.rows.variants import add_bundled, rows_of_other_variants, specs_of

    names = tuple(dict.fromkeys((*METRICS, *outcome.metrics)))
    folder = outcome.matrix.store.folder
    other_rows = rows_of_other_variants(outcome.rows, outcome.matrix.table)
    rows, other_rows = add_bundled(outcome.rows, other_rows, outcome.bundled)
    rows, anchor = add_anchor(rows, other_rows, outcome.anchor, True, outcome.metrics)
    summary = summarise_with_distributions(rows, folder, names, allow_few=allow_few)
    summary = average_seeds(summary, anchor.spec)
    default_metric_lists = metric_names(USUAL_METRICS), metric_names(["all"])
    requested_metrics = () if outcome.metrics in default_metric_lists else metrics
    reference = summary.edition_of(anchor.spec)
    ranking = rank_by_bd_rate(
        summary, metrics, reference, rule, requested_metrics=requested_metrics
    )
    measured_specs = specs_of(outcome.rows)
    points = tuple(point for point in summary.points if point.edition.spec in measured_specs)
    ranking = ranking._replace(anchor_reason=anchor.why)
    return replace(summary, points=points), summary, ranking


def _command_on_rows(verb: str, outcome: Outcome, **options: str) -> str:
    from benchmark.rows.remedies import command_on_rows

    results, dataset = outcome.matrix.store.folder.parent, outcome.matrix.sources.dataset.name
    return command_on_rows(verb, results, dataset, **options)


def outcome_record(outcome: Outcome, allow_few: bool, rule: Rule) -> dict[str, object]:
    """Return an outcome as JSON values, with the ranking and the means."""
    from benchmark.compare.interval import draw_spreads

    matrix = outcome.matrix
    metrics = [*map(Metric.named, outcome.metrics)]
    summary = ranking = at_target = None
    if outcome.rows.height:
        summary, _, ranking = _summarise_run(outcome, metrics, allow_few, rule)
        if outcome.target:
            at_target = _settings_at_target(outcome, summary, ranking, metrics).records
    return {
        "dataset": matrix.sources.dataset.name,
        "results": str(matrix.store.folder),
        "images": len(matrix.sources.images),
        "cells": len(outcome.cells),
        "measured": outcome.measured,
        "rescored": outcome.rescored,
        "failed": [failure._asdict() for failure in outcome.failures],
        "refused": {item.what: f"{item.what} {item.why}" for item in outcome.refused},
        "unread": list(matrix.sources.dataset.unread_files),
        "skipped": {item.what: item.why for item in outcome.skipped},
        "recorded": {spec: str(pack.path) for spec, _, pack in _pack_codecs(outcome)},
        "lacking": dict(outcome.lacking),
        "stated": stated_values(outcome),
        "reached": [
            {**result._asdict(), "setting": result.setting and str(result.setting)}
            for result in outcome.reached
        ],
        "at_target": at_target or [],
        "without_value": outcome.null_counts(),
        "ranking": [*ranking.records.values()] if ranking else [],
        "summary": summary.flat_records() if summary else [],
        "draws": draw_spreads(summary, metrics) if summary else [],
    }
