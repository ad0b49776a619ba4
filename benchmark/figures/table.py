"""Tables of means and BD-rates, and tables as plain text, markdown, LaTeX and csv."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, NamedTuple

from benchmark.analysis.rate_distortion import Comparison, Delta, ImagesDelta, NoDelta
from benchmark.analysis.summarise import SECONDS, Mean, Point, Summary
from benchmark.analysis.systems import trained_on
from benchmark.metrics.measure import Measure

NOTHING, ENDLESS, DOUBTFUL = "–", "∞", "†"
TRAINED = "‡"  # a metric that is part of a codec's training loss
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "α": r"$\alpha$", "β": r"$\beta$", NOTHING: "--", ENDLESS: r"$\infty$", DOUBTFUL: r"$^\dagger$",
    TRAINED: r"$^\ddagger$",
}  # fmt: skip


class Table(NamedTuple):
    """A table with cells as text. The first `words` columns are text, the others numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    notes: tuple[str, ...] = ()  # sentences that belong under it


def means_table(summary: Summary, measures: Sequence[Measure], failed: bool = True) -> Table:
    """Return a row for each point; each mean is over the row's images unless it says otherwise."""
    points = summary.points
    failed = failed and any(point.failed for point in points)
    headers = ["codec", "setting", "images", "bpp", *(measure.label for measure in measures)]
    headers += ["encode (s)", "decode (s)", *(["failed"] if failed else [])]
    rows = []
    for point in points:
        cells = [point.label, str(point.setting), _images(point, summary)]
        cells.append(NOTHING if point.bpp is None else f"{point.bpp:.4f}")
        for measure in measures:
            decimals = 2 if "dB" in measure.label else 4
            cells.append(_mean(point.means[measure.column], point.images, f".{decimals}f"))
        cells += [_mean(point.means[name], point.images, ".2g") for name in SECONDS]
        rows.append((*cells, *([str(point.failed or "")] if failed else [])))
    text = "".join(cell for row in rows for cell in row[3:])
    notes = []
    if "(" in text:
        notes.append("A count in brackets: the mean is over that number of images only.")
    if ENDLESS in text:
        notes.append(f"{ENDLESS} n: n images came back identical; they are not in the mean.")
    if any(caveat for point in points for caveat in point.edition.caveats):
        caveats = {point.label: ", ".join(point.edition.caveats) for point in points}
        notes += [f"{label}: {caveat}." for label, caveat in caveats.items() if caveat]
    recorded = dict.fromkeys(point.label for point in points if point.edition.recorded)
    if recorded:
        notes.append(f"Recorded elsewhere, not timed here: {', '.join(recorded)}.")
    return Table(tuple(headers), tuple(rows), 2, tuple(notes))


def bd_table(
    comparisons: Sequence[Comparison],
    measures: Sequence[Measure],
    anchor: str,
    up_to_bpp: float | None = None,
) -> Table:
    """Return a row for each metric and codec: BD-rates of mean curves and of images, BD-metric."""
    headers = (
        "metric", "codec", "BD-rate (%)", "mean of images' BD-rates (%)", "images",
        "BD-metric", "overlap (%)",
    )  # fmt: skip
    labels = {measure.column: measure.axis_label for measure in measures}
    rows, notes = [], [f"Anchor: {anchor}. A negative BD-rate saves bits at equal quality."]
    notes += _cut_note(up_to_bpp)
    reasons: dict[str, list[str]] = {}
    for comparison in comparisons:
        found = comparison.rate, comparison.images_rate, comparison.quality
        rate, of_images, quality = found
        rows.append(
            (
                labels[comparison.column],
                comparison.label,
                _delta(rate, "+.2f"),
                NOTHING if isinstance(of_images, NoDelta) else f"{of_images.value:+.2f}",
                _images_of(of_images),
                _delta(quality, "+.4g"),
                f"{100 * rate.overlap:.0f}" if isinstance(rate, Delta) else NOTHING,
            )
        )
        for refused in found if isinstance(rate, Delta) else (rate, quality):
            if isinstance(refused, NoDelta):
                who = f"{comparison.label} ({labels[comparison.column]})"
                whose = reasons.setdefault(refused.reason, [])
                whose += [who] if who not in whose else []
    if any(DOUBTFUL in cell for row in rows for cell in row):
        notes.append(f"{DOUBTFUL} The curves share less than half of the range they span.")
    notes += [f"No number for {', '.join(whose)}: {why}." for why, whose in reasons.items()]
    return Table(headers, tuple(rows), 2, tuple(notes))


def bd_overview(
    comparisons: Sequence[Comparison],
    measures: Sequence[Measure],
    anchor: str,
    up_to_bpp: float | None = None,
) -> Table:
    """Return a row for each codec, a column for each metric: BD-rates of the mean curves."""
    rates = {(one.label, one.column): one.rate for one in comparisons}
    rows = tuple(
        (label, *(_marked(rates[label, one.column], label, one) for one in measures))
        for label in dict.fromkeys(one.label for one in comparisons)
    )
    notes = [f"BD-rate (%) of the mean curves against {anchor}; negative saves bits."]
    notes += _cut_note(up_to_bpp)
    if any(DOUBTFUL in cell for row in rows for cell in row):
        notes.append(f"{DOUBTFUL} The curves share less than half of the range they span.")
    if any(NOTHING in cell for row in rows for cell in row):
        notes.append(f"{NOTHING} The curves cannot be compared.")
    if any(TRAINED in cell for row in rows for cell in row):
        notes.append(f"{TRAINED} The metric is in the codec's training loss.")
    headers = ("codec", *(measure.axis_label for measure in measures))
    return Table(headers, rows, 1, tuple(notes))


def _cut_note(up_to_bpp: float | None) -> list[str]:
    return [] if up_to_bpp is None else [f"Curves are cut at {up_to_bpp:g} bpp, by interpolation."]


def bd_records(
    comparisons: Sequence[Comparison], anchor: str, up_to_bpp: float | None = None
) -> list[dict[str, Any]]:
    """Return a flat record for each comparison, at full precision; refused ones have a reason."""
    return [
        {
            "metric": comparison.column,
            "codec": comparison.label,
            "anchor": anchor,
            "up_to_bpp": up_to_bpp,
            "bd_rate_percent": _value(comparison.rate),
            "bd_rate_overlap": getattr(comparison.rate, "overlap", None),
            "images_bd_rate_percent": _value(comparison.images_rate),
            "images_bd_rate_images": getattr(comparison.images_rate, "images", None),
            "images_bd_rate_refused": getattr(comparison.images_rate, "refused", None),
            "bd_metric": _value(comparison.quality),
            "bd_metric_overlap": getattr(comparison.quality, "overlap", None),
            "reason": getattr(comparison.rate, "reason", None),
        }
        for comparison in comparisons
    ]


def plain(table: Table) -> str:
    """Return columns separated by two spaces, numbers aligned to the right, notes below."""
    lines = [table.headers, *table.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.headers))]
    texts = []
    for line in lines:
        cells = [
            cell.ljust(width) if place < table.words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append("  ".join(cells).rstrip())
    return "\n".join([*texts, *table.notes]) + "\n"


def markdown(table: Table) -> str:
    """Return a pipe table, notes below.

    >>> print(markdown(Table(("codec", "bpp"), (("a|b", "1.0"),), 1)), end="")
    | codec | bpp |
    |:---|---:|
    | a\\|b | 1.0 |
    """
    rule = [":---" if place < table.words else "---:" for place in range(len(table.headers))]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in (table.headers, *table.rows)
    ]
    lines.insert(1, "|" + "|".join(rule) + "|")
    notes = ["", *(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n".join([*lines, *notes]) + "\n"


def latex(table: Table, names: Mapping[str, str]) -> str:
    """Return a booktabs tabular, notes as comments; `names` shortens cells that are codec labels.

    A little space separates the groups of a table whose first column repeats.
    """
    kinds = "l" * table.words + "r" * (len(table.headers) - table.words)
    lines = [r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{{kinds}}}", r"\toprule"]
    lines += [_latex_row(table.headers), r"\midrule"]
    grouped = len({row[0] for row in table.rows}) < len(table.rows)
    before = table.rows[0][0] if table.rows else ""
    for row in table.rows:
        lines += [r"\addlinespace"] if grouped and row[0] != before else []
        lines.append(_latex_row([names.get(cell, cell) for cell in row]))
        before = row[0]
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    r"""Escape text for LaTeX; a leading hyphen before a digit is a minus.

    >>> escape_latex("a_b 5%"), escape_latex("-3.5"), escape_latex("∞")
    ('a\\_b 5\\%', '$-$3.5', '$\\infty$')
    """
    minus = len(text) > 1 and text[0] == "-" and text[1].isdigit()
    return "$-$" * minus + "".join(LATEX.get(sign, sign) for sign in text[minus:])


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records with the same keys as csv, a header first; None is an empty field."""
    stream = StringIO()
    writer = csv.DictWriter(stream, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def _images(point: Point, summary: Summary) -> str:
    return f"{point.images} of {summary.images}" if point.missing else str(point.images)


def _mean(mean: Mean, images: int, form: str) -> str:
    endless = f"{ENDLESS} {mean.infinite}" if mean.infinite else ""
    if mean.value is None:
        return endless or NOTHING
    count = str(mean.images) if mean.images != images else ""
    inside = ", ".join(part for part in (count, endless) if part)
    return f"{mean.value:{form}}" + (f" ({inside})" if inside else "")


def _delta(delta: Delta | NoDelta, form: str) -> str:
    if isinstance(delta, NoDelta):
        return NOTHING
    return f"{delta.value:{form}}" + (DOUBTFUL if delta.doubtful else "")


def _marked(delta: Delta | NoDelta, label: str, measure: Measure) -> str:
    trained = isinstance(delta, Delta) and measure.column in trained_on(label)
    return _delta(delta, "+.2f") + TRAINED * trained


def _images_of(found: ImagesDelta | NoDelta) -> str:
    if isinstance(found, NoDelta):
        return NOTHING
    whole = found.images + found.refused
    return f"{found.images} of {whole}" if found.refused else str(found.images)


def _value(found: Delta | ImagesDelta | NoDelta) -> float | None:
    return None if isinstance(found, NoDelta) else found.value
