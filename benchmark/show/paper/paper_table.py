"""A paper's table: BD-rates of systems on datasets, and their costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from statistics import fmean, stdev
from typing import Any, NamedTuple

from benchmark.answer import Column
from benchmark.compare.bd import (
    Record,
    anchor_comparison,
    compare_curves,
    interval_fields,
    missing_comparison,
    rate_intervals,
)
from benchmark.compare.caveats import caveat_notes
from benchmark.compare.cost import AT_BPP, kmac, largest_mean, megapixel_seconds
from benchmark.compare.curve import Curve, Panel, variant_curve
from benchmark.compare.experiment import Experiment
from benchmark.compare.interval import Interval
from benchmark.compare.rank import RATE, Budget, Target
from benchmark.compare.rate_quality import MIN_POINTS, bd_rate
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.facts import facts_of
from benchmark.metrics.metric import Metric
from benchmark.published.curves import compatible_protocols
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.schema import metric_names as metric_names_of
from benchmark.rows.summary import Point, excluded_points
from benchmark.show.absences import hidden_edition_lines
from benchmark.show.bd_rates import (
    PERCENT,
    doubt_notes,
    interval_text,
    number_text,
    short_name,
)
from benchmark.show.figures.choice import pick_curves
from benchmark.show.figures.style import look, use_look
from benchmark.show.paper.experiment_curves import METRICS, ExperimentCurves, experiment_curves
from benchmark.show.paper.target_columns import (
    TargetBlock,
    TargetValue,
    block_notes,
    target_block,
    target_text,
    target_text_with_interval,
)
from benchmark.show.sections import (
    images_text,
    listed,
    metric_names,
    other_rules_note,
    points_left_out,
    seeds_sentences,
)
from benchmark.show.table import WIDE_MARK, Table, csv_text, latex, markdown
from benchmark.system.text import counted

INTERVALS_NOTE = f"In brackets: {PERCENT} intervals over images."
KINDS = ("standard", "learned", "own")  # kinds of systems, in the table's order


COSTS = (  # heading, number format, name in the csv
    ("kMAC/px", ",.0f", "kmac_per_pixel"),
    ("Param. (M)", ".3g", "parameters_million"),
    ("Time (s/MP)", lambda s: f"{s:.2g}" if s < 100 else f"{s:.0f}", "seconds_per_megapixel"),
)
SECONDS = COSTS[2][2]
SEEDS, DEVIATION = "bd_rate_seeds", "bd_rate_seeds_standard_deviation_percent"  # csv columns
TIME_NOTE = f"Time to encode and decode a megapixel at the setting nearest to {AT_BPP:g} bpp; {{}}."
TIMED_ALONE, TYPICAL_TIME = "timed alone on {}", "typical for one core, as declared by the codecs"


class SystemRow(NamedTuple):
    """A system of the table."""

    name: str
    curve: Curve
    comparisons: Mapping[str, Record]  # with the anchor, by `_key`
    costs: Mapping[str, float]  # by name in the csv


def draw_table(
    experiment: Experiment,
    datasets: Sequence[str],
    targets: Sequence[Target] = (),
    budget: Budget = "image",
    bd_rates: bool = True,
) -> tuple[Table, dict[str, str], list[str]]:
    """Return the table of the requested systems and metrics, its files, and notes on absences.

    The LaTeX file omits intervals, to save space. If a dataset has no curve of the named anchor,
    `compare.anchor` chooses one. targets: rates and metric values that get columns; columns include
    published values under any rule, with marks. Raises `UsageError` if no system has a BD-rate or a
    value.
    """
    shown_names = metric_names_of(experiment.metrics or METRICS["table"])
    full_experiment, min_settings = experiment, MIN_POINTS
    if targets:
        target_names = (target.name for target in targets if target.name != RATE)
        metrics = ",".join(dict.fromkeys((*shown_names, *target_names)))
        full_experiment = replace(experiment, metrics=metrics, mix_protocols=True)
        min_settings = 1
    results = experiment_curves(full_experiment, datasets, "table", min_settings)
    with use_look(
        every_curve=look().every_curve or bool(experiment.named_codecs or experiment.published)
    ):
        rows, anchors, absent_names, time_note = _system_rows(results, experiment, bd_rates)
    names_by_spec = {row.curve.spec: row.name for row in rows}
    names = {row.curve.edition: row.name for row in rows}
    blocks = [
        target_block(
            result, target, [m for m in result.metrics if m.name in shown_names], budget, names
        )
        for target in targets
        for result in results
    ]
    blocks_with_columns = [(block, columns) for block in blocks if (columns := block.columns())]
    if not anchors and targets and not blocks_with_columns:
        raise UsageError("; ".join(block_notes(blocks)))
    if not anchors and not targets:
        first_anchor = results[0].anchor
        anchor_name = (first_anchor and names_by_spec.get(first_anchor)) or "an anchor"
        other_names = (
            ", ".join(row.name for row in rows if row.name != anchor_name) or "any other system"
        )
        raise UsageError(
            f"no BD-rate of {other_names} against {anchor_name}: change --anchor or --codecs, or "
            "compare at a rate with --at"
        )
    groups, columns = _column_groups(results, rows, blocks_with_columns)
    marks_by_column = [_mark_lowest(column, rows) for column in columns[1:]]
    marks = {
        (row, column): mark
        for column, row_marks in enumerate(marks_by_column, 1)
        for row, mark in row_marks.items()
    }
    kinds = [row.curve.edition.facts.kind for row in rows]
    group_starts = tuple(n for n in range(1, len(rows)) if kinds[n] != kinds[n - 1])
    notes = _notes(results, rows, anchors, time_note, experiment.rule)
    notes = [*dict.fromkeys([*block_notes(blocks), *notes])]

    def interval_form(comparison: Record) -> str:
        return f"{_seeds_text(comparison)} {interval_text(comparison) or ''}".rstrip()

    wide_columns = [c._replace(form=interval_form) if c.form == _delta_text else c for c in columns]
    wide_columns = [
        c._replace(form=target_text_with_interval) if c.form == target_text else c
        for c in wide_columns
    ]
    columns = [c._replace(form=_seeds_text) if c.form == _delta_text else c for c in columns]
    hidden_notes = [
        text
        for result in results
        if result.stored
        for text in hidden_edition_lines(result.stored.summary)
    ]
    absence_notes = [f"not in the table: {', '.join(absent_names)}"] if absent_names else []
    if bd_rates:
        absence_notes += [
            f"no BD-rate on {result.title}" for result in results if result.title not in anchors
        ]
    for result in results:
        reasons = points_left_out(result.summary, result.metrics)
        absence_notes += [f"{result.title}: {reason}" for reason in reasons]
    absence_notes += [text for result in results for text in result.missing_notes]
    headers = tuple(column.name.rpartition(", ")[2] for column in columns)
    table = Table.create(columns, rows, notes)
    files = {
        "table.tex": latex(table, marks, groups, headers, group_starts),
        "table.md": markdown(Table.create(wide_columns, rows, [*notes, INTERVALS_NOTE]), marks),
        "table.csv": csv_text(_records(results, rows, blocks, bd_rates)),
    }
    return table, files, [*absence_notes, *hidden_notes]


def _system_rows(
    results: Sequence[ExperimentCurves], experiment: Experiment, bd_rates: bool
) -> tuple[list[SystemRow], dict[str, str], list[str], str]:
    """Return systems, anchors by dataset title, names of absent systems, and a note on times."""
    curves: dict[str, Curve] = {}
    comparisons: dict[str, dict[str, Record]] = {}
    anchors: dict[str, str] = {}
    absent_names: dict[str, None] = {}
    for result in results:
        choice = pick_curves(result.panels, experiment.rule, result.anchor, experiment.named_codecs)
        absent_names |= dict.fromkeys(choice.left_out)
        for panel in choice.select(result.panels):
            metric, anchor_curve = panel[0].metric, variant_curve(panel, result.anchor)
            for curve in panel:
                curves.setdefault(curve.name, curve)
                comparisons.setdefault(curve.name, {})
            if anchor_curve is None or not bd_rates:
                continue
            comparable_curves = (
                panel if experiment.mix_protocols else _comparable_curves(panel, result)
            )
            records = _compare_panel(result, comparable_curves, anchor_curve, experiment.rule)
            rates = {name: record["bd_rate_percent"] for name, record in records.items()}
            if any(rate is not None for name, rate in rates.items() if name != anchor_curve.name):
                anchors[result.title] = anchor_curve.name
                for name, record in records.items():
                    comparisons[name][_key(result, metric)] = record
        for curve, missing_records in _curveless_codecs(result, experiment.rule):
            curves.setdefault(curve.name, curve)
            if curve is curves[curve.name]:
                comparisons.setdefault(curve.name, {}).update(missing_records if bd_rates else {})
    costs, time_note = _costs(results, curves)
    ordered_names = sorted(curves, key=lambda name: KINDS.index(curves[name].edition.facts.kind))
    rows = [SystemRow(name, curves[name], comparisons[name], costs[name]) for name in ordered_names]
    return rows, anchors, [name for name in absent_names if name not in curves], time_note


def _comparable_curves(panel: Panel, result: ExperimentCurves) -> Panel:
    metric, published_protocols = panel[0].metric, [c.protocol for c in panel if not c.measured]
    measured_protocol = result.summary.protocols[metric.column] if result.summary else ""
    shared_protocols = compatible_protocols(published_protocols, metric, measured_protocol)
    return [curve for curve in panel if curve.measured or curve.protocol in shared_protocols]


def _compare_panel(
    result: ExperimentCurves, panel: Panel, anchor: Curve, rule: Rule
) -> dict[str, Record]:
    metric, intervals = anchor.metric, dict[Edition, Interval]()
    anchor_rule = anchor.protocol if anchor.has_other_rule else ""
    if result.summary and anchor.measured:
        intervals = rate_intervals(result.summary, metric, anchor.edition, rule)
    comparisons = {}
    for curve in panel:
        comparisons[curve.name] = compare_curves(anchor.rates, curve.rates, metric, rule)
        if comparisons[curve.name]["bd_rate_percent"] is not None:
            comparisons[curve.name] |= interval_fields(intervals.get(curve.edition))
            comparisons[curve.name] |= _seed_fields(anchor, curve, rule)
        curve_rule = curve.protocol if curve.has_other_rule else ""
        comparisons[curve.name]["across_rules"] = curve_rule != anchor_rule
    return comparisons | {anchor.name: anchor_comparison(metric, rule)}


def _seed_fields(anchor: Curve, curve: Curve, rule: Rule) -> Record:
    deltas = [bd_rate(anchor.rates, seed_curve, rule) for seed_curve in curve.seed_curves]
    rates = [delta.value for delta in deltas if delta.value is not None]
    if len(rates) < max(2, len(deltas)):
        return {}
    return {"bd_rate_percent": fmean(rates), SEEDS: len(rates), DEVIATION: stdev(rates)}


def _curveless_codecs(
    result: ExperimentCurves, rule: Rule
) -> Iterator[tuple[Curve, dict[str, Record]]]:
    """Yield codecs without a complete point in any metric, with the reason in the first one."""
    if result.summary is None:
        return
    drawn_editions = {curve.edition for curve in chain(*result.panels)}
    titles, (metric, *_) = result.summary.titles(), result.metrics
    for point, cause in reversed(excluded_points(result.summary, metric)):
        edition = point.edition
        if edition not in drawn_editions:
            drawn_editions.add(edition)
            reason = f"it has no complete point ({point.setting}: {cause})"
            curve = Curve(metric, edition, titles[edition], ())
            yield curve, {_key(result, metric): missing_comparison(metric, rule, reason)}


def _key(result: ExperimentCurves, metric: Metric) -> str:
    return f"{result.dataset} {metric.column}"


def _column_groups(
    results: Sequence[ExperimentCurves],
    rows: Sequence[SystemRow],
    target_groups: Sequence[tuple[TargetBlock, Sequence[Column]]],
) -> tuple[tuple[tuple[str, int], ...], list[Column]]:
    columns, groups = [Column("System", "name")], [("", 1)]
    for result in results:
        group_title = f"BD-rate (%) on {result.title}"
        present_metrics = [
            metric
            for metric in result.metrics
            if any(_rate_record(_key(result, metric), row) for row in rows)
        ]
        for metric in present_metrics:
            get = partial(_rate_record, _key(result, metric))
            columns.append(Column(f"{group_title}, {metric_names([metric])}", get, _delta_text))
        groups += [(group_title, len(present_metrics))] if present_metrics else []
    for block, block_columns in target_groups:
        columns += block_columns
        groups.append((block.title, len(block_columns)))
    costs = [
        Column(heading, f"costs.{name}", form)
        for heading, form, name in COSTS
        if any(name in row.costs for row in rows)
    ]
    return (*groups, *([("", len(costs))] if costs else [])), [*columns, *costs]


def _rate_record(key: str, row: SystemRow) -> Record | None:
    record = row.comparisons.get(key)
    return record if record and record["bd_rate_percent"] is not None else None


def _delta_text(record: Record) -> str:
    text = number_text(record, form="+z.1f") if record["bd_rate_percent"] else None
    return text or "0"


def _seeds_text(record: Record) -> str:
    rate_text = _delta_text(record)
    return f"{rate_text} ± {record[DEVIATION]:.1f}" if DEVIATION in record else rate_text


def _mark_lowest(column: Column, rows: Sequence[SystemRow]) -> dict[int, str]:
    """Return marks for the column's two lowest printed values, by row; skip doubtful values."""
    scores: dict[int, float] = {}
    for row, value in enumerate(map(column.value, rows)):
        if isinstance(value, dict):
            is_uncertain = value["doubtful"] or value.get("across_rules")
            scores |= {} if is_uncertain else {row: value["bd_rate_percent"]}
        elif isinstance(value, TargetValue):
            scores |= {row: value.score} if value.is_comparable else {}
        elif value is not None:
            scores[row] = value
    ordered_rows = sorted(scores, key=scores.__getitem__)
    texts = {row: column.text(rows[row], "").removeprefix(WIDE_MARK) for row in ordered_rows}
    ordered_texts = [*dict.fromkeys(texts.values())]
    marks = dict(zip(ordered_texts, ("best", "second")[: len(ordered_texts) - 1], strict=False))
    return {row: marks[text] for row, text in texts.items() if text in marks}


def _costs(
    results: Sequence[ExperimentCurves], curves: Mapping[str, Curve]
) -> tuple[dict[str, dict[str, float]], str]:
    """Return the costs of systems by name, and the note on their seconds.

    A cost comes from the first dataset with rows of the system. Seconds are from one machine, or
    they are typical ones, whichever more systems have; other systems have no seconds.
    """
    costs: dict[str, dict[str, float]] = {name: {} for name in curves}
    times: dict[str, dict[str, float]] = {"": {}}  # seconds by machine; "": typical seconds
    summaries = [result.summary for result in results if result.summary]
    for name, curve in curves.items():
        summaries_with_rows = (
            summary for summary in summaries if curve.measured and summary.edition_of(curve.spec)
        )
        summary = next(summaries_with_rows, None)
        if summary is None or not curve.points:
            continue
        points = [point for point in summary.points if point.edition.spec == curve.spec]
        costs[name] = _work_costs(points)
        if seconds := megapixel_seconds(points):
            machine = summary.machine if seconds.timed else ""
            times.setdefault(machine, {})[name] = seconds.value
    machine = max(times, key=lambda machine: (len(times[machine]), machine))
    for name, value in times[machine].items():
        costs[name][SECONDS] = value
    return costs, TIME_NOTE.format(TIMED_ALONE.format(machine) if machine else TYPICAL_TIME)


def _work_costs(points: Sequence[Point]) -> dict[str, float]:
    parameters = (
        largest_mean(points, "parameters") or facts_of(points[0].edition.spec).work.parameters
    )
    values = kmac(points), parameters and parameters / 1e6, None
    return {name: value for (*_, name), value in zip(COSTS, values, strict=True) if value}


def _notes(
    results: Sequence[ExperimentCurves],
    rows: Sequence[SystemRow],
    anchors: Mapping[str, str],
    time_note: str,
    rule: Rule,
) -> list[str]:
    anchor_names = list(dict.fromkeys(anchors.values()))
    if len(anchor_names) > 1:
        anchor_names = [f"{name} on {title}" for title, name in anchors.items()]
    result_metrics = ((result, metric) for result in results for metric in result.metrics)
    shown_metrics = dict.fromkeys(
        m for result, m in result_metrics if any(_rate_record(_key(result, m), row) for row in rows)
    )
    metrics = metric_names(shown_metrics)
    against_text = f"against {listed(anchor_names)}{rule.words}"
    notes = list[str]()
    if anchors:
        notes.append(
            f"BD-rate in {metrics} {against_text}; "
            "negative values mean fewer bits at equal quality."
        )
    for result in results:
        if result.summary and (images := images_text(result.panels)) != counted(
            result.summary.images, "image"
        ):
            notes.append(f"Means on {result.title} are over {images}.")
    metric_texts = {
        _key(
            result, metric
        ): f"{short_name(metric, result.metrics)}{f' on {result.title}' * bool(results[1:])}"
        for result in results
        for metric in result.metrics
    }
    notes += [
        f"No BD-rate of {row.name} in {metric_texts[key]}: {record['reason']}."
        for row in rows
        for key, record in row.comparisons.items()
        if record["bd_rate_percent"] is None
    ]
    all_records = [record for row in rows for record in row.comparisons.values()]
    notes += doubt_notes((record["doubtful"] for record in all_records), rule)
    notes += seeds_sentences(record[SEEDS] for record in all_records if SEEDS in record)
    notes += filter(
        None, [other_rules_note(c for result in results for c in chain(*result.panels))]
    )
    notes += [time_note] if any(SECONDS in row.costs for row in rows) else []
    origins = {row.curve.edition.origin for row in rows}
    notes += dict.fromkeys(
        text
        for result in results
        if result.summary
        for text in caveat_notes(result.summary.editions)
    )
    if "bundled" in origins and "here" not in origins:  # otherwise, bundled names are marked
        notes.append("All measured results are bundled.")
    return notes


def _records(
    results: Sequence[ExperimentCurves],
    rows: Sequence[SystemRow],
    blocks: Sequence[TargetBlock],
    bd_rates: bool,
) -> list[dict[str, Any]]:
    records = []
    has_seeds = any(SEEDS in comparison for row in rows for comparison in row.comparisons.values())
    for row in rows:
        record: dict[str, Any] = {
            "system": row.name,
            "label": label_of(row.curve.spec),
            "from": row.curve.edition.origin,
        }
        for block in blocks:
            record |= block.fields(row.name)
        for result in results if bd_rates else ():
            for metric in result.metrics:
                key = _key(result, metric)
                for name in ("", "low_", "high_"):
                    value = row.comparisons.get(key, {}).get(f"bd_rate_{name}percent")
                    record[f"{key} bd_rate_{name}percent"] = value
                for name in (SEEDS, DEVIATION) if has_seeds else ():
                    record[f"{key} {name}"] = row.comparisons.get(key, {}).get(name)
        records.append(record | {name: row.costs.get(name) for *_, name in COSTS})
    return records
