"""Text in sections (headings, paragraphs, lists, tables), as markdown and HTML."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import polars as pl

from benchmark.answer import OTHER_RULE
from benchmark.compare.curve import Curve, Panel
from benchmark.metrics.metric import FEW_IMAGES, NOT_COMPUTED, Metric, absence
from benchmark.rows.summary import Point, Summary, excluded_points
from benchmark.show.table import Table
from benchmark.show.table import html as table_html
from benchmark.show.table import markdown as table_markdown
from benchmark.system.text import counted, group_by_key, markdown_text, one_line


class Section(NamedTuple):
    """A titled part of a text: strings are paragraphs, sequences are lists; omits empty parts."""

    kind: str  # name for programs: "ranking"
    title: str
    parts: "Sequence[Part]"


Part = str | Sequence[str] | Table | Section


def section(kind: str, title: str, *parts: Part) -> Section:
    """Return a section with some parts."""
    return Section(kind, title, parts)


def command_sentence(command: str) -> str:
    """Return a sentence on the command that reproduces a text; "" without a command."""
    return f"Made by `{one_line(command)}`." if command else ""


def markdown(root: Section, level: int = 1) -> str:
    """Return a section as markdown with escaped texts; its heading has `level` hashes."""
    blocks = [block(part, level + 1).rstrip("\n") for part in root.parts if part]
    return "\n\n".join([f"{'#' * level} {markdown_text(root.title)}", *blocks]) + "\n"


def block(part: Part, level: int = 2) -> str:
    """Return a part of a section as markdown."""
    match part:
        case str():
            return markdown_text(part)
        case Section():
            return markdown(part, level)
        case Table():
            return table_markdown(part)
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in part)


def html_text(sentence: str) -> str:
    """Return a sentence as HTML; commands in back quotes become code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(sentence))


def html(
    root: Section, names: Mapping[str, str], links: Sequence[str] = (), wordy: bool = False
) -> str:
    """Return a section's parts as HTML; nested sections are collapsed. See `table.html`."""

    def part_html(part: Part) -> str:
        match part:
            case str():
                kind = "hint" if len(root.parts) > 1 else "note"
                return f'<p class="{kind}">{html_text(part)}</p>'
            case Table():
                return table_html(part, root.title, names, links, wordy)
            case Section():
                counts = [len(lines) for lines in part.parts if isinstance(lines, list)]
                badge = f' <span class="badge">{sum(counts)}</span>' if counts else ""
                title = f"{escape(part.title)}{badge}"
                return f"<details><summary>{title}</summary>{html(part, names)}</details>"
        return f"<ul>{''.join(f'<li>{html_text(sentence)}</li>' for sentence in part)}</ul>"

    return "".join(part_html(part) for part in root.parts if part)


MAX_CAPTION_WORDS = 60
LOWER_NOTE = "Arrow down: lower is better."
DECIBELS_NOTE = "{} drawn as -10 log10(1 - mean)."
CAVEAT_MARK = "*"
MAX_CAVEAT_CHARACTERS = 100  # of an explanation of the mark in a figure
ONLY_BUNDLED = "all results are bundled; none were measured here"


def note_bundled_values(measured_rows: pl.DataFrame, metrics: Iterable[Metric]) -> list[str]:
    """Return a sentence on metrics that are missing in `measured_rows`, measured here, if any."""
    labels = [
        metric.label
        for metric in metrics
        if metric.column not in measured_rows.columns
        or measured_rows[metric.column].null_count() == measured_rows.height
    ]
    sentence = f"{listed(labels)}: values come from bundled rows with the same pixels"
    return [sentence] if labels else []


def seeds_sentences(counts: Iterable[int]) -> list[str]:
    """Return a sentence on values with ±, from numbers of seeds; [] without seeds."""
    seeds = listed([*map(str, sorted({*counts}))])
    sentence = f"With ±: mean and standard deviation over {seeds} seeds of a stochastic decoder."
    return [sentence] if seeds else []


def few_sentences(metrics: Iterable[Metric]) -> list[str]:
    """Return sentences on distribution metrics over few images."""
    beginning = f"Over fewer than {FEW_IMAGES} images,"
    return [
        f"{beginning} {listed(names)} {'are' if names[1:] else 'is'} {reason}."
        for reason, names in group_names(
            (metric.over_few, metric.label) for metric in metrics
        ).items()
    ]


def scale_sentences(metrics: Iterable[Metric]) -> list[str]:
    """Return the sentences that the metrics' axes need, on decibels and arrows."""
    metrics = list(metrics)
    sentences = []
    if names := [metric.label for metric in metrics if metric.saturating]:
        sentences.append(DECIBELS_NOTE.format(f"{listed(names)} {'are' if names[1:] else 'is'}"))
    if any(metric.better == "lower" for metric in metrics):
        sentences.append(LOWER_NOTE)
    return sentences


def listed(names: Sequence[str]) -> str:
    """Join names with commas and "and"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def group_names(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group names by sentence, from pairs (sentence, name); each name once."""
    return group_by_key(dict.fromkeys(pairs))


def make_sentence(text: str) -> str:
    """Return a text as a sentence: with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def mark_name(name: str, caveats: Sequence[str] | None) -> str:
    """Mark a name with CAVEAT_MARK if its codec has caveats."""
    return f"{name}{CAVEAT_MARK}" if caveats else name


def _caveat_note(curves: Iterable[Curve]) -> str:
    statements_by_curve = [
        caveat.split("; ") for curve in curves for caveat in curve.edition.run_facts.caveats
    ]
    statements = list(
        dict.fromkeys(
            statement for curve_statements in statements_by_curve for statement in curve_statements
        )
    )
    common_statements = [
        statement
        for statement in statements
        if all(statement in curve_statements for curve_statements in statements_by_curve)
    ]
    caveat_text = "; ".join(common_statements or statements)
    if len(caveat_text) > MAX_CAVEAT_CHARACTERS:  # use a common beginning: "reduced network"
        opening, *other_openings = {statement.partition(",")[0]: None for statement in statements}
        caveat_text = "with caveats: see the sources" if other_openings else opening
    return f"{CAVEAT_MARK} {caveat_text}." if statements_by_curve else ""


def curves_note(curves: Sequence[Curve]) -> str:
    """Return a figure's note: caveats, and origins that the legend does not show."""
    sentences = []
    if any(curve.edition.bundled and "bundled" not in curve.name for curve in curves):
        scope = "All" if all(curve.measured for curve in curves) else "Unmarked"
        sentences.append(f"{scope} results are bundled with the project.")
    if any(curve.sampled for curve in curves):
        sentences.append("Dash-dotted curves were read from a plot.")
    return " ".join(filter(None, [*sentences, _caveat_note(curves)]))


def other_rules_note(curves: Iterable[Curve]) -> str:
    """Return a sentence that explains the mark OTHER_RULE; "" if no curve has the mark."""
    names = group_by_key(dict.fromkeys((c.other_rules, c.title) for c in curves if c.other_rules))
    clauses = [f"{listed(titles)} ({', '.join(rules)})" for rules, titles in names.items()]
    return (
        f"{OTHER_RULE} Computed by other rules than the remaining values: {'; '.join(clauses)}."
        if clauses
        else ""
    )


def _brief_reason(point: Point, metric: Metric, reason: str) -> str:
    for text, _ in point.means[metric.column].reasons[:1]:
        message, command = absence(text)
        has_fixed_command = command and message != NOT_COMPUTED  # that command needs options
        reason = reason.replace(text, f"{message}, {command}" if has_fixed_command else message)
    return reason


def points_left_out(summary: Summary | None, metrics: Iterable[Metric]) -> list[str]:
    """Return short sentences on the points excluded from curves, by reason."""
    labels = summary.labels if summary else {}
    labels_by_reason = group_names(
        (_brief_reason(point, metric, reason), labels[point.edition])
        for metric in metrics
        for point, reason in (excluded_points(summary, metric) if summary else ())
    )
    return [
        f"Points left out ({reason}): {', '.join(labels)}."
        for reason, labels in labels_by_reason.items()
    ]


def make_caption(*sentences: str | None) -> str:
    """Return the sentences that fit into a caption of MAX_CAPTION_WORDS, in order."""
    fitting_sentences: list[str] = []
    for sentence in filter(None, sentences):
        if len(" ".join([*fitting_sentences, sentence]).split()) <= MAX_CAPTION_WORDS:
            fitting_sentences.append(sentence)
    return " ".join(fitting_sentences)


def metric_names(metrics: Iterable[Metric]) -> str:
    """Join metrics' titles in a sentence."""
    return listed([metric.title for metric in metrics])


def images_text(panels: Iterable[Panel]) -> str:
    """Return the number of averaged images, by metric if numbers differ: "24 or 41 images"."""
    metrics_by_count: dict[str, list[Metric]] = {}
    for panel in panels:
        measured_curves = [curve for curve in panel if curve.measured]
        points = [point for curve in measured_curves or panel for point in curve.points]
        if counts := sorted({point.images for point in points if point.images}):
            count_text = " or ".join([*map(str, counts[:-1]), counted(counts[-1], "image")])
            metrics_by_count.setdefault(count_text, []).append(panel[0].metric)
    if len(metrics_by_count) < 2:
        return next(iter(metrics_by_count), "an unknown number of images")
    return listed(
        [
            f"{count_text} in {metric_names(metrics)}"
            for count_text, metrics in metrics_by_count.items()
        ]
    )
