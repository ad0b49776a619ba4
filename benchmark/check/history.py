"""Check checkpoints of a training run against the first one and the best one so far.

A state (a checkpoint with its rows) is worse if `bench check` would find that it regressed against
the best state so far; all states, metrics and variants are one family for Holm's correction.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import PurePath
from typing import Any

from benchmark.answer import Answer, Column, interval_text
from benchmark.check.changes import Change, changes
from benchmark.check.limits import parse_margins
from benchmark.check.pairing import NotComparable, RowSet, VariantPair, drop_weights, pair_up
from benchmark.check.text import VERDICTS
from benchmark.check.verdict import CONFIDENCE, Finding, judge
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.stored import specs_in
from benchmark.show import sections
from benchmark.show.figures import texts
from benchmark.show.figures.style import (
    BAR_POINTS,
    MARKER_POINTS,
    SPARE_COLOURS,
    SPARE_MARKERS,
    figure_style,
)
from benchmark.show.table import Table
from benchmark.system.text import counted

States = Sequence[tuple[int, RowSet]]  # number and rows of each checkpoint
STEP = re.compile(r"(?:^|[-_])(\d+)(?:\.[A-Za-z]\w*)*$")  # "36000" of ours-36000.safetensors
NOTE = f"Positive is worse; each bound in brackets holds with {100 * CONFIDENCE:g} % confidence."
ENDS = {"": "change", "_low": "lower", "_high": "upper"}  # keys of findings, by suffix in records
CROSS_HEIGHT = 0.97  # share of the axes' height, for a state without a change


def _interval_text(name: str, record: Mapping[str, Any]) -> str | None:
    return interval_text(record, name, "+z.2f", f" {record['unit']}".rstrip())


COLUMNS = (
    Column("state"),
    Column("codec"),
    Column("metric"),
    Column("measure", "by"),
    Column("against the first", partial(_interval_text, "first_change_percent"), str),
    Column("best so far", "best"),
    Column("against the best", partial(_interval_text, "best_change_percent"), str),
    Column("images", form="d"),
    Column("verdict"),
)


def sort_checkpoints(checkpoints: Sequence[str]) -> list[tuple[str, int, str]]:
    """Sort checkpoints by the numbers at the end of their names; return name, number and text.

    If a number is missing or occurs twice, checkpoints keep their order, with numbers from 1.
    """
    steps = [match and int(match[1]) for match in map(STEP.search, checkpoints)]
    numbers = [*range(1, len(steps) + 1)]
    if None not in steps and len({*steps}) == len(steps):
        numbers = [step or 0 for step in steps]
    names = [PurePath(text).name.partition(".")[0] for text in checkpoints]
    names = names if len({*names}) == len(names) else [*checkpoints]
    return sorted(
        zip(names, numbers, checkpoints, strict=True), key=lambda checkpoint: checkpoint[1]
    )


def compare_states(states: States, metrics: Sequence[str], rule: Rule, margin: str = "") -> Answer:
    """Return changes (%) against the first and the best state so far, with verdicts.

    One record per later state, variant and metric; changes are None if an image is out of reach.
    Raises `UsageError` for an invalid margin, and if no variant has two states.
    """
    margins, notes = parse_margins(margin), dict[str, None]()
    variants = [[*map(drop_weights, specs_in(rows.rows))] for _, rows in states]
    comparisons: list[tuple[dict[str, Any], Change, Change]] = []
    for variant in dict.fromkeys(chain(*variants)):
        variant_states = [
            state
            for state, state_variants in zip(states, variants, strict=True)
            if variant in state_variants
        ]
        for (_, rows), state_variants in zip(states, variants, strict=True):
            if variant not in state_variants:
                notes[f"{rows.name} has no {variant.text}"] = None
        for metric in metrics:
            comparisons += _compare_variant(variant_states, variant.text, metric, notes, rule)
    if not comparisons:
        hint = f": {next(iter(notes))}" if notes else ""
        raise UsageError(f"a history needs two states of a codec variant: name checkpoints{hint}")
    names = [rows.name for _, rows in states]
    comparisons.sort(key=lambda comparison: names.index(comparison[0]["state"]))
    identities, *change_sides = zip(*comparisons, strict=True)
    judged_sides = (judge(side, margins, CONFIDENCE) for side in change_sides)
    records = [
        identity | _change_columns(*findings)
        for identity, *findings in zip(identities, *judged_sides, strict=True)
    ]
    has_regressed = any(record["verdict"] == "regressed" for record in records)
    summary, title = "\n".join([NOTE, *notes]), history_headline(records)
    return Answer(records, COLUMNS, summary, code=int(has_regressed), title=title)


def _compare_variant(
    states: States, variant: str, metric: str, notes: dict[str, None], rule: Rule
) -> Iterator[tuple[dict[str, Any], Change, Change]]:
    (first_number, first_rows), best_rows = states[0], states[0][1]
    for number, rows in states[1:]:
        try:
            first_pair, best_pair = (
                _pair_states(earlier_rows, rows, variant, metric)
                for earlier_rows in (first_rows, best_rows)
            )
        except NotComparable as error:
            notes[f"{rows.name}: {error}"] = None
            continue
        change = changes(best_pair, metric, rule)
        identity = {
            "number": number, "state": rows.name, "first": first_rows.name,
            "first_number": first_number, "best": best_rows.name,
        }  # fmt: skip
        yield identity, changes(first_pair, metric, rule), change
        # A state without curves cannot become the best, as nothing can be compared with it
        if len(change.percent):
            is_better = change.percent.mean() < 0 and not change.unknown
        else:
            self_pair = best_pair._replace(reference=best_pair.test, identical_images=())
            is_better = len(changes(self_pair, metric, rule).percent) > 0
        best_rows = rows if is_better and not change.out_of_reach else best_rows


def _pair_states(reference: RowSet, state: RowSet, variant: str, metric: str) -> VariantPair:
    (pair,), _ = pair_up(reference, state, [metric], variant, common=True, allow_few=True)
    return pair


def _change_columns(first_finding: Finding, best_finding: Finding) -> dict[str, Any]:
    columns = {
        f"{side}_change_percent{end}": None
        if finding["out_of_reach"]
        else finding[f"{name}_percent"]
        for side, finding in (("first", first_finding), ("best", best_finding))
        for end, name in ENDS.items()
    }
    worst_image = best_finding["worst"][0]["image"] if best_finding["worst"] else None
    return {
        "codec": best_finding["label"], "metric": best_finding["metric"],
        "by": best_finding["kind"], "images": best_finding["images"], "unit": best_finding["unit"],
        **columns, "worst_image": worst_image, "verdict": best_finding["verdict"],
        "why": best_finding["why"],
    }  # fmt: skip


def history_headline(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a line on the first state that is worse than the best earlier state."""
    regression = next((record for record in records if record["verdict"] == "regressed"), None)
    if regression is None:
        reasons = [record["why"] for record in records if VERDICTS[record["verdict"]][0]]
        if not reasons:
            return "no state is worse than the best earlier state"
        clause = f"{len(reasons)} of {counted(len(records), 'comparison')} have no verdict"
        return f"no state is known to be worse than the best earlier state; {clause}: {reasons[0]}"
    has_several_codecs = len({record["codec"] for record in records}) > 1
    codec = f"{regression['codec']}, " if has_several_codecs else ""
    metric = Metric.named(regression["metric"]).title
    reason = regression["why"]
    if amount := _interval_text("best_change_percent", regression):
        reason = f"{amount} ({regression['by']}), image {regression['worst_image']}"
    state = f"{regression['state']} against {regression['best']}"
    return f"regressed at {state}: {codec}{metric} {reason}"


def draw_history(
    records: Sequence[Mapping[str, Any]], codec: str, dataset: str
) -> texts.DrawnFigure:
    """Draw the changes of states from the first; a cross marks a regression."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    names = [*dict.fromkeys(record["metric"] for record in records)]
    variants = [*dict.fromkeys(record["codec"] for record in records)]
    handles: dict[str, Line2D] = {}
    with figure_style():
        figure, panels, width = texts.panel_figure(len(names))
        for axes, name in zip(panels, names, strict=True):
            axes.axhline(0, color="black", linewidth=BAR_POINTS)
            for index, variant in enumerate(variants):
                variant_records = [
                    record
                    for record in records
                    if (record["codec"], record["metric"]) == (variant, name)
                ]
                drawn_records = [
                    record
                    for record in variant_records
                    if record["first_change_percent"] is not None
                ]
                steps = [record["number"] for record in drawn_records]
                colour = SPARE_COLOURS[index % len(SPARE_COLOURS)]
                (handles[variant],) = axes.plot(
                    [variant_records[0]["first_number"], *steps],
                    [0, *(record["first_change_percent"] for record in drawn_records)],
                    color=colour, marker=SPARE_MARKERS[index % len(SPARE_MARKERS)],
                    markersize=MARKER_POINTS, label=variant,
                )  # fmt: skip
                low, high = (
                    [record[f"first_change_percent_{end}"] or math.nan for record in drawn_records]
                    for end in ("low", "high")
                )
                axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
                for record in variant_records:
                    if record["verdict"] == "regressed":
                        change = record["first_change_percent"]
                        transform = axes.get_xaxis_transform() if change is None else axes.transData
                        y = CROSS_HEIGHT if change is None else change
                        axes.plot(
                            record["number"], y, "x", transform=transform, color="red", markersize=9
                        )
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.margins(x=0.06, y=0.1)
            in_units = Metric.named(name).margin is not None
            axes.set(xlabel="Step", ylabel="Change" if in_units else "Change (%)")
            texts.title(axes, sections.metric_names([Metric.named(name)]), width / len(names))
            axes.spines[["top", "right"]].set_visible(False)
        entries = [*handles.values()]
        if any(record["verdict"] == "regressed" for record in records):
            label = "worse than the best earlier state"
            entries.append(Line2D([], [], linestyle="", marker="x", color="red", label=label))
        texts.add_legend(figure, entries)
    num_states = len(
        {record["state"] for record in records} | {record["first"] for record in records}
    )
    num_images = max(record["images"] for record in records)
    caption = sections.make_caption(
        f"Changes of {counted(num_states, 'state')} of {codec} on {dataset} "
        f"({counted(num_images, 'image')}) from the first state, in "
        f"{sections.metric_names(map(Metric.named, names))}: bits at equal quality for metrics in "
        "dB, values at equal rate for the others; positive is worse.",
        "Bands: 95 % confidence bounds.",
    )
    return texts.DrawnFigure(
        figure, caption, [*records], Table.create(COLUMNS, records).drop_empty_columns()
    )
