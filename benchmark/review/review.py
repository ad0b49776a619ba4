"""A review: what an author sent, opened, decoded, scored and compared; answers for a reviewer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from benchmark.answer import Absent
from benchmark.errors import BenchError, Unavailable
from benchmark.measure.cells import Conditions
from benchmark.measure.record import ShowsProgress
from benchmark.measure.request import Request
from benchmark.measure.select import open_sources, with_stored_name
from benchmark.published.registry import read_points, read_published
from benchmark.review import field, measured
from benchmark.review.again import decode_again
from benchmark.review.audit.pack_audit import open_photographs
from benchmark.review.claim import Evidence, judge, parse_claim
from benchmark.review.evidence import Anchor, Answer, Reviewed
from benchmark.review.request import ReviewRequest
from benchmark.review.streams import reconstructed, scored_metrics, sent_rows
from benchmark.review.supplement import open_supplement
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.store import stores_below
from benchmark.show.page.document import sheet_html
from benchmark.show.sections import capitalised, markdown, section
from benchmark.show.table import Table, html
from benchmark.system.machine import machine

NO_CONTRADICTION = ("anchors", "files")  # where the answer is no
LONG_CELL = 60  # characters, which break into lines
WORTH = (
    "A verdict is on the files that were sent, on this machine: it says that bytes, pictures and "
    "numbers belong together, not that the method is new, nor that the paper describes it."
)


@dataclass(frozen=True, slots=True)
class Review:
    """A review: answers, and what they were made on."""

    path: Path
    machine: str
    reviewed: Reviewed
    answers: Sequence[Answer]

    @property
    def wrong(self) -> bool:
        """True if anything that was sent is contradicted; what was not sent is no contradiction."""
        return any(
            answer.verdict == "no" and answer.name not in NO_CONTRADICTION
            for answer in self.answers
        )


def review(
    path: Path,
    into: Path,
    asked: ReviewRequest,
    request: Request,
    results: Path,
    codecs: NamedCodecs,
    progress: ShowsProgress,
) -> Review:
    """Review a supplement; `into` is an empty folder for its files.

    request: metrics, device, jobs, timeout and folders. results: of anchors that were not sent.
    Raises `UsageError` for what cannot be reviewed at all.
    """
    claims = [parse_claim(text) for text in asked.claims or ()]
    supplement = open_supplement(path, into)
    sent, impossible = sent_rows(supplement)
    own = [str(stream.row["dataset"]) for stream in sent]
    dataset = asked.dataset or (max(own, key=own.count) if own else "kodak")
    places = request.data_dir, request.flatten
    photographs, missing = open_photographs([n for n in own if n != asked.dataset], (), *places)
    try:
        if asked.dataset or not own:
            opened = open_sources(replace(request, dataset=dataset))
            opened = with_stored_name(opened, stores_below(results))
            dataset = opened.dataset.name
            photographs[dataset] = opened.images
    except Unavailable as why:
        missing[dataset] = str(why)
    metrics = scored_metrics(request, *(claim.metric for claim in claims))
    with_stream = [stream for stream in sent if stream.read]
    again = decode_again(with_stream, photographs, metrics, request, codecs, progress, asked.seed)
    again = [stream._replace(reason=stream.reason.replace(f"{into}/", "")) for stream in again]
    left_out = [*supplement.left_out, *impossible]
    unmeasured = [stream.row for stream in sent if not stream.read]
    declared = [*unmeasured]
    conditions = Conditions.of(request, into, jobs=1)
    for sizes in supplement.reconstructions:
        try:
            declared += reconstructed(sizes, photographs.get(dataset, ()), dataset, conditions)
        except BenchError as error:
            why_not = str(error).replace(f"{sizes.parent}/", "")
            left_out.append(Absent(f"{sizes.parent.name}/{sizes.name}", why_not))
    reviewed = Reviewed(
        again, declared, supplement.curves, (), photographs, missing, metrics,
        [name.strip() for name in asked.trained_on.split(",") if name.strip()],
        read_published(results, "anchors.csv", Anchor), read_points(results),
        dataset, asked.year or datetime.now(UTC).year, left_out, unmeasured, asked.seed,
    )  # fmt: skip
    evidence = Evidence(reviewed.rows_of_dataset, supplement.curves, results, dataset)
    reviewed = reviewed._replace(claims=[judge(claim, evidence) for claim in claims])
    return Review(path, machine(), reviewed, answers(reviewed))


def answers(of: Reviewed) -> list[Answer]:
    """Return all answers in the order in which a reviewer asks."""
    rows = bool(of.again or of.declared)
    return [
        measured.bits(of),
        *(ask(of) for ask in measured.OF_STREAMS if of.again),
        *([measured.points(of)] if rows else []),
        *([measured.curves(of)] if of.curves and rows else []),
        *([field.published(of)] if of.curves else []),
        *(field.claim(judged, of) for judged in of.claims),
        field.anchors(of),
        field.training(of),
        *([measured.images(of)] if rows else []),
        *([field.left_out(of.left_out)] if of.left_out else []),
    ]


def title_of(review: Review) -> str:
    """Return the heading of a review."""
    return f"Review of {review.path.name}"


def html_text(review: Review) -> str:
    """Return the review as one HTML file, in the style of the report's page."""
    links, sections = "", []
    for number, answer in enumerate(review.answers):
        links += f'<a href="#q{number}">{escape(answer.name)}</a>'
        verdict = f'<span class="verdict {answer.verdict}">{answer.verdict}</span>'
        sections.append(
            f'<section id="q{number}"><h2>{verdict} {escape(answer.question)}</h2>'
            f'<p class="finding">{escape(capitalised(answer.sentence))}</p>{_rows_behind(answer)}'
            "</section>"
        )
    body = "\n".join(sections)
    main = f'<nav aria-label="Questions">{links}</nav>\n<main class="review">{body}</main>'
    return sheet_html(title_of(review), _lede(review), main)


def _rows_behind(answer: Answer) -> str:
    if not (answer.table and answer.table.rows):
        return ""
    wordy = any(len(cell) > LONG_CELL for row in answer.table.rows for cell in row)
    table = html(answer.table, answer.question, {}, wordy=wordy)
    summary = f"Rows behind it ({len(answer.table.rows)})"
    return f"<details><summary>{summary}</summary>{table}</details>"


def markdown_review(review: Review) -> str:
    """Return the review as markdown: a summary, then each question with its rows."""
    summary = [f"**{answer.verdict}**: {answer.question}" for answer in review.answers]
    answers = []
    for answer in review.answers:
        heading = f"{answer.question} {answer.verdict}"
        of = section(answer.name, heading, capitalised(answer.sentence))
        answers.append(of.with_parts(answer.table) if answer.table and answer.table.rows else of)
    return markdown(section("review", title_of(review), _lede(review), summary, *answers))


def for_machines(review: Review) -> dict[str, Any]:
    """Return the review as JSON values."""
    return {
        "supplement": review.path.name,
        "machine": review.machine,
        "dataset": review.reviewed.dataset,
        "year": review.reviewed.year,
        "wrong": review.wrong,
        "answers": [
            {
                **answer._asdict(),
                "table": [dict(zip(table.headers, row, strict=True)) for row in table.rows],
            }
            for answer in review.answers
            for table in [answer.table or Table((), (), 0)]
        ],
    }


def _lede(review: Review) -> str:
    return f"Decoded and compared on {review.machine}. {WORTH}"
