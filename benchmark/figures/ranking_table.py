"""The ranking of codecs as a table and in a sentence."""

from collections.abc import Mapping

from benchmark.analysis.ranking import Rank, Ranking
from benchmark.analysis.rate_distortion import Delta, NoDelta
from benchmark.figures.table import DOUBTFUL, DOUBTFUL_NOTE, NOTHING, Table
from benchmark.metrics.measure import Measure
from benchmark.system.text import counted


def ranking_table(
    ranking: Ranking, intervals: bool = False, names: Mapping[str, str] | None = None
) -> Table:
    """Return a row for each codec, best first; columns that would be empty are left out.

    intervals: with the 95 % interval of each BD-rate. names: of figures, by label, to put first.
    """
    ranks = ranking.ranks
    counts = {rank.images for rank in ranks}
    labels = [rank.label for rank in ranks]
    columns = {"codec": [names[label] for label in labels], "spec": labels} if names else {}
    columns = columns or {"codec": labels}
    for place, measure in enumerate(ranking.measures):
        cells = [_rate(rank, place, intervals) for rank in ranks]
        # Digits stay below each other where some cells have a mark.
        marked = not intervals and any(cell.endswith(DOUBTFUL) for cell in cells)
        columns[short_name(measure)] = [
            cell + " " * (marked and bool(cell) and not cell.endswith(DOUBTFUL)) for cell in cells
        ]
    columns |= {
        "bpp": [_range(*rank.bpp) if rank.bpp else "" for rank in ranks],
        "encode": [_seconds(rank.encode_seconds) for rank in ranks],
        "decode": [_seconds(rank.decode_seconds) for rank in ranks],
        "images": [str(rank.images) if len(counts) > 1 else "" for rank in ranks],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    filled = [[cell or NOTHING for cell in cells] for cells in shown.values()]
    rows = tuple(zip(*filled, strict=True))
    notes = (DOUBTFUL_NOTE,) * any(cell.endswith(DOUBTFUL) for row in rows for cell in row)
    return Table(tuple(shown), rows, 2 if names else 1, notes)


def heading(ranking: Ranking) -> str:
    """Return the line above the table, on what its numbers are."""
    if not ranking.measures:
        return "no metric that ranks codecs was measured"
    names = " and ".join(map(_whole_name, ranking.measures))
    return f"BD-rate (%) against {ranking.anchor} in {names}, best first"


def headline(ranking: Ranking, images: int, dataset: str, names: Mapping[str, str]) -> str:
    """Return the sentence that a report begins with: the best codec by each measure.

    names: of figures, by label.

    >>> headline(Ranking("jpeg", (), ()), 4, "sample", {})
    'No codec can be ranked on sample.'
    """
    best: dict[str, list[str]] = {}
    for place, measure in enumerate(ranking.measures):
        sure = [(rank.rates[place], rank.label) for rank in ranking.ranks]
        rates = [
            (rate.value, label)
            for rate, label in sure
            if isinstance(rate, Delta) and not rate.doubtful
        ]
        value, label = min(rates, default=(0.0, ranking.anchor))
        if label != ranking.anchor:
            text = f"{abs(value):.0f} % fewer bits at equal {_whole_name(measure)}"
            best.setdefault(label, []).append(text)
    if not best:
        return f"No codec can be ranked on {dataset}."
    parts = [f"{names[label]} needs {' and '.join(texts)}" for label, texts in best.items()]
    where = f"{counted(images, 'image')} of {dataset}"
    return f"Compared with {names[ranking.anchor]} on {where}, {', and '.join(parts)}."


def short_name(measure: Measure) -> str:
    """Return a metric's label without what is in brackets.

    >>> short_name(Measure("lpips_squeeze", "LPIPS (SqueezeNet)", "lower"))
    'LPIPS'
    """
    return measure.label.partition(" (")[0]


def _whole_name(measure: Measure) -> str:
    return measure.label.removesuffix(" (dB)")


def _rate(one: Rank, place: int, intervals: bool) -> str:
    if place >= len(one.rates) or isinstance(one.rates[place], NoDelta):
        return ""
    rate, interval = one.rates[place], one.intervals[place]
    assert isinstance(rate, Delta)
    text = f"{round(rate.value, 1) + 0.0:+.1f}" if rate.value else "0"
    if intervals and interval:
        text += f" [{interval[0]:+.1f}, {interval[1]:+.1f}]"
    return text + DOUBTFUL * rate.doubtful


def _range(low: float, high: float) -> str:
    """Format a range of rates.

    >>> _range(0.1, 1.25), _range(0.5, 0.5)
    ('0.10 to 1.25', '0.50')
    """
    return f"{low:.2f} to {high:.2f}" if high > low else f"{low:.2f}"


def _seconds(value: float | None) -> str:
    """Format seconds with two digits.

    >>> _seconds(0.00064), _seconds(12.3), _seconds(345.6)
    ('0.64 ms', '12 s', '346 s')
    """
    if value is None:
        return ""
    if value < 0.1:
        return f"{1000 * value:.2g} ms"
    return f"{value:.2g} s" if value < 99.5 else f"{value:.0f} s"
