"""A review: what an author sent, opened, decoded and compared; answers as HTML, markdown, JSON."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.answer import Absent
from benchmark.compare.rule import Rule
from benchmark.errors import BenchError, Unavailable
from benchmark.measure.cells import Conditions
from benchmark.measure.record import ShowsProgress
from benchmark.measure.request import Request
from benchmark.measure.select import open_sources, with_stored_name
from benchmark.review.claim import answer, judge, parse_claim
from benchmark.review.decode import decode
from benchmark.review.questions import Question, Reviewed, decodes, numbers
from benchmark.review.sent import open_photographs, reconstructed, scored_metrics, sent_rows
from benchmark.review.supplement import open_supplement
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.store import stores_below
from benchmark.show.page.document import sheet_html
from benchmark.show.sections import capitalised, markdown, section
from benchmark.show.table import Table, html
from benchmark.system.machine import machine

LONG_CELL = 60  # characters, which break into lines
WORTH = (
    "A verdict is on the files that were sent, on this machine: it says that bytes, pictures and "
    "numbers belong together, not that the method is new, nor that the paper describes it."
)


class Review(NamedTuple):
    """Answers on a supplement, and what they were made on."""

    path: Path
    dataset: str
    answers: Sequence[Question]
    left_out: Sequence[Absent]  # files that were not read

    @property
    def wrong(self) -> bool:
        """True if anything that was sent is contradicted."""
        return any(answer.verdict == "no" for answer in self.answers)


def review(
    path: Path,
    into: Path,
    request: Request,
    asked: str,
    claims: Sequence[str],
    results: Path,
    rule: Rule,
    codecs: NamedCodecs,
    progress: ShowsProgress,
) -> Review:
    """Review a supplement; `into` is an empty folder for its files.

    request: metrics, device, jobs, timeout and folders. asked: a dataset; empty: that of its rows,
    else kodak. results: of anchors that were not sent. Raises `UsageError` for what cannot be
    reviewed at all.
    """
    parsed = [parse_claim(text) for text in claims]
    supplement = open_supplement(path, into)
    sent = [*map(sent_rows, supplement.packs)]
    own = [str(row["dataset"]) for of_pack in sent for row in of_pack.rows]
    dataset = asked or (max(own, key=own.count) if own else "kodak")
    photographs, missing = open_photographs([n for n in own if n != asked], (), request)
    try:
        if asked or not own:
            opened = open_sources(replace(request, dataset=dataset))
            opened = with_stored_name(opened, stores_below(results))
            dataset = opened.dataset.name
            photographs[dataset] = opened.images
    except Unavailable as why:
        missing[dataset] = str(why)
    metrics = scored_metrics(request, *(claim.metric for claim in parsed))
    streams = decode(sent, photographs, metrics, request, codecs, progress)
    streams = [it._replace(reason=it.reason.replace(f"{into}/", "")) for it in streams]
    left_out, rows = [*supplement.left_out], []
    conditions = Conditions.of(replace(request, metrics=tuple(metrics)), into, jobs=1)
    for sizes in supplement.reconstructions:
        try:
            rows += reconstructed(sizes, photographs.get(dataset, ()), dataset, conditions)
        except BenchError as error:
            why_not = str(error).replace(f"{sizes.parent}/", "")
            left_out.append(Absent(f"{sizes.parent.name}/{sizes.name}", why_not))
    of = Reviewed(streams, rows, supplement.curves, photographs, missing, metrics, dataset)
    judged = (answer(judge(it, of.rows_of_dataset, results, dataset, rule), of) for it in parsed)
    return Review(path, dataset, [decodes(of), numbers(of), *judged], left_out)


def html_text(review: Review) -> str:
    """Return the review as one HTML file, in the style of the report's page."""
    sections = [
        f'<section><h2><span class="verdict {of.verdict}">{of.verdict}</span> '
        f'{escape(of.question)}</h2><p class="finding">{escape(capitalised(of.sentence))}</p>'
        f"{''.join(_details(name, table) for name, table in of.tables.items())}</section>"
        for of in review.answers
    ]
    files = _details("files that were not read", _not_read(review)) if review.left_out else ""
    main = f'<main class="review">{"".join(sections)}{files}</main>'
    return sheet_html(f"Review of {review.path.name}", _lede(), main)


def _details(name: str, table: Table) -> str:
    wordy = any(len(cell) > LONG_CELL for row in table.rows for cell in row)
    summary = f"{capitalised(name)} ({len(table.rows)})"
    return f"<details><summary>{summary}</summary>{html(table, name, {}, wordy=wordy)}</details>"


def markdown_review(review: Review) -> str:
    """Return the review as markdown: a summary, then each question with its rows."""
    summary = [f"**{answer.verdict}**: {answer.question}" for answer in review.answers]
    parts = [
        section(
            of.name, f"{of.question} {of.verdict}", capitalised(of.sentence), *of.tables.values()
        )
        for of in review.answers
    ]
    if review.left_out:
        parts.append(section("files", "Files that were not read", _not_read(review)))
    return markdown(section("review", f"Review of {review.path.name}", _lede(), summary, *parts))


def for_machines(review: Review) -> dict[str, Any]:
    """Return the review as JSON values."""

    def records(table: Table) -> list[dict[str, str]]:
        return [dict(zip(table.headers, row, strict=True)) for row in table.rows]

    return {
        "supplement": review.path.name,
        "machine": machine(),
        "dataset": review.dataset,
        "wrong": review.wrong,
        "answers": [
            {**of._asdict(), "tables": {name: records(it) for name, it in of.tables.items()}}
            for of in review.answers
        ],
        "left_out": records(_not_read(review)),
    }


def _not_read(review: Review) -> Table:
    return Table(("file", "why"), tuple((of.what, of.why) for of in review.left_out[:200]), 2)


def _lede() -> str:
    return f"Decoded and compared on {machine()}. {WORTH}"
