"""A ranking as a table, and as the sentence on the user's codec that a report begins with."""

from collections.abc import Mapping, Sequence
from functools import partial

from benchmark.compare.bd import Rank, Ranking
from benchmark.compare.curves import Delta, NoDelta
from benchmark.compare.panel import subjects
from benchmark.metrics.measure import Measure, remedies
from benchmark.registry import METRICS, metric_named
from benchmark.rows.systems import marked_bundled
from benchmark.show.bd_tables import DOUBTFUL_NOTE, THREE_POINTS, ends_text, range_text, short_name
from benchmark.show.means import chosen_notes
from benchmark.show.sections import listed, metric_names
from benchmark.show.table import DOUBTFUL, NOTHING, Column, Table, seconds_text
from benchmark.system.text import counted

NO_METRIC = "no metric that ranks codecs was measured"


def ranking_table(
    ranking: Ranking,
    intervals: bool = False,
    names: Mapping[str, str] | None = None,
    marks: bool = False,
) -> Table:
    """Return a row for each codec, best first; columns that would be empty are left out.

    intervals: with the 95 % interval of each BD-rate. names: of figures, by label, to put first.
    marks: mark the labels of bundled codecs, as names do.
    """
    ranks = ranking.ranks
    several = len({rank.images for rank in ranks}) > 1
    bundled = ranking.bundled if marks else frozenset()
    columns = [Column("codec", lambda rank: marked_bundled(rank.label, rank.label in bundled))]
    if names:
        columns = [Column("codec", lambda rank: names[rank.label]), Column("spec", "label")]
    columns += [
        Column(short_name(of, ranking.measures), partial(_rank_cell, ranks, place, intervals), str)
        for place, of in enumerate(ranking.measures)
    ]
    columns += [
        Column("bpp", "bpp", lambda ends: range_text(*ends)),
        Column("encode", "encode_seconds", seconds_text),
        Column("decode", "decode_seconds", seconds_text),
        Column("images", lambda rank: rank.images if several else None, "d"),
    ]
    table = Table.of(columns, ranks).filled()
    doubtful = any(DOUBTFUL in cell for row in table.rows for cell in row)
    notes = [DOUBTFUL_NOTE] if doubtful else []
    notes += filter(None, (absent_note(ranking, *absent) for absent in ranking.absent))
    return table._replace(notes=(*notes, *chosen_notes(rank.label for rank in ranks)))


def absent_note(ranking: Ranking, measure: Measure, why: str) -> str:
    """Return the sentence on a metric that some codec has no value of, with what fills it in."""
    names = [name for name in METRICS if metric_named(name).column == measure.column]
    where = f" where there is {NOTHING}" if measure in ranking.measures else ""
    return f"No {measure.label}{where}: {remedies(names, why, ranking.rows)}." if names else ""


def ranking_heading(ranking: Ranking, names: Mapping[str, str]) -> str:
    """Return the line above the table, on what its numbers are. names: of figures, by label."""
    if not ranking.measures:
        return NO_METRIC
    metrics, anchor = metric_names(ranking.measures), names[ranking.anchor]
    anchor = f"{anchor} ({ranking.why})" if ranking.why else anchor
    return f"BD-rate (%) against {anchor} in {metrics}, best first"


def headline(
    ranking: Ranking, images: int, names: Mapping[str, str], named: Sequence[str] = ()
) -> str:
    """Return the sentence that a report begins with: the user's codec beside the anchor.

    Of several variants it is the best by each measure. names: of figures, by label. named: codecs
    that were asked for.

    >>> headline(Ranking("jpeg", (), ()), 4, {})
    'There is no codec to compare with on 4 images.'
    """
    where = f"on {counted(images, 'image')}"
    ranks = {rank.label: rank for rank in ranking.ranks}
    labels = subjects(ranks, ranking.anchor, named)
    if not labels:
        alone = f"{names[ranking.anchor]} has no other codec" if ranks else "There is no codec"
        return f"{alone} to compare with {where}."
    anchor, parts, subject = names[ranking.anchor], list[str](), ""
    for place, measure in enumerate(ranking.measures):
        rates = [(ranks[label].rates[place], label) for label in labels]
        known = [(rate.value, label, rate) for rate, label in rates if isinstance(rate, Delta)]
        if known:
            value, label, rate = min(known)
            who = f"{names[label]} needs " if label != subject else ""
            than = "" if parts else f" than {anchor}"
            share = f" (the {100 * rate.overlap:.0f} % that both reach)" if rate.doubtful else ""
            bits = _more_or_fewer(value, than)
            parts.append(f"{who}{bits} at equal {metric_names([measure])}{share}")
            subject = label
    if parts:
        return f"{listed(parts)} {where}."
    reasons = [rate.reason for rate in ranks[labels[0]].rates if isinstance(rate, NoDelta)]
    why = f": {next(iter(reasons), NO_METRIC)}"
    return f"{names[labels[0]]} cannot be compared with {anchor} {where}{why}."


def _more_or_fewer(percent: float, than: str) -> str:
    """Return a difference of bits in words.

    >>> _more_or_fewer(12.4, " than VTM"), _more_or_fewer(-0.2, " than VTM")
    ('12 % more bits than VTM', 'as many bits as VTM (-0.2 %)')
    """
    if abs(percent) < 0.5:
        return f"as many bits{than.replace(' than', ' as')} ({percent:+.1f} %)"
    return f"{abs(percent):.0f} % {'more' if percent > 0 else 'fewer'} bits{than}"


def _rank_cell(ranks: Sequence[Rank], place: int, intervals: bool, rank: Rank) -> str | None:
    """Return a BD-rate; without intervals digits stay below each other, whatever has a mark."""

    def delta(rank: Rank) -> Delta | None:
        rate = rank.rates[place] if place < len(rank.rates) else None
        return rate if isinstance(rate, Delta) else None

    rate = delta(rank)
    if rate is None:
        return None
    text = f"{rate.value:+z.1f}" if rate.value else "0"
    text += THREE_POINTS if rate.three_points else ""
    if intervals:
        text = f"{text} {ends_text(rank.intervals[place])}".rstrip()
    elif not rate.doubtful and any(of.doubtful for of in map(delta, ranks) if of):
        return f"{text} "
    return f"{text}{DOUBTFUL}" if rate.doubtful else text
