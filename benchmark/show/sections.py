"""A text as sections: headings, paragraphs, lists and tables; as markdown and HTML. Pure.

What a report says is built once, of these; a file, a page and a terminal each show what they need.
Sentences that captions, details, notes and tables have in common are here too.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from benchmark.answer import OTHER_RULE
from benchmark.compare.system_curve import Panel, SystemCurve
from benchmark.metrics.metric import FEW_IMAGES, NOT_COMPUTED, Metric, absence
from benchmark.rows.summary import Point, Summary, excluded
from benchmark.show.table import Table
from benchmark.show.table import html as table_html
from benchmark.show.table import markdown as table_markdown
from benchmark.system.text import by_key, counted, markdown_text, one_line


class Section(NamedTuple):
    """A part of a text. Empty paragraphs and lists are not shown.

    parts: texts are paragraphs, other sequences of texts are lists.
    """

    kind: str  # what programs know it by: "ranking"
    title: str
    parts: "Sequence[Part]"


Part = str | Sequence[str] | Table | Section


def section(kind: str, title: str, *parts: Part) -> Section:
    """Return a section of these parts."""
    return Section(kind, title, parts)


def made_by(command: str) -> str:
    """Return the sentence on the command that makes a text again; empty without one."""
    return f"Made by `{one_line(command)}`." if command else ""


def markdown(of: Section, level: int = 1) -> str:
    """Return a section as markdown, its heading with `level` signs; nothing in it is obeyed.

    >>> print(markdown(section("left_out", "Left out", ["a <b>"], "")), end="")
    # Left out
    <BLANKLINE>
    - a &lt;b>
    """
    blocks = [block(part, level + 1).rstrip("\n") for part in of.parts if part]
    return "\n\n".join([f"{'#' * level} {markdown_text(of.title)}", *blocks]) + "\n"


def block(part: Part, level: int = 2) -> str:
    """Return a part of a section as markdown, as `markdown` does."""
    match part:
        case str():
            return markdown_text(part)
        case Section():
            return markdown(part, level)
        case Table():
            return table_markdown(part)
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in part)


def html(
    of: Section, names: Mapping[str, str], links: Sequence[str] = (), wordy: bool = False
) -> str:
    """Return the parts of a section as HTML; sections in it are folded, with counts of lists.

    names, links, wordy: of its tables, see `table.html`.
    """

    def as_html(part: Part) -> str:
        match part:
            case str():
                kind = "hint" if len(of.parts) > 1 else "note"
                return f'<p class="{kind}">{escape(part)}</p>'
            case Table():
                return table_html(part, of.title, names, links, wordy)
            case Section():
                counts = [len(lines) for lines in part.parts if isinstance(lines, list)]
                badge = f' <span class="badge">{sum(counts)}</span>' if counts else ""
                title = f"{escape(part.title)}{badge}"
                return f"<details><summary>{title}</summary>{html(part, names)}</details>"
        return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in part)}</ul>"

    return "".join(as_html(part) for part in of.parts if part)


MOST_WORDS = 60  # of a caption
LOWER = "Arrow down: lower is better."
DECIBELS = "{} drawn as -10 log10(1 - mean)."
CAVEAT = "*"
MOST_CAVEAT = 100  # characters of what the mark says in a figure
ONLY_BUNDLED = "none of this was measured here: the results are bundled with the project"


def few_sentences(metrics: Iterable[Metric]) -> list[str]:
    """Return the sentence on metrics of whole sets that are over few images here."""
    start = f"Over fewer than {FEW_IMAGES} images,"
    return [
        f"{start} {listed(names)} {'are' if names[1:] else 'is'} {why}."
        for why, names in grouped((metric.over_few, metric.label) for metric in metrics).items()
    ]


def scale_sentences(metrics: Iterable[Metric]) -> list[str]:
    """Return the sentences on decibels and arrows that these metrics' axes need."""
    metrics = list(metrics)
    sentences = []
    if names := [metric.label for metric in metrics if metric.saturating]:
        sentences.append(DECIBELS.format(f"{listed(names)} {'are' if names[1:] else 'is'}"))
    if any(metric.better == "lower" for metric in metrics):
        sentences.append(LOWER)
    return sentences


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group names by sentence, of pairs (sentence, name); each name once."""
    return by_key(dict.fromkeys(pairs))


def capitalised(text: str) -> str:
    """Return a text as a sentence: with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def marked(name: str, caveats: Sequence[str] | None) -> str:
    """Return a name with the mark CAVEAT, where its codec has any."""
    return f"{name}{CAVEAT}" if caveats else name


def _caveat_note(curves: Iterable[SystemCurve]) -> str:
    """Return the sentence that explains the mark CAVEAT in a figure; empty without any.

    It is what all caveats have in common, else everything that they say, if that is short.
    """
    parts = [caveat.split("; ") for curve in curves for caveat in curve.edition.ran.caveats]
    every = list(dict.fromkeys(part for of in parts for part in of))
    common = [part for part in every if all(part in of for of in parts)]
    words = "; ".join(common or every)
    if len(words) > MOST_CAVEAT:  # then how all begin: "reduced network"
        first, *others = {part.partition(",")[0]: None for part in every}
        words = "a caveat: see the sources" if others else first
    return f"{CAVEAT} {words}." if parts else ""


def curves_note(curves: Sequence[SystemCurve]) -> str:
    """Return the line inside a figure: what names in the legend do not say, caveats."""
    parts = []
    if any(curve.edition.bundled and "bundled" not in curve.name for curve in curves):
        which = "All" if all(curve.measured for curve in curves) else "Unmarked"
        parts.append(f"{which} results are bundled with the project.")
    if any(curve.sampled for curve in curves):
        parts.append("Dash-dotted: read off a plotted line.")
    return " ".join(filter(None, [*parts, _caveat_note(curves)]))


def other_rules_note(curves: Iterable[SystemCurve]) -> str:
    """Return the sentence that explains the mark OTHER_RULE; empty without any."""
    names = by_key(dict.fromkeys((c.other_rules, c.title) for c in curves if c.other_rules))
    parts = [f"{listed(of)} ({', '.join(rules)})" for rules, of in names.items()]
    return f"{OTHER_RULE} By other rules than the rest: {'; '.join(parts)}." if parts else ""


def _brief_reason(point: Point, metric: Metric, why: str) -> str:
    """Return why a point is on no curve, with the reason of its rows shortened."""
    for text, _ in point.means[metric.column].reasons[:1]:
        what, command = absence(text)
        known = command and what != NOT_COMPUTED  # whose command needs options
        why = why.replace(text, f"{what}, {command}" if known else what)
    return why


def points_left_out(summary: Summary | None, metrics: Iterable[Metric]) -> list[str]:
    """Return sentences on the points that no curve has, by reason, in a few words."""
    labels = summary.labels if summary else {}
    refused = grouped(
        (_brief_reason(point, metric, why), labels[point.edition])
        for metric in metrics
        for point, why in (excluded(summary, metric) if summary else ())
    )
    return [f"Points left out ({why}): {', '.join(labels)}." for why, labels in refused.items()]


def brief(*sentences: str | None) -> str:
    """Return a caption of at most MOST_WORDS: the sentences, in their order, that fit."""
    kept: list[str] = []
    for sentence in filter(None, sentences):
        if len(" ".join([*kept, sentence]).split()) <= MOST_WORDS:
            kept.append(sentence)
    return " ".join(kept)


def metric_names(metrics: Iterable[Metric]) -> str:
    """Return metrics as a sentence names them, without units."""
    return listed([metric.label.partition(" (dB)")[0] for metric in metrics])


def images_of(panels: Iterable[Panel]) -> str:
    """Say how many images the means are over, of measured curves, if any: "24 or 41 images".

    Of metrics with other counts it names each.
    """
    of_count: dict[str, list[Metric]] = {}
    for panel in panels:
        measured = [curve for curve in panel if curve.measured]
        points = [point for curve in measured or panel for point in curve.points]
        if counts := sorted({point.images for point in points if point.images}):
            words = " or ".join([*map(str, counts[:-1]), counted(counts[-1], "image")])
            of_count.setdefault(words, []).append(panel[0].metric)
    if len(of_count) < 2:
        return next(iter(of_count), "an unknown number of images")
    return listed([f"{words} in {metric_names(of)}" for words, of in of_count.items()])
