"""The table of a paper: systems by BD-rates on datasets, and by what they cost."""

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
from benchmark.compare.curves import MIN_POINTS, bd_rate
from benchmark.compare.experiment import Experiment
from benchmark.compare.interval import Interval
from benchmark.compare.rank import RATE, Budget, Target
from benchmark.compare.rule import Rule
from benchmark.compare.system_curve import Panel, SystemCurve, variant_curve
from benchmark.errors import UsageError
from benchmark.facts import facts_of
from benchmark.metrics.metric import Metric
from benchmark.published.curves import sharing_protocols
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
from benchmark.show.figures.choice import choose
from benchmark.show.figures.style import drawn_as, look
from benchmark.show.paper.experiment_curves import METRICS, ExperimentCurves, experiment_curves
from benchmark.show.paper.target_columns import (
    TargetBlock,
    TargetValue,
    block_notes,
    target_block,
    target_text,
    target_text_with_ends,
)
from benchmark.show.sections import (
    images_of,
    listed,
    metric_names,
    other_rules_note,
    points_left_out,
)
from benchmark.show.table import WIDE, Table, csv_text, latex, markdown
from benchmark.system.text import counted

INTERVALS = f"In brackets: {PERCENT} intervals over images."
KINDS = ("standard", "learned", "own")  # of systems, in the order of the table's parts


COSTS = (  # heading, how a value is written, and what is left of it in the csv's name
    ("kMAC/px", ",.0f", "kmac_per_pixel"),
    ("Param. (M)", ".3g", "parameters_million"),
    ("Time (s/MP)", lambda s: f"{s:.2g}" if s < 100 else f"{s:.0f}", "seconds_per_megapixel"),
)
SECONDS = COSTS[2][2]
SEEDS, DEVIATION = "bd_rate_seeds", "bd_rate_seeds_standard_deviation_percent"  # of records
TIME = f"Time: to encode and decode a megapixel at {AT_BPP:g} bpp or the nearest setting, {{}}."
TIMED, TYPICAL = "timed alone on {}", "typical of one core, as codecs declare it"


class SystemRow(NamedTuple):
    """A system of the table."""

    name: str
    curve: SystemCurve
    pairs: Mapping[str, Record]  # with the anchor, by dataset and column of a metric
    costs: Mapping[str, float]  # by the csv's name


def draw_table(
    asked: Experiment,
    datasets: Sequence[str],
    targets: Sequence[Target] = (),
    budget: Budget = "image",
    bd_rates: bool = True,
) -> tuple[Table, dict[str, str], list[str]]:
    """Return the table of the systems and metrics asked for, its files, what is not in it.

    In LaTeX it has no intervals, for which the page of a paper has no room. The anchor of a dataset
    without curve of the named one is by `compare.anchor`. targets: rates and values of a metric at
    which systems have columns; published values by any rule are there, marked. Raises `UsageError`
    where no system has a BD-rate or a value.
    """
    shown = metric_names_of(asked.metrics or METRICS["table"])
    whole, least = asked, MIN_POINTS
    if targets:
        further = (target.name for target in targets if target.name != RATE)
        metrics = ",".join(dict.fromkeys((*shown, *further)))
        whole, least = replace(asked, metrics=metrics, mix_protocols=True), 1
    results = experiment_curves(whole, datasets, "table", least)
    with drawn_as(every_curve=look().every_curve or bool(asked.named or asked.published)):
        rows, anchors, absent, time_note = _rows(results, asked, bd_rates)
    named = {row.curve.spec: row.name for row in rows}
    names = {row.curve.edition: row.name for row in rows}
    blocks = [
        target_block(of, at, [m for m in of.metrics if m.name in shown], budget, names)
        for at in targets
        for of in results
    ]
    at_targets = [(block, columns) for block in blocks if (columns := block.columns())]
    if not anchors and targets and not at_targets:
        raise UsageError("; ".join(block_notes(blocks)))
    if not anchors and not targets:
        first = results[0].anchor
        against = (first and named.get(first)) or "an anchor"
        others = ", ".join(row.name for row in rows if row.name != against) or "any other system"
        raise UsageError(
            f"no BD-rate of {others} against {against}: --anchor, --codecs take others"
        )
    groups, columns = _columns(results, rows, at_targets)
    places = [_rank(column, rows) for column in columns[1:]]
    marks = {(row, place): mark for place, of in enumerate(places, 1) for row, mark in of.items()}
    kinds = [row.curve.edition.facts.kind for row in rows]
    parts = tuple(n for n in range(1, len(rows)) if kinds[n] != kinds[n - 1])
    notes = [*block_notes(blocks), *_notes(results, rows, anchors, time_note, asked.rule)]

    def with_ends(pair: Record) -> str:
        return f"{_with_seeds(pair)} {interval_text(pair) or ''}".rstrip()

    wide = [c._replace(form=with_ends) if c.form == _text else c for c in columns]
    wide = [c._replace(form=target_text_with_ends) if c.form == target_text else c for c in wide]
    columns = [c._replace(form=_with_seeds) if c.form == _text else c for c in columns]
    of_rows = [
        text for of in results if of.stored for text in hidden_edition_lines(of.stored.summary)
    ]
    left_out = [f"not in the table: {', '.join(absent)}"] if absent else []
    if bd_rates:
        left_out += [f"no BD-rate on {of.title}" for of in results if of.title not in anchors]
    for of in results:
        whys = points_left_out(of.summary, of.metrics)
        left_out += [f"{of.title}: {why}" for why in whys]
    left_out += [text for of in results for text in of.lacking]
    headers = tuple(column.name.rpartition(", ")[2] for column in columns)
    table = Table.of(columns, rows, notes)
    files = {
        "table.tex": latex(table, marks, groups, headers, parts),
        "table.md": markdown(Table.of(wide, rows, [*notes, INTERVALS]), marks),
        "table.csv": csv_text(_records(results, rows, blocks, bd_rates)),
    }
    return table, files, [*left_out, *of_rows]


def _rows(
    results: Sequence[ExperimentCurves], asked: Experiment, bd_rates: bool
) -> tuple[list[SystemRow], dict[str, str], list[str], str]:
    """Return the systems of all datasets, a kind together, and what is to be said of them.

    That is names of the anchors by title of the dataset, names of others, a note on seconds.
    """
    curves: dict[str, SystemCurve] = {}
    pairs: dict[str, dict[str, Record]] = {}
    anchors: dict[str, str] = {}
    absent: dict[str, None] = {}
    for result in results:
        choice = choose(result.panels, asked.rule, result.anchor, asked.named)
        absent |= dict.fromkeys(choice.absent)
        for panel in choice.select(result.panels):
            metric, other = panel[0].metric, variant_curve(panel, result.anchor)
            for curve in panel:
                curves.setdefault(curve.name, curve)
                pairs.setdefault(curve.name, {})
            if other is None or not bd_rates:
                continue
            beside = panel if asked.mix_protocols else _of_one_rule(panel, result)
            of_panel = _compared(result, beside, other, asked.rule)
            rates = {name: of["bd_rate_percent"] for name, of in of_panel.items()}
            if any(rate is not None for name, rate in rates.items() if name != other.name):
                anchors[result.title] = other.name
                for name, comparison in of_panel.items():
                    pairs[name][_key(result, metric)] = comparison
        for curve, lacking in _without_curve(result, asked.rule):
            curves.setdefault(curve.name, curve)
            if curve is curves[curve.name]:
                pairs.setdefault(curve.name, {}).update(lacking if bd_rates else {})
    costs, time_note = _costs(results, curves)
    ordered = sorted(curves, key=lambda name: KINDS.index(curves[name].edition.facts.kind))
    rows = [SystemRow(name, curves[name], pairs[name], costs[name]) for name in ordered]
    return rows, anchors, [name for name in absent if name not in curves], time_note


def _of_one_rule(panel: Panel, result: ExperimentCurves) -> Panel:
    """Return the curves of a panel whose protocols may be compared."""
    metric, published = panel[0].metric, [c.protocol for c in panel if not c.measured]
    measured = result.summary.protocols[metric.column] if result.summary else ""
    sharing = sharing_protocols(published, metric, measured)
    return [curve for curve in panel if curve.measured or curve.protocol in sharing]


def _compared(
    result: ExperimentCurves, panel: Panel, anchor: SystemCurve, rule: Rule
) -> dict[str, Record]:
    """Return the comparisons of a panel's curves with the anchor's, by name."""
    metric, intervals = anchor.metric, dict[Edition, Interval]()
    of_anchor = anchor.protocol if anchor.differs_in_rule else ""
    if result.summary and anchor.measured:
        intervals = rate_intervals(result.summary, metric, anchor.edition, rule)
    compared = {}
    for curve in panel:
        compared[curve.name] = compare_curves(anchor.rates, curve.rates, metric, rule)
        if compared[curve.name]["bd_rate_percent"] is not None:
            compared[curve.name] |= interval_fields(intervals.get(curve.edition))
            compared[curve.name] |= _of_seeds(anchor, curve, rule)
        of_curve = curve.protocol if curve.differs_in_rule else ""
        compared[curve.name]["across_rules"] = of_curve != of_anchor
    return compared | {anchor.name: anchor_comparison(metric, rule)}


def _of_seeds(anchor: SystemCurve, curve: SystemCurve, rule: Rule) -> Record:
    """Return mean and deviation of the BD-rates of a curve's seeds, if each of them has one."""
    deltas = [bd_rate(anchor.rates, of_seed, rule) for of_seed in curve.seed_curves]
    rates = [delta.value for delta in deltas if delta.value is not None]
    if len(rates) < max(2, len(deltas)):
        return {}
    return {"bd_rate_percent": fmean(rates), SEEDS: len(rates), DEVIATION: stdev(rates)}


def _without_curve(
    result: ExperimentCurves, rule: Rule
) -> Iterator[tuple[SystemCurve, dict[str, Record]]]:
    """Yield the codecs that have no complete point in any metric, with the reason in the first."""
    if result.summary is None:
        return
    there = {curve.edition for curve in chain(*result.panels)}
    titles, (metric, *_) = result.summary.titles(), result.metrics
    for point, why in reversed(excluded_points(result.summary, metric)):
        edition = point.edition
        if edition not in there:
            there.add(edition)
            reason = f"it has no complete point ({point.setting}: {why})"
            curve = SystemCurve(metric, edition, titles[edition], ())
            yield curve, {_key(result, metric): missing_comparison(metric, rule, reason)}


def _key(result: ExperimentCurves, metric: Metric) -> str:
    return f"{result.dataset} {metric.column}"


def _columns(
    results: Sequence[ExperimentCurves],
    rows: Sequence[SystemRow],
    at_targets: Sequence[tuple[TargetBlock, Sequence[Column]]],
) -> tuple[tuple[tuple[str, int], ...], list[Column]]:
    """Return the columns that have values, and the titles above them."""
    columns, groups = [Column("System", "name")], [("", 1)]
    for result in results:
        above = f"BD-rate (%) on {result.title}"
        known = [
            metric
            for metric in result.metrics
            if any(_rate(_key(result, metric), row) for row in rows)
        ]
        for metric in known:
            get = partial(_rate, _key(result, metric))
            columns.append(Column(f"{above}, {metric_names([metric])}", get, _text))
        groups += [(above, len(known))] if known else []
    for block, of_block in at_targets:
        columns += of_block
        groups.append((block.title, len(of_block)))
    costs = [
        Column(heading, f"costs.{name}", form)
        for heading, form, name in COSTS
        if any(name in row.costs for row in rows)
    ]
    return (*groups, *([("", len(costs))] if costs else [])), [*columns, *costs]


def _rate(key: str, row: SystemRow) -> Record | None:
    pair = row.pairs.get(key)
    return pair if pair and pair["bd_rate_percent"] is not None else None


def _text(pair: Record) -> str:
    text = number_text(pair, form="+z.1f") if pair["bd_rate_percent"] else None
    return text or "0"


def _with_seeds(pair: Record) -> str:
    return f"{_text(pair)} ± {pair[DEVIATION]:.1f}" if DEVIATION in pair else _text(pair)


def _rank(column: Column, rows: Sequence[SystemRow]) -> dict[int, str]:
    """Return the marks of the least and the second least as printed, by row; none of one alone.

    Deltas of curves that share little, or are by another rule than the anchor's, have none; nor
    have values by another rule.
    """
    known: dict[int, float] = {}
    for row, value in enumerate(map(column.value, rows)):
        if isinstance(value, dict):
            unsure = value["doubtful"] or value.get("across_rules")
            known |= {} if unsure else {row: value["bd_rate_percent"]}
        elif isinstance(value, TargetValue):
            known |= {row: value.score} if value.compared else {}
        elif value is not None:
            known[row] = value
    ordered = sorted(known, key=known.__getitem__)
    texts = {row: column.text(rows[row], "").removeprefix(WIDE) for row in ordered}
    order = [*dict.fromkeys(texts.values())]
    marks = dict(zip(order, ("best", "second")[: len(order) - 1], strict=False))
    return {row: marks[text] for row, text in texts.items() if text in marks}


def _costs(
    results: Sequence[ExperimentCurves], curves: Mapping[str, SystemCurve]
) -> tuple[dict[str, dict[str, float]], str]:
    """Return what systems cost by name, and the note on their seconds.

    Each is from the first dataset with rows of the system. Seconds are those of one machine or
    typical ones, whichever most systems have; others have none.
    """
    costs: dict[str, dict[str, float]] = {name: {} for name in curves}
    times: dict[str, dict[str, float]] = {"": {}}  # by machine, of which typical ones have none
    stored = [result.summary for result in results if result.summary]
    for name, curve in curves.items():
        has_rows = (of for of in stored if curve.measured and of.edition_of(curve.spec))
        of = next(has_rows, None)
        if of is None or not curve.points:
            continue
        points = [point for point in of.points if point.edition.spec == curve.spec]
        costs[name] = _of_rows(points)
        if spent := megapixel_seconds(points):
            times.setdefault(of.machine if spent.timed else "", {})[name] = spent.value
    machine = max(times, key=lambda machine: (len(times[machine]), machine))
    for name, seconds in times[machine].items():
        costs[name][SECONDS] = seconds
    return costs, TIME.format(TIMED.format(machine) if machine else TYPICAL)


def _of_rows(points: Sequence[Point]) -> dict[str, float]:
    """Return work and parameters: of the rows, else as the codec's class declares."""
    parameters = (
        largest_mean(points, "parameters") or facts_of(points[0].edition.spec).work.parameters
    )
    values = kmac(points), parameters and parameters / 1e6, None
    return {name: value for (*_, name), value in zip(COSTS, values, strict=True) if value}


def _notes(
    results: Sequence[ExperimentCurves],
    rows: Sequence[SystemRow],
    anchors: Mapping[str, str],
    time: str,
    rule: Rule,
) -> list[str]:
    names = list(dict.fromkeys(anchors.values()))
    if len(names) > 1:
        names = [f"{name} on {title}" for title, name in anchors.items()]
    pairs = ((of, metric) for of in results for metric in of.metrics)
    shown = dict.fromkeys(m for of, m in pairs if any(_rate(_key(of, m), row) for row in rows))
    metrics = metric_names(shown)
    against = f"against {listed(names)}{rule.words}"
    notes = list[str]()
    if anchors:
        notes.append(f"BD-rate in {metrics} {against}; negative saves bits at equal quality.")
    for of in results:
        if of.summary and (images := images_of(of.panels)) != counted(of.summary.images, "image"):
            notes.append(f"Means on {of.title} are over {images}.")
    words = {
        _key(of, metric): f"{short_name(metric, of.metrics)}{f' on {of.title}' * bool(results[1:])}"
        for of in results
        for metric in of.metrics
    }
    notes += [
        f"No BD-rate of {row.name} in {words[key]}: {pair['reason']}."
        for row in rows
        for key, pair in row.pairs.items()
        if pair["bd_rate_percent"] is None
    ]
    notes += doubt_notes((of["doubtful"] for row in rows for of in row.pairs.values()), rule)
    if seeds := sorted(
        {str(of[SEEDS]) for row in rows for of in row.pairs.values() if SEEDS in of}
    ):
        over = f"{listed(seeds)} seeds of a decoder that draws"
        notes.append(f"With ±: mean and standard deviation over {over}.")
    notes += filter(None, [other_rules_note(c for of in results for c in chain(*of.panels))])
    notes += [time] if any(SECONDS in row.costs for row in rows) else []
    origins = {row.curve.edition.origin for row in rows}
    notes += dict.fromkeys(
        text for of in results if of.summary for text in caveat_notes(of.summary.editions)
    )
    if "bundled" in origins and "here" not in origins:  # else their names say so
        notes.append("What is measured is bundled with the benchmark.")
    return notes


def _records(
    results: Sequence[ExperimentCurves],
    rows: Sequence[SystemRow],
    blocks: Sequence[TargetBlock],
    bd_rates: bool,
) -> list[dict[str, Any]]:
    """Return a flat record for each system, at full precision."""
    result = []
    any_seeds = any(SEEDS in pair for row in rows for pair in row.pairs.values())
    for row in rows:
        record: dict[str, Any] = {
            "system": row.name,
            "label": label_of(row.curve.spec),
            "from": row.curve.edition.origin,
        }
        for block in blocks:
            record |= block.fields(row.name)
        for of in results if bd_rates else ():
            for metric in of.metrics:
                key = _key(of, metric)
                for name in ("", "low_", "high_"):
                    value = row.pairs.get(key, {}).get(f"bd_rate_{name}percent")
                    record[f"{key} bd_rate_{name}percent"] = value
                for name in (SEEDS, DEVIATION) if any_seeds else ():
                    record[f"{key} {name}"] = row.pairs.get(key, {}).get(name)
        result.append(record | {name: row.costs.get(name) for *_, name in COSTS})
    return result
