"""A review as a page, as markdown and as JSON."""

from html import escape
from typing import Any

from benchmark.review.evidence import Answer
from benchmark.review.review import Review
from benchmark.show.page.document import sheet_html
from benchmark.show.table import Table, html, markdown
from benchmark.system.text import markdown_text

LONG_CELL = 60  # characters, which break into lines
WORTH = (
    "A verdict is on the files that were sent, on this machine: it says that bytes, pictures and "
    "numbers belong together, not that the method is new, nor that the paper describes it."
)


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
            f'<p class="finding">{escape(_sentence(answer))}</p>{_rows_behind(answer)}</section>'
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
    parts = [f"# {markdown_text(title_of(review))}", markdown_text(_lede(review))]
    summary = (
        f"- **{answer.verdict}**: {markdown_text(answer.question)}" for answer in review.answers
    )
    parts.append("\n".join(summary))
    for answer in review.answers:
        parts.append(f"## {markdown_text(answer.question)} {answer.verdict}")
        parts.append(markdown_text(_sentence(answer)))
        parts += [markdown(answer.table)] if answer.table and answer.table.rows else []
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


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


def _sentence(answer: Answer) -> str:
    return f"{answer.sentence[:1].upper()}{answer.sentence[1:]}."
