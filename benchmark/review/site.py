"""The site of a leaderboard: one table a dataset, the report's page behind it, citations."""

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmark.answer import NOTHING
from benchmark.compare.bd import Comparison
from benchmark.compare.panel import anchor_among
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.measure.record import ShowsProgress
from benchmark.measure.request import Request
from benchmark.metrics.metric import Metric
from benchmark.review.claim import labels_of, name_among, summary_of
from benchmark.review.leaderboard import (
    Entry,
    audited_entries,
    citation,
    declared_entries,
    named,
    rank_value,
    sort_out,
)
from benchmark.review.request import SiteRequest
from benchmark.review.streams import label_of_row
from benchmark.review.submission import Submission, submissions
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.store import Store
from benchmark.show.bd_tables import short_name
from benchmark.show.page.document import sheet_html
from benchmark.show.page.picks import limit_of
from benchmark.show.page.write import write_page
from benchmark.show.report.report import write_reports
from benchmark.show.report.request import PAGE, ReportRequest
from benchmark.show.table import DOUBTFUL, MINUS
from benchmark.system.atomic import write_files
from benchmark.system.text import counted

RANKS = (
    "Only verified entries are ranked: their streams were decoded twice, to the recorded pixels, "
    "and every shown number was measured again. The others are below the line."
)


class Board(NamedTuple):
    """The entries of a dataset, ranked ones first."""

    dataset: str
    anchor: str
    metrics: Sequence[Metric]
    entries: Sequence[Entry]
    page: bool


def build_site(
    results: Path,
    asked: SiteRequest,
    request: Request,
    codecs: NamedCodecs,
    progress: ShowsProgress,
    say: Callable[[str], None],
) -> tuple[list[Board], list[Submission]]:
    """Audit submissions, write every file of the site, and return its boards and submissions.

    request: metrics, device, jobs, timeout, folders. Raises `UsageError` for choices that the
    results do not allow.
    """
    if asked.submissions is not None and not asked.submissions.is_dir():
        raise UsageError(f"{asked.submissions} is no folder: name that of the submissions")
    place = asked.submissions, asked.audits, request, codecs
    out = asked.out or results / "site"
    known = list(submissions(*place, progress, asked.seed))
    boards = []
    with TemporaryDirectory(prefix="rdrbench-") as name:
        audited = Path(name)
        declared, standing = sort_out(results, known, audited)
        stored = {folder.parent.name for folder in audited.glob("*/per_image")}
        for dataset in sorted({*declared, *stored}):
            metrics = [Metric.named(metric) for metric in request.metrics]
            entries: list[Entry] = []
            below = [row for of in declared[dataset].rows.values() for row in of]
            rows = Store(audited / dataset).table().rows(named=True) if dataset in stored else below
            anchor = name_among(asked.anchor, labels_of(rows))
            if asked.anchor and not anchor:
                which = "no verified rows" if dataset in stored else "no rows"
                raise UsageError(
                    f"the anchor {asked.anchor} has {which} of {dataset}: measure it there by "
                    "`bench run --verify`, or name another --anchor"
                )
            if dataset in stored:
                limit_of(asked.page_images)  # refused before anything is drawn
                wanted = ReportRequest(
                    audited, dataset, metrics=",".join(request.metrics), anchor=anchor,
                    out=out / dataset, page=True, data_dir=request.data_dir,
                )  # fmt: skip
                (report,) = write_reports(wanted)
                decoding = partial(progress, "decoding for the page")
                write_page(wanted, report, asked.page_images, False, decoding, say)
                anchor, metrics = report.anchor, [*report.measured]
                of_site = report.stored.summary, metrics, anchor, standing[dataset], rows
                entries = audited_entries(dataset, *of_site)
            if below:
                anchor = anchor or anchor_among(summary_of(rows, request.metrics)).label
                anchors = [row for row in rows if label_of_row(row) == anchor]
                entries += declared_entries(dataset, declared[dataset], metrics, anchor, anchors)
            boards.append(Board(dataset, anchor, metrics, entries, dataset in stored))
    if not boards:
        raise UsageError(f"{results} and the submissions hold no rows: measure or add some first")
    boards.sort(key=lambda board: (not board.page, board.dataset))
    cited = [citation(entry, asked.publisher) for board in boards for entry in board.entries]
    files: dict[str, str | bytes] = {
        "index.html": index_html(boards, known, asked.publisher),
        "citations.bib": "\n\n".join(bibtex for bibtex, _ in cited) + "\n",
        "citations.json": json.dumps([datacite for _, datacite in cited], indent=1) + "\n",
    }
    write_files(out, files, what="site")
    return boards, known


def index_html(boards: Sequence[Board], known: Sequence[Submission], publisher: str) -> str:
    """Return the first page of the site: a sortable table for each dataset."""
    links = "".join(f'<a href="#{escape(b.dataset)}">{escape(b.dataset)}</a>' for b in boards)
    sections = "\n".join(_section(board, publisher) for board in boards)
    wrong = "".join(
        f"<li>{escape(submission.name)}: {escape(submission.wrong)}</li>"
        for submission in known
        if submission.wrong
    )
    not_read = f'<section id="refused"><h2>Not read</h2><ul>{wrong}</ul></section>' if wrong else ""
    nav = f'<nav aria-label="Datasets">{links}</nav>'
    return sheet_html(
        "Leaderboard", RANKS, f"{nav}\n<main>{sections}{not_read}</main>", ["site.js"]
    )


def _section(board: Board, publisher: str) -> str:
    names = (short_name(metric, board.metrics) for metric in board.metrics)
    headers = ["rank", "system", *(f"BD-rate in {name} (%)" for name in names)]
    headers += ["class of cost", "decode (s/Mpx)", "kMAC/px", "parameters (M)", "memory (MB)"]
    head = "".join(
        f'<th scope="col" class="{"text" if name in ("system", "class of cost") else "number"}">'
        f'<button type="button">{escape(name)}</button></th>'
        for name in headers
    )
    groups = [[e for e in board.entries if e.audited], [e for e in board.entries if not e.audited]]
    bodies = []
    for kind, entries in zip(("audited", "declared"), groups, strict=True):
        values = [rank_value(entry) for entry in entries]
        lines = []
        for entry, value in zip(entries, values, strict=True):
            ranked = entry.audited and math.isfinite(value)
            rank = values.index(value) + 1 if ranked else None  # equal ones share it
            lines.append(_line(entry, board.metrics, rank, publisher))
        if lines:
            bodies.append(f'<tbody class="{kind}">{"".join(lines)}</tbody>')
    title = profile(board.dataset).title
    verified = counted(len(groups[0]), "verified entry", "verified entries")
    about = f"{verified}, {len(groups[1])} not verified"
    if board.anchor:
        about += f"; BD-rates (%) against {named(board.anchor, '')}, with 95 % intervals"
    name = escape(board.dataset)
    page = f' <a href="{name}/{PAGE}">Curves and pictures</a>' if board.page else ""
    choice = '<fieldset class="segments"><legend>Class of cost</legend></fieldset>'
    return (
        f'<section id="{name}" class="board"><h2>{escape(title)}</h2>'
        f'<p class="hint">{escape(about)}.{page}</p>'
        f'<div class="bar">{choice}</div>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead>{"".join(bodies)}</table></div>'
        "</section>"
    )


def _line(entry: Entry, metrics: Sequence[Metric], rank: int | None, publisher: str) -> str:
    cost = entry.cost
    cells = [_cell(str(rank) if rank else NOTHING, rank)]
    why = f'<p class="caption">{escape(entry.why)}</p>' if entry.why else ""
    bibtex, _ = citation(entry, publisher)
    cells.append(
        f'<th scope="row" class="text">{escape(entry.name)}{why}<details class="cite">'
        f"<summary>Origin, citation</summary>{_origin(entry)}<pre>{escape(bibtex)}</pre>"
        "</details></th>"
    )
    cells += [_rate(entry.rates.get(m.column), entry, m.column in entry.rates) for m in metrics]
    cells.append(f'<td class="text" data-value="{cost.decode_kmac or ""}">{escape(cost.kind)}</td>')
    both = [f"{kmac:.3g}" for kmac in (cost.encode_kmac, cost.decode_kmac) if kmac]
    cells.append(_number(cost.seconds))
    cells.append(_cell(" + ".join(both) or NOTHING, cost.decode_kmac))
    cells += [_number(cost.parameters, 1e-6), _number(cost.memory_bytes, 1e-6)]
    return f'<tr data-class="{escape(cost.kind)}">{"".join(cells)}</tr>'


def _origin(entry: Entry) -> str:
    row, audit, pack = entry.row, entry.origin.audit, entry.origin.pack
    facts = {
        "codec": entry.label,
        "version": row["codec_version"],
        "call": row["command"],
        "encoded on": row.get("machine"),
        "audit": f"{audit.streams} streams, on {audit.machine}" if audit and entry.audited else "",
        "pack": f"{pack.path.name}, sha256 {pack.sha256}" if pack else "",
        "protocols": f"{row['coding_protocol']}; {counted(entry.points, 'point')}, "
        f"{counted(entry.images, 'image')}",
        "paper": " ".join((entry.origin.statement.doi, entry.origin.statement.url)).strip(),
    }
    shown = ((term, str(text)) for term, text in facts.items() if text)
    lines = (f"<div><dt>{term}</dt><dd>{escape(text)}</dd></div>" for term, text in shown)
    return f'<dl class="facts">{"".join(lines)}</dl>'


def _rate(comparison: Comparison | None, entry: Entry, known: bool) -> str:
    if comparison is None:  # the anchor itself, or nothing to compare with
        return _cell("0", 0.0) if known else _cell(NOTHING, None)
    rate, interval = comparison.rate, comparison.rate_interval
    if rate.value is None:
        return _cell(NOTHING, None, rate.why)
    ends = f" [{interval.low:+z.1f}, {interval.high:+z.1f}]" if interval else ""
    return _cell(f"{rate.value:+z.1f}{DOUBTFUL * rate.doubtful}{ends}", rate.value)


def _number(value: float | None, scale: float = 1.0) -> str:
    return _cell(NOTHING if value is None else f"{value * scale:.3g}", value)


def _cell(text: str, value: float | None, title: str = "") -> str:
    shown = escape(MINUS.sub("−", text))
    of = "" if value is None else f"{value:.6g}"
    why = f' title="{escape(title)}"' if title else ""
    return f'<td class="number" data-value="{of}"{why}>{shown}</td>'
