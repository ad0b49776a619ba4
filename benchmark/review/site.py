"""The site of a leaderboard: audited packs by BD-rate, the others below, with why."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from benchmark.answer import NOTHING, Absent
from benchmark.compare.anchor import anchor_among
from benchmark.compare.bd import Record, compare
from benchmark.compare.rule import Rule
from benchmark.datasets.dataset import profile
from benchmark.errors import BadPack, StoreError, UsageError
from benchmark.facts import facts_of
from benchmark.measure.record import ShowsProgress
from benchmark.measure.request import Request
from benchmark.metrics.metric import Metric
from benchmark.review.claim import name_among, summary_of
from benchmark.review.decode import decode
from benchmark.review.questions import Reviewed, decodes, numbers
from benchmark.review.sent import label_of_row, open_photographs, scored_metrics, sent_rows
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.edition import labels_of, names_of_texts
from benchmark.rows.packs.pack import ROWS, Row, open_pack
from benchmark.rows.store import Store, stores_below
from benchmark.show.bd_rates import interval_text, number_text, short_name
from benchmark.show.page.document import sheet_html
from benchmark.show.table import Table, html
from benchmark.spec import CodecSpec
from benchmark.system.text import by_key

RANKS = (
    "Only packs that were audited are ranked: every image of the dataset is there, each stream was "
    "decoded to the recorded pixels, and every shown number was measured again."
)


class Entry(NamedTuple):
    """A codec variant of a pack on a dataset."""

    dataset: str
    pack: str  # its name
    label: str
    why: str  # it is not audited; empty where it is
    rows: Sequence[Row]  # with the values measured here
    rates: Sequence[Record | None] = ()  # against the anchor, by metric; None: no comparison

    @property
    def value(self) -> float:
        """BD-rate by the first metric; infinity without a number."""
        comparison = self.rates[0] if self.rates else None
        rate: float | None = comparison["bd_rate_percent"] if comparison else None
        return math.inf if rate is None else rate


class Board(NamedTuple):
    """The entries of a dataset, audited ones first, by BD-rate."""

    dataset: str
    anchor: str
    metrics: Sequence[Metric]
    entries: Sequence[Entry]
    rule: Rule


def audited_packs(
    folder: Path, request: Request, codecs: NamedCodecs, progress: ShowsProgress
) -> tuple[list[Entry], list[Absent]]:
    """Decode the packs of a folder; return their entries, and packs that cannot be read.

    request: metrics, device, jobs, timeout, folders. Raises `UsageError` where there is no pack.
    """
    entries, refused = list[Entry](), list[Absent]()
    for place in sorted(folder.iterdir()):
        if place.suffix == ".tar" or (place / ROWS).is_file():
            try:
                entries += _entries(place, request, codecs, progress)
            except (BadPack, StoreError) as error:
                refused.append(Absent(place.name, str(error)))
    if not entries and not refused:
        raise UsageError(f"{folder} holds no pack: `bench pack export` writes one")
    return entries, refused


def _entries(
    place: Path, request: Request, codecs: NamedCodecs, progress: ShowsProgress
) -> Iterator[Entry]:
    """Decode a pack; yield an entry for each codec on each dataset. `BadPack`, `StoreError`."""
    if place.is_symlink():
        raise StoreError("it is a link")
    sent = sent_rows(open_pack(place))
    own = dict.fromkeys(str(row["dataset"]) for row in sent.rows)
    photographs, missing = open_photographs(own, (), request)
    metrics = scored_metrics(request)
    done = decode([sent], photographs, metrics, request, codecs, progress)
    keys = ((str(it.row["dataset"]), label_of_row(it.row)) for it in done)
    for (dataset, label), alike in by_key(zip(keys, done, strict=True)).items():
        known = {dataset: photographs[dataset]} if dataset in photographs else {}
        of = Reviewed(alike, (), (), known, missing, metrics, dataset)
        yield Entry(dataset.partition(":")[0], place.stem, label, why_not(of), of.rows)


def why_not(of: Reviewed) -> str:
    """Return why streams are not complete or not reproduced; empty where they are."""
    answers = decodes(of), numbers(of)
    return "; ".join(it.sentence for it in answers if it.verdict not in ("yes", "partly"))


def board(
    dataset: str,
    entries: Sequence[Entry],
    asked: str,
    results: Path,
    names: Sequence[str],
    rule: Rule,
) -> Board:
    """Compare entries with the anchor, of an audited pack, else of the results, else of any pack.

    names: of metrics. Raises `UsageError` for an anchor without rows.
    """
    folder = stores_below(results).get(dataset)
    stored = Store(folder).table().rows(named=True) if folder and asked else []
    known = {entry.label: entry.rows for entry in entries}
    known |= by_key((label_of_row(row), row) for row in stored if row["status"] == "ok")
    known |= {entry.label: entry.rows for entry in entries if not entry.why}
    every = [row for rows in known.values() for row in rows]
    anchor = name_among(asked, every)
    if asked and not anchor:
        raise UsageError(f"the anchor {asked} has no rows of {dataset}: name another --anchor")
    if not asked and every:
        anchor = anchor_among(summary_of(every, names)).label
    metrics, compared = [Metric.named(name) for name in names], []
    for entry in entries:
        rates: list[Record | None] = [None] * len(metrics)
        if anchor and entry.rows and entry.label != anchor:
            summary = summary_of([*entry.rows, *known[anchor]], names)
            editions = {label: of for of, label in labels_of(summary.editions).items()}
            of_pair = compare(summary, metrics, editions[anchor], rule)
            if edition := editions.get(entry.label):
                rates = [of_pair.get((edition, metric.column)) for metric in metrics]
        compared.append(entry._replace(rates=rates))
    compared.sort(key=lambda it: (bool(it.why), 0.0 if it.label == anchor else it.value))
    return Board(dataset, anchor, metrics, compared, rule)


def index_html(boards: Sequence[Board], refused: Sequence[Absent]) -> str:
    """Return the site: a table for each dataset, and the packs that are not read."""
    sections = "".join(map(_section, boards))
    if refused:
        table = Table(("pack", "why"), tuple((it.what, it.why) for it in refused), 2)
        sections += f"<section><h2>Not read</h2>{html(table, 'Not read', {}, wordy=True)}</section>"
    return sheet_html("Leaderboard", RANKS, f'<main class="review">{sections}</main>')


def _section(of: Board) -> str:
    titles = names_of_texts([*(entry.label for entry in of.entries), of.anchor])
    audited = [entry for entry in of.entries if not entry.why]
    values = [0.0 if entry.label == of.anchor else entry.value for entry in audited]
    lines = []
    for place, entry in enumerate(of.entries):
        rank = NOTHING
        if place < len(audited) and math.isfinite(values[place]):
            rank = str(1 + sum(value < values[place] for value in values))
        state = f"not audited: {entry.why}" if entry.why else "audited"
        is_anchor = entry.label == of.anchor
        rates = ["anchor" if is_anchor else _rate(rate) for rate in entry.rates]
        kmac = facts_of(CodecSpec.of_row(entry.rows[0])).work.decode_kmac if entry.rows else None
        work = f"{kmac:.3g}" if kmac else NOTHING
        lines.append((titles[entry.label], entry.pack, state, rank, *rates, work))
    heads = [f"BD-rate in {short_name(metric, of.metrics)} (%)" for metric in of.metrics]
    headers = ("system", "pack", "state", "rank", *heads, "kMAC/px")
    note = ""
    if of.anchor:
        note = f"BD-rates against {titles[of.anchor]}{of.rule.words}, with 95 % intervals."
    shown = html(Table(headers, tuple(lines), 3), of.dataset, {}, wordy=True)
    title = escape(profile(of.dataset).title)
    return f'<section><h2>{title}</h2><p class="hint">{escape(note)}</p>{shown}</section>'


def _rate(comparison: Record | None) -> str:
    if comparison is None or comparison["bd_rate_percent"] is None:
        return NOTHING
    return f"{number_text(comparison, form='+z.1f')} {interval_text(comparison) or ''}".rstrip()
