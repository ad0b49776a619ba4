"""The page as one HTML text, with its styles, scripts and plotly's javascript inside.

Nothing in it comes from a network. Texts of rows are escaped, and should one get through all the
same, the page's own policy refuses scripts that are not among those written here, and addresses
other than its files.
"""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmark.analysis.interval import CONFIDENCE
from benchmark.figures.style import PAGE_DARK, PAGE_LIGHT
from benchmark.figures.table import MINUS, Table
from benchmark.page.content import Content, page_data
from benchmark.system.text import counted

STYLES = ("style.css", "viewer.css")
SCRIPTS = (
    "model.js", "legend.js", "chart.js", "curves.js", "scatter.js",
    "stage.js", "choice.js", "link.js", "viewer.js", "start.js",
)  # fmt: skip
MANY_METRICS = 5  # are counted above the curves, where the switch between them has their names
# Plotly writes styles into elements.
POLICY = (
    "default-src 'none'; img-src 'self' file: data: blob:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; "
)


def html_text(content: Content, plotly_javascript: str) -> str:
    """Return the whole page; the same content gives the same text."""
    scripts = [plotly_javascript, *map(_asset, SCRIPTS)]
    for script in scripts:
        if re.search(r"</script|<!--", script, re.IGNORECASE):
            raise ValueError("a script that ends its own element cannot stand in a page")
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    parts = {
        "policy": f"{POLICY}script-src {allowed}",
        "title": escape(f"{content.dataset}: rate, distortion and realism"),
        "style": "\n".join([_colours(), *map(_asset, STYLES)]),
        "dataset": escape(content.dataset),
        "lede": escape(_lede(content)),
        "confidence": f"{100 * CONFIDENCE:.0f} %",
        "facts": "\n".join(
            f"    <div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>"
            for term, text in content.facts
        ),
        "bd_rates": _bd_rates(content.bd_rates),
        "means": _means(content.means),
        "codecs": _codecs(content),
        "missing": _missing(content.missing),
        "missing_count": str(sum(map(len, content.missing.values()))),
        "data": json_text(page_data(content)),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # In one pass, so that what is filled in is never looked through for places to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset("skeleton.html"))


def json_text(data: Mapping[str, object]) -> str:
    """Return json for an HTML script element, without characters that open or close anything.

    >>> json_text({"name": "</script><b>&"})
    '{"name":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e\\\\u0026"}'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _colours() -> str:
    light, dark = (
        " ".join(f"--{name}: {colour};" for name, colour in colours.items())
        for colours in (PAGE_LIGHT, PAGE_DARK)
    )
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _lede(content: Content) -> str:
    codecs, points = len(content.summary.labels), len(content.summary.points)
    names = [measure.label.removesuffix(" (dB)") for measure in content.measures]
    named = ", ".join(names) if len(names) < MANY_METRICS else f"{len(names)} metrics"
    return (
        f"{counted(codecs, 'codec')} at {counted(points, 'point')}, "
        f"{counted(content.summary.images, 'image')}: {named or 'no metric measured'} "
        "against bits per pixel, from real bitstreams."
    )


def table_html(table: Table, name: str, opens: bool = False) -> str:
    """Return a table that scrolls by itself where it is wider than the page, its notes below.

    With `opens` each row is a point, whose setting (second column) is a button that opens it.
    """
    kinds = ["text" if place < table.words else "number" for place in range(len(table.headers))]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(header)}</th>'
        for kind, header in zip(kinds, table.headers, strict=True)
    )
    lines, before = [], None
    for number, row in enumerate(table.rows):
        cells = [
            f'<td class="{kind}" data-label="{escape(header)}">'
            f"{escape(_minus(cell)) if kind == 'number' else _breakable(cell)}</td>"
            for kind, header, cell in zip(kinds, table.headers, row, strict=True)
        ]
        cells[0] = f'<th scope="row" class="text">{_breakable(row[0])}</th>'
        if opens:
            button = f'<button type="button" data-point="{number}">{escape(row[1])}</button>'
            cells[1] = f'<td class="text">{button}</td>'
        first = ' class="first"' if row[0] != before else ""
        before = row[0]
        lines.append(f"<tr{first}>{''.join(cells)}</tr>")
    notes = "".join(f'<p class="caption">{escape(note)}</p>' for note in table.notes)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{notes}"
    )


def _breakable(name: str) -> str:
    """Return a name that lines may break where its parts meet, not inside a word.

    >>> _breakable("hyperprior:weights=matched")
    'hyperprior:<wbr>weights=<wbr>matched'
    """
    return "<wbr>".join(map(escape, re.split(r"(?<=[:=/_])(?=.)", name)))


def _minus(cell: str) -> str:
    return MINUS.sub("−", cell)


def _bd_rates(tables: Sequence[Table] | str) -> str:
    if isinstance(tables, str):
        return f'<p class="note">{escape(tables)}</p>'
    overview, *details = tables
    parts = [table_html(overview, "BD-rates")]
    parts += [
        f"<details><summary>By metric, of single images, BD-metrics</summary>"
        f"{table_html(table, 'BD-rates in detail')}</details>"
        for table in details
    ]
    return "\n".join(parts)


def _means(table: Table) -> str:
    said = '<p class="hint">A setting opens its images.</p>'
    return said + table_html(table, "All points", opens=True)


def _codecs(content: Content) -> str:
    editions = {point.label: point.edition for point in content.summary.points}
    rows = [
        (
            label,
            one.version + "; recorded elsewhere" * one.recorded,
            "; ".join(one.caveats),
            ", ".join(one.devices),
            one.command,
            one.timed,
        )
        for label, one in editions.items()
    ]
    headers = ("codec", "version or checkpoint", "caveat", "device", "call", "what is timed")
    notes = [f"Packages of the last run: {content.packages}."] if content.packages else []
    return table_html(Table(headers, tuple(rows), len(headers), tuple(notes)), "Codecs").replace(
        "<table>", '<table class="wordy">', 1
    )


def _missing(missing: Mapping[str, Sequence[str]]) -> str:
    parts = []
    for heading, sentences in missing.items():
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        said = f"<ul>{items}</ul>" if sentences else '<p class="none">None.</p>'
        parts.append(f"<div><h3>{escape(heading)}</h3>{said}</div>")
    return f'<div class="panel">{"".join(parts)}</div>'
