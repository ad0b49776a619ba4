"""The report of a dataset as one short markdown text: a sentence, a ranking, three figures."""

import math
from collections.abc import Mapping, Sequence

from benchmark.analysis.ranking import Ranking
from benchmark.analysis.summarise import Summary
from benchmark.figures.bd_table import heading, headline, ranking_table
from benchmark.figures.labels import Drawing
from benchmark.figures.table import markdown
from benchmark.metrics.measure import Measure
from benchmark.system.text import counted, markdown_text, one_line

SHOWN_FIGURES = 3
LONGEST_RANKING = 50


def report_text(
    title: str,
    summary: Summary,
    ranking: Ranking,
    drawings: Mapping[str, Drawing],
    measures: Sequence[Measure],
    notes: Sequence[str],
    tables: Sequence[str],
    names: Mapping[str, str],
    command: str = "",
) -> str:
    """Return the report; the same results and options give the same text.

    measures: those with values. notes: sentences on the photographs and on what is left out.
    tables: names of files. names: of codecs in figures, by label. command: that makes it again.
    """
    counts = (
        counted(summary.images, "image"),
        counted(len(summary.labels), "codec"),
        counted(len(summary.points), "point"),
    )
    table = ranking_table(ranking, True, names)
    more = len(table.rows) - LONGEST_RANKING
    table = table._replace(rows=table.rows[:LONGEST_RANKING])
    shown = shown_figures(list(drawings), measures)
    others = [name for name in drawings if name not in shown]
    parts = [
        f"# {markdown_text(title)}",
        markdown_text(headline(ranking, summary.images, title, names)),
        f"{', '.join(counts)}. Protocols, builds and what is left out: [details](details.md).",
        f"{markdown_text(heading(ranking))}:",
        markdown(table),
    ]
    parts += [f"And {more} more in bd_rate.csv."] * (more > 0)
    parts += [f"![{name}]({name}.png)\n\n{markdown_text(drawings[name].caption)}" for name in shown]
    parts += ["No points can be drawn."] * (not shown)
    parts += ["\n".join(f"- {markdown_text(note)}" for note in notes)] * bool(notes)
    links = [f"[{name}]({name}.png)" for name in others] + [f"[{one}]({one})" for one in tables]
    parts += [f"Beside it: {', '.join(links)}."] * bool(links)
    parts += [f"Made by `{one_line(command)}`."] * bool(command)
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def shown_figures(names: Sequence[str], measures: Sequence[Measure]) -> list[str]:
    """Return the figures that the text shows: the overview, realism, times, else the first ones.

    names: of all figures, in order.
    """
    realism = [
        measure for measure in measures if measure.kind == "realism" and measure.column in names
    ]
    best = min(realism, key=lambda one: one.realism or math.inf, default=None)
    wanted = ["curves", *([best.column] if best else []), "timing", *names]
    return [name for name in dict.fromkeys(wanted) if name in names][:SHOWN_FIGURES]
