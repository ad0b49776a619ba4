"""A text as sections: headings, paragraphs, lists, tables, pictures; as markdown and HTML. Pure.

What a report says is built once, of these; a file, a page and a terminal each show what they need.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from benchmark.show.table import CodecRows, Table
from benchmark.show.table import html as table_html
from benchmark.show.table import markdown as table_markdown
from benchmark.system.text import markdown_text, one_line


class Heading(NamedTuple):
    """A heading: what programs know it by, and what is read."""

    kind: str  # "ranking"
    title: str


class Links(NamedTuple):
    """A sentence that ends with links."""

    before: str
    files: Mapping[str, str]  # by the words of the link


class Picture(NamedTuple):
    """A picture in a file beside the text, with its caption."""

    name: str  # without the file's suffix
    caption: str


class Section(NamedTuple):
    """A part of a text. Empty paragraphs and lists are not shown.

    parts: texts are paragraphs, other sequences of texts are lists.
    """

    heading: Heading
    parts: "Sequence[Part]"
    folded: bool = False  # opened by whoever wants to read it

    def with_parts(self, *more: "Part") -> "Section":
        """Return the section with more parts at its end."""
        return self._replace(parts=(*self.parts, *more))


Part = str | Sequence[str] | Table | Links | Picture | Section


def section(kind: str, title: str, *parts: Part, folded: bool = False) -> Section:
    """Return a section of these parts."""
    return Section(Heading(kind, title), parts, folded)


def made_by(command: str) -> str:
    """Return the sentence on the command that makes a text again; empty without one."""
    return f"Made by `{one_line(command)}`." if command else ""


def markdown(of: Section, level: int = 1) -> str:
    """Return a section as markdown, its heading with `level` signs; nothing in it is obeyed.

    >>> print(markdown(section("left_out", "Left out", ["a <b>"], "")), end="")
    # Left out
    <BLANKLINE>
    - a &lt;b>
    """
    title = markdown_text(of.heading.title)
    start = f"<details><summary>{title}</summary>" if of.folded else f"{'#' * level} {title}"
    blocks = [start, *(_block(part, level + 1).rstrip("\n") for part in of.parts if part)]
    if of.folded:
        blocks.append("</details>")
    return "\n\n".join(blocks) + "\n"


def _block(part: Part, level: int) -> str:
    match part:
        case str():
            return markdown_text(part)
        case Section():
            return markdown(part, level)
        case Table():
            return table_markdown(part)
        case Links():
            links = (f"[{words}]({file})" for words, file in part.files.items())
            return f"{markdown_text(part.before)}{', '.join(links)}."
        case Picture():
            return f"![{part.name}]({part.name}.png)\n\n{markdown_text(part.caption)}"
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in part)


def html(of: Section, codecs: CodecRows, opens: bool = False, wordy: bool = False) -> str:
    """Return the parts of a section as HTML; sections in it are folded, with counts of lists.

    codecs, opens, wordy: of its tables, see `table.html`.
    """

    def block(part: Part) -> str:
        match part:
            case str():
                kind = "hint" if len(of.parts) > 1 else "note"
                return f'<p class="{kind}">{escape(part)}</p>'
            case Table():
                return table_html(part, of.heading.title, codecs, opens, wordy)
            case Section():
                counts = [len(lines) for lines in part.parts if isinstance(lines, list)]
                badge = f' <span class="badge">{sum(counts)}</span>' if counts else ""
                title = f"{escape(part.heading.title)}{badge}"
                return f"<details><summary>{title}</summary>{html(part, codecs)}</details>"
            case Links() | Picture():
                raise TypeError(f"{type(part).__name__} is for markdown")
        return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in part)}</ul>"

    return "".join(block(part) for part in of.parts if part)
