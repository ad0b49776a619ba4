"""Review an author's supplement; return the answers as HTML, markdown and JSON."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.answer import Absent
from benchmark.compare.rule import Rule
from benchmark.errors import BenchError, Unavailable
from benchmark.measure.cells import RunConditions
from benchmark.measure.record import ProgressFactory
from benchmark.measure.request import Request
from benchmark.measure.select import open_sources, set_stored_name
from benchmark.review.claim import answer_claim, judge_claim, parse_claim
from benchmark.review.decode import decode
from benchmark.review.questions import Evidence, Question, check_numbers, check_streams
from benchmark.review.sent import open_photographs, score_reconstructions, scored_metrics, sent_rows
from benchmark.review.supplement import open_supplement
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.store import stores_below
from benchmark.show.page.document import sheet_html
from benchmark.show.sections import make_sentence, markdown, section
from benchmark.show.table import Table, html
from benchmark.system.machine import machine

LONG_CELL = 60  # characters; longer cells are wrapped
SCOPE_NOTE = (
    "A verdict applies to the submitted files, on this machine: it means that bytes, pictures and "
    "numbers are consistent, not that the method is new or that the paper describes it."
)


class Review(NamedTuple):
    """Answers to the questions about a supplement."""

    path: Path
    dataset: str
    answers: Sequence[Question]
    left_out: Sequence[Absent]  # files that were not read

    @property
    def wrong(self) -> bool:
        """True if a measurement contradicts anything that was sent."""
        return any(answer.verdict == "no" for answer in self.answers)


def review_supplement(
    path: Path,
    folder: Path,
    request: Request,
    named_dataset: str,
    claims: Sequence[str],
    results: Path,
    rule: Rule,
    codecs: NamedCodecs,
    progress: ProgressFactory,
) -> Review:
    """Copy a supplement to an empty folder, and review it; `UsageError` if it is invalid."""
    parsed_claims = [parse_claim(text) for text in claims]
    supplement = open_supplement(path, folder)
    row_groups = [*map(sent_rows, supplement.packs)]
    row_datasets = [str(row["dataset"]) for pack_rows in row_groups for row in pack_rows.rows]
    dataset = named_dataset or max(row_datasets, key=row_datasets.count, default="kodak")
    other_datasets = [name for name in row_datasets if name != named_dataset]
    photographs, reasons = open_photographs(other_datasets, (), request)
    try:
        if named_dataset or not row_datasets:
            sources = open_sources(replace(request, dataset=dataset))
            sources = set_stored_name(sources, stores_below(results))
            dataset = sources.dataset.name
            photographs[dataset] = sources.images
    except Unavailable as error:
        reasons[dataset] = str(error)
    metrics = scored_metrics(request, *(claim.metric for claim in parsed_claims))
    streams = decode(row_groups, photographs, metrics, request, codecs, progress)
    prefix = f"{folder}/"
    streams = [stream._replace(reason=stream.reason.replace(prefix, "")) for stream in streams]
    excluded_files, rows = [*supplement.left_out], []
    conditions = RunConditions.create(replace(request, metrics=tuple(metrics)), folder, jobs=1)
    for sizes in supplement.reconstructions:
        try:
            rows += score_reconstructions(sizes, photographs.get(dataset, ()), dataset, conditions)
        except BenchError as error:
            reason = str(error).replace(f"{sizes.parent}/", "")
            excluded_files.append(Absent(f"{sizes.parent.name}/{sizes.name}", reason))
    evidence = Evidence(streams, rows, supplement.curves, photographs, reasons, metrics, dataset)
    answers = [check_streams(evidence), check_numbers(evidence)]
    for claim in parsed_claims:
        judgement = judge_claim(claim, evidence.dataset_rows, results, dataset, rule)
        answers.append(answer_claim(judgement, evidence))
    return Review(path, dataset, answers, excluded_files)


def html_review(review: Review) -> str:
    """Return the review as an HTML file in the style of the report's page."""
    sections = []
    for answer in review.answers:
        verdict = f'<span class="verdict {answer.verdict}">{answer.verdict}</span>'
        finding = f'<p class="finding">{escape(make_sentence(answer.sentence))}</p>'
        tables = "".join(_table_details(name, table) for name, table in answer.tables.items())
        heading = f"<h2>{verdict} {escape(answer.question)}</h2>"
        sections.append(f"<section>{heading}{finding}{tables}</section>")
    if review.left_out:
        sections.append(_table_details("files that were not read", _unread_files(review)))
    main_html = f'<main class="review">{"".join(sections)}</main>'
    return sheet_html(f"Review of {review.path.name}", _introduction(), main_html)


def _table_details(name: str, table: Table) -> str:
    is_wordy = any(len(cell) > LONG_CELL for row in table.rows for cell in row)
    summary = f"{make_sentence(name)} ({len(table.rows)})"
    return f"<details><summary>{summary}</summary>{html(table, name, {}, wordy=is_wordy)}</details>"


def markdown_review(review: Review) -> str:
    """Return the review as markdown: the verdicts, then each question with its tables."""
    summary = [f"**{answer.verdict}**: {answer.question}" for answer in review.answers]
    sections = [
        section(
            answer.name,
            f"{answer.question} {answer.verdict}",
            make_sentence(answer.sentence),
            *answer.tables.values(),
        )
        for answer in review.answers
    ]
    if review.left_out:
        sections.append(section("files", "Files that were not read", _unread_files(review)))
    title = f"Review of {review.path.name}"
    return markdown(section("review", title, _introduction(), summary, *sections))


def review_record(review: Review) -> dict[str, Any]:
    """Return the review as JSON values."""

    def records(table: Table) -> list[dict[str, str]]:
        return [dict(zip(table.headers, row, strict=True)) for row in table.rows]

    return {
        "supplement": review.path.name,
        "machine": machine(),
        "dataset": review.dataset,
        "wrong": review.wrong,
        "answers": [
            {
                **answer._asdict(),
                "tables": {name: records(table) for name, table in answer.tables.items()},
            }
            for answer in review.answers
        ],
        "left_out": records(_unread_files(review)),
    }


def _unread_files(review: Review) -> Table:
    return Table(("file", "why"), tuple((file.what, file.why) for file in review.left_out[:200]), 2)


def _introduction() -> str:
    return f"Decoded and compared on {machine()}. {SCOPE_NOTE}"
