"""The outcome of a run on the terminal: a ranking, then what is absent, then where the rows are."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from benchmark.commands.output import print_table
from benchmark.system.text import counted, visible

if TYPE_CHECKING:
    from benchmark.analysis.ranking import Ranking
    from benchmark.analysis.summarise import Summary
    from benchmark.datasets.dataset import Refused
    from benchmark.measure.outcome import Failure, Outcome
    from benchmark.metrics.measure import Measure
    from benchmark.plan.select import Skipped

SHOWN_LINES = 5  # on what failed, was refused or skipped; --verbose shows all


def finish(
    outcome: "Outcome", as_json: bool, table: bool | None, allow_few: bool, details: bool = False
) -> None:
    """Print the outcome and leave with its exit code; other arguments as in `print_outcome`."""
    if as_json:
        print(json.dumps(_for_machines(outcome, allow_few), indent=1))
    else:
        print_outcome(outcome, table, allow_few, details)
    raise typer.Exit(outcome.exit_code)


def print_outcome(
    outcome: "Outcome", table: bool | None = None, allow_few: bool = False, details: bool = False
) -> None:
    """Print the ranking, what failed, was refused or skipped, and where the rows are.

    table: also print the means of every point; False: neither. details: every line and reason.
    """
    from benchmark.analysis.interval import draw_spreads
    from benchmark.analysis.sources import source_facts
    from benchmark.figures.table import draws_table
    from benchmark.metrics.measure import Measure
    from benchmark.report.left_out import source_sentences

    dataset, store = outcome.matrix.sources.dataset, outcome.matrix.store
    if outcome.rows.num_rows and table is not False:
        measures = [Measure.named(name) for name in outcome.metrics]
        summary, ranking = _summarised(outcome, measures, allow_few)
        print_ranking(ranking, summary, measures, table)
        if spreads := draw_spreads(summary, measures):
            print_table(draws_table(spreads))
    print_lines(source_sentences(source_facts(outcome.rows)), details)
    lines = problem_lines(outcome.failures, outcome.refused, outcome.skipped, details)
    lines += unread_lines(dataset.unread, details)
    lines += [
        f"recorded {contender.spec.text}: streams of {contender.info.version} from "
        f"{contender.pack.path}"
        for contender in outcome.matrix.selection.contenders
        if contender.pack is not None
    ]
    lines += without_values(outcome, details)
    print_lines(lines, details)
    print(
        f"{counted(outcome.measured, 'cell')} measured, {len(outcome.failures)} failed, "
        f"{len(outcome.cells) - outcome.measured} were finished before; rows in {store.folder}"
    )
    if outcome.rows.num_rows and table is not False:
        named = f" --results {store.folder.parent}" * (str(store.folder.parent) != "results")
        print(f"figures and tables: bench report --dataset {dataset.name}{named}")


def print_points(summary: "Summary", measures: "Sequence[Measure]") -> None:
    """Print a table of the points, without less usual and unmeasured metrics."""
    from benchmark.figures.table import means_table
    from benchmark.report.report import overview_columns

    counts = {measure.column: summary.values_of(measure.column) for measure in measures}
    usual = overview_columns(counts)
    shown = [
        measure
        for measure in measures
        if measure.column in usual or (measure.of_sets and counts[measure.column])
    ]
    print_table(means_table(summary, shown))


def print_ranking(
    ranking: "Ranking", summary: "Summary", measures: "Sequence[Measure]", table: bool | None
) -> None:
    """Print a line for each codec, best first; where none can be ranked, one for each setting.

    table: also print the lines of settings; False: nothing at all.
    """
    from benchmark.analysis.rate_distortion import LEAST_POINTS
    from benchmark.figures.ranking_table import heading, ranking_table

    if table is False:
        return
    if table or not ranking.ranked:
        print_points(summary, measures)
    if ranking.ranked:
        print(heading(ranking))
        print_table(ranking_table(ranking))
    elif len(ranking.ranks) > 1:
        print(f"no ranking: BD-rates need {LEAST_POINTS} settings of a codec and of an anchor")


def print_lines(lines: Sequence[str], details: bool) -> None:
    """Print the first SHOWN_LINES of some lines, or all of them with `details`."""
    shown = lines if details else lines[:SHOWN_LINES]
    for line in shown:
        print(visible(line))
    if len(lines) > len(shown):
        print(f"and {len(lines) - len(shown)} more: -v shows them")


def problem_lines(
    failures: "Iterable[Failure]",
    refused: "Iterable[Refused]",
    skipped: "Iterable[Skipped]",
    details: bool = False,
) -> list[str]:
    """Return lines on failed cells, refused images and skipped codecs, each with its reason.

    Images that are refused for one reason share a line. details: each codec has one of its own,
    with its whole reason.
    """
    lines = [f"failed   {failure.cell}: {failure.stage}: {failure.reason}" for failure in failures]
    alike: dict[str, list[str]] = {}
    for one in refused:
        alike.setdefault(one.why, []).append(one.file.name)
    for why, names in alike.items():
        first = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more:"
        lines.append(f"refused  {', '.join(names) if details else first} {why}")
    return lines + [f"skipped  {line}" for line in skipped_codecs(skipped, details)]


def unread_lines(names: Sequence[str], details: bool = False) -> list[str]:
    """Return the line on the files of a folder that are no pictures by their names, if any."""
    from benchmark.datasets.folder import unread_kinds

    listed = ", ".join(names) if details else names[0] if names else ""
    more = ", ..." * (len(names) > 1 and not details)
    return [f"unread   {', '.join(unread_kinds(names))} ({listed}{more})"] if names else []


def _summarised(
    outcome: "Outcome", measures: "Sequence[Measure]", allow_few: bool
) -> "tuple[Summary, Ranking]":
    """Summarise the rows that were asked for, and rank them with stored rows of an anchor."""
    from benchmark.analysis.ranking import default_anchor, rank, with_anchor
    from benchmark.analysis.reduce import summarise_with_distributions
    from benchmark.registry import METRICS

    names = tuple(dict.fromkeys((*METRICS, *outcome.metrics)))
    rows, folder = outcome.rows, outcome.matrix.store.folder
    anchored = with_anchor(rows, outcome.matrix.table)
    summary = summarise_with_distributions(rows, folder, names, allow_few=allow_few)
    ranked = summary
    if anchored.num_rows > rows.num_rows:
        ranked = summarise_with_distributions(anchored, folder, names, allow_few=allow_few)
    return summary, rank(ranked, measures, default_anchor([ranked], measures))


def _for_machines(outcome: "Outcome", allow_few: bool) -> dict[str, object]:
    from benchmark.analysis.interval import draw_spreads
    from benchmark.metrics.measure import Measure

    matrix = outcome.matrix
    measures = [Measure.named(name) for name in outcome.metrics]
    summary = ranking = None
    if outcome.rows.num_rows:
        summary, ranking = _summarised(outcome, measures, allow_few)
    spreads = draw_spreads(summary, measures) if summary else []
    return {
        "dataset": matrix.sources.dataset.name,
        "results": str(matrix.store.folder),
        "images": len(matrix.sources.images),
        "cells": len(outcome.cells),
        "measured": outcome.measured,
        "rescored": outcome.rescored,
        "failed": [failure._asdict() for failure in outcome.failures],
        "refused": {one.file.name: one.reason for one in outcome.refused},
        "unread": list(matrix.sources.dataset.unread),
        "skipped": matrix.selection.reasons,
        "recorded": {
            contender.spec.text: str(contender.pack.path)
            for contender in matrix.selection.contenders
            if contender.pack is not None
        },
        "lacking": dict(outcome.lacking),
        "without_value": [one._asdict() for one in outcome.without_value()],
        "ranking": ranking.for_machines() if ranking else [],
        "summary": summary.for_machines() if summary else [],
        "draws": [
            {**spread._asdict(), "setting": str(spread.setting), "measure": spread.measure.column}
            for spread in spreads
        ],
    }


def skipped_codecs(skipped: "Iterable[Skipped]", details: bool = False) -> list[str]:
    """Return lines that name every skipped codec and what it lacks.

    Codecs that lack weights, a package or the same other thing share a line; with `details`, each
    has one of its own with its whole reason.
    """
    groups: dict[object, list[Skipped]] = {}
    for one in dict.fromkeys(skipped):
        kind, subject, _ = one.reason
        shared = {"weights": kind, "package": (kind, subject)}.get(kind, one.why)
        groups.setdefault(one if details else shared, []).append(one)
    return [_line(group) for group in groups.values()]


def _line(group: "Sequence[Skipped]") -> str:
    from benchmark.system.weights import SEARCHED

    first = group[0]
    names = ", ".join(dict.fromkeys(one.codec for one in group))
    if len(group) == 1:
        return f"{names}: {first.why}"
    if first.reason.kind == "weights":
        commands = dict.fromkeys(f"`{one.reason.remedy}`" for one in group if one.reason.remedy)
        return f"{names}: no weight files in {SEARCHED}: run {', '.join(commands)}"
    if first.reason.kind == "package":
        return f"{names}: need the Python package {first.reason.subject}"
    return f"{names}: {first.why}"


def without_values(outcome: "Outcome", details: bool = False) -> list[str]:
    """Return a line for each kind of reason why rows of a run have no value of a metric.

    Metrics that cannot be computed here are left out: a run begins with a line on them. details: a
    line for each column and reason, as the rows have it.
    """
    from benchmark.metrics.availability import by_kind
    from benchmark.registry import metric_class, scored_by_image

    absent = outcome.without_value()
    if details:
        return [f"no value {one.column} of {one.cells} cells: {one.reason}" for one in absent]
    labels: dict[str, list[str]] = {}
    for name in outcome.metrics:
        (of_image,) = scored_by_image([name])
        labels.setdefault(metric_class(of_image).column, []).append(metric_class(name).label)
    of_count: dict[int, list[tuple[str, str]]] = {}
    named = {metric_class(name).column for name in scored_by_image(outcome.lacking)}
    for one in (one for one in absent if one.column not in named):
        of_count.setdefault(one.cells, []).append((", ".join(labels[one.column]), one.reason))
    return [
        f"no value in {count} cells: {kind}"
        for count, reasons in of_count.items()
        for kind in by_kind(reasons, then="`bench rescore`")
    ]
