"""Leaderboard site: audited packs in order of BD-rate, then other packs with reasons."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from benchmark.answer import NOTHING, Absent
from benchmark.compare.anchor import choose_anchor
from benchmark.compare.bd import Record, compare
from benchmark.compare.rule import Rule
from benchmark.datasets.dataset import profile
from benchmark.errors import BadPack, StoreError, UsageError
from benchmark.facts import facts_of
from benchmark.measure.record import ProgressFactory
from benchmark.measure.request import Request
from benchmark.metrics.metric import Metric
from benchmark.review.claim import find_label, summarise_common
from benchmark.review.decode import decode
from benchmark.review.questions import Evidence, check_numbers, check_streams
from benchmark.review.sent import label_of_row, open_photographs, scored_metrics, sent_rows
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.edition import labels_of, titles_of_texts
from benchmark.rows.packs.pack import ROWS, Row, open_pack
from benchmark.rows.store import Store, stores_below
from benchmark.show.bd_rates import interval_text, number_text, short_name
from benchmark.show.page.document import sheet_html
from benchmark.show.table import Table, html
from benchmark.spec import CodecSpec
from benchmark.system.text import group_by_key

INTRODUCTION = (
    "Only audited packs are ranked: they have every image of the dataset, each stream was decoded "
    "to the recorded pixels, and every number shown was measured again."
)


class Entry(NamedTuple):
    """Codec variant of a pack on a dataset."""

    dataset: str
    pack: str
    label: str
    refusal: str  # reason why it is not audited; "" if it is audited
    rows: Sequence[Row]  # with values measured here
    comparisons: Sequence[Record | None] = ()  # against the anchor, by metric; None: not compared

    @property
    def value(self) -> float:
        """BD-rate (%) in the first metric; infinity if there is none."""
        comparison = self.comparisons[0] if self.comparisons else None
        rate: float | None = comparison["bd_rate_percent"] if comparison else None
        return math.inf if rate is None else rate


class Board(NamedTuple):
    """Entries of a dataset: audited ones in order of BD-rate, then others."""

    dataset: str
    anchor: str
    metrics: Sequence[Metric]
    entries: Sequence[Entry]
    rule: Rule


def audited_packs(
    folder: Path, request: Request, codecs: NamedCodecs, progress: ProgressFactory
) -> tuple[list[Entry], list[Absent]]:
    """Decode the packs in a folder; return entries and unreadable packs; `UsageError` if none."""
    entries, unreadable_packs = list[Entry](), list[Absent]()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".tar" or (path / ROWS).is_file():
            try:
                entries += _audit_pack(path, request, codecs, progress)
            except (BadPack, StoreError) as error:
                unreadable_packs.append(Absent(path.name, str(error)))
    if not entries and not unreadable_packs:
        raise UsageError(f"{folder} holds no pack: `bench pack export` writes a pack")
    return entries, unreadable_packs


def _audit_pack(
    path: Path, request: Request, codecs: NamedCodecs, progress: ProgressFactory
) -> Iterator[Entry]:
    """Decode a pack; yield one entry per codec and dataset; raise `BadPack` or `StoreError`."""
    if path.is_symlink():
        raise StoreError("it is a link")
    sent_pack = sent_rows(open_pack(path))
    dataset_names = dict.fromkeys(str(row["dataset"]) for row in sent_pack.rows)
    photographs, reasons = open_photographs(dataset_names, (), request)
    metrics = scored_metrics(request)
    decoded_streams = decode([sent_pack], photographs, metrics, request, codecs, progress)
    entry_keys = (
        (str(stream.row["dataset"]), label_of_row(stream.row)) for stream in decoded_streams
    )
    for (dataset, label), streams in group_by_key(
        zip(entry_keys, decoded_streams, strict=True)
    ).items():
        dataset_photographs = {dataset: photographs[dataset]} if dataset in photographs else {}
        evidence = Evidence(streams, (), (), dataset_photographs, reasons, metrics, dataset)
        name, refusal = dataset.partition(":")[0], find_refusal(evidence)
        yield Entry(name, path.stem, label, refusal, evidence.rows)


def find_refusal(evidence: Evidence) -> str:
    """Return why a pack is incomplete or not reproduced; "" if it is audited."""
    answers = check_streams(evidence), check_numbers(evidence)
    return "; ".join(
        answer.sentence for answer in answers if answer.verdict not in ("yes", "partly")
    )


def make_board(
    dataset: str,
    entries: Sequence[Entry],
    named_anchor: str,
    results: Path,
    names: Sequence[str],
    rule: Rule,
) -> Board:
    """Compare entries with the anchor, in metrics; `UsageError` if the anchor has no rows."""
    folder = stores_below(results).get(dataset)
    stored_rows = Store(folder).table().rows(named=True) if folder and named_anchor else []
    # The anchor's rows come from an audited pack, else from the results, else from any pack
    rows_by_label = {entry.label: entry.rows for entry in entries}
    rows_by_label |= group_by_key(
        (label_of_row(row), row) for row in stored_rows if row["status"] == "ok"
    )
    rows_by_label |= {entry.label: entry.rows for entry in entries if not entry.refusal}
    all_rows = [row for rows in rows_by_label.values() for row in rows]
    anchor = find_label(named_anchor, all_rows)
    if named_anchor and not anchor:
        raise UsageError(
            f"the anchor {named_anchor} has no rows of {dataset}: choose another --anchor"
        )
    if not named_anchor and all_rows:
        anchor = choose_anchor(summarise_common(all_rows, names)).label
    metrics, ranked_entries = [Metric.named(name) for name in names], []
    for entry in entries:
        entry_records: list[Record | None] = [None] * len(metrics)
        if anchor and entry.rows and entry.label != anchor:
            summary = summarise_common([*entry.rows, *rows_by_label[anchor]], names)
            editions = {label: edition for edition, label in labels_of(summary.editions).items()}
            comparisons = compare(summary, metrics, editions[anchor], rule)
            if entry.label in editions:
                edition = editions[entry.label]
                entry_records = [comparisons.get((edition, metric.column)) for metric in metrics]
        ranked_entries.append(entry._replace(comparisons=entry_records))

    def sort_key(entry: Entry) -> tuple[bool, float]:
        return bool(entry.refusal), 0.0 if entry.label == anchor else entry.value

    ranked_entries.sort(key=sort_key)
    return Board(dataset, anchor, metrics, ranked_entries, rule)


def index_html(boards: Sequence[Board], unreadable_packs: Sequence[Absent]) -> str:
    """Return the site: a table for each dataset, and the unreadable packs."""
    sections = "".join(map(_board_section, boards))
    if unreadable_packs:
        rows = tuple((absence.what, absence.why) for absence in unreadable_packs)
        table = Table(("pack", "why"), rows, 2)
        sections += f"<section><h2>Not read</h2>{html(table, 'Not read', {}, wordy=True)}</section>"
    return sheet_html("Leaderboard", INTRODUCTION, f'<main class="review">{sections}</main>')


def _board_section(board: Board) -> str:
    titles = titles_of_texts([*(entry.label for entry in board.entries), board.anchor])
    audited_entries = [entry for entry in board.entries if not entry.refusal]
    values = [0.0 if entry.label == board.anchor else entry.value for entry in audited_entries]
    lines = []
    for index, entry in enumerate(board.entries):
        rank = NOTHING
        if index < len(audited_entries) and math.isfinite(values[index]):
            rank = str(1 + sum(value < values[index] for value in values))
        state = f"not audited: {entry.refusal}" if entry.refusal else "audited"
        is_anchor = entry.label == board.anchor
        rate_texts = ["anchor" if is_anchor else _bd_rate_text(rate) for rate in entry.comparisons]
        kmac = facts_of(CodecSpec.parse_row(entry.rows[0])).work.decode_kmac if entry.rows else None
        work = f"{kmac:.3g}" if kmac else NOTHING
        lines.append((titles[entry.label], entry.pack, state, rank, *rate_texts, work))
    metric_headers = [
        f"BD-rate in {short_name(metric, board.metrics)} (%)" for metric in board.metrics
    ]
    headers = ("system", "pack", "state", "rank", *metric_headers, "kMAC/px")
    note = ""
    if board.anchor:
        note = f"BD-rates against {titles[board.anchor]}{board.rule.words}, with 95 % intervals."
    table_html = html(Table(headers, tuple(lines), 3), board.dataset, {}, wordy=True)
    title = escape(profile(board.dataset).title)
    return f'<section><h2>{title}</h2><p class="hint">{escape(note)}</p>{table_html}</section>'


def _bd_rate_text(comparison: Record | None) -> str:
    if comparison is None or comparison["bd_rate_percent"] is None:
        return NOTHING
    return f"{number_text(comparison, form='+z.1f')} {interval_text(comparison) or ''}".rstrip()
