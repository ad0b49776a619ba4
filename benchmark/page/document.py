"""The page as one HTML text, with its styles, scripts and crops inside.

Nothing in it comes from a network. Texts of rows are escaped, and should one get through all the
same, the page's own policy refuses scripts and styles other than those written here, and addresses
other than its files.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmark.analysis.interval import CONFIDENCE
from benchmark.figures.style import PAGE_DARK, PAGE_LIGHT
from benchmark.figures.table import MINUS, Table
from benchmark.page.content import Content, ImageKey, json_text, leave_out_images, page_data
from benchmark.page.crops import CROP_RATE

STYLES = ("style.css", "viewer.css")
SCRIPTS = (
    "model.js", "legend.js", "chart.js", "curves.js", "scatter.js",
    "stage.js", "choice.js", "link.js", "viewer.js", "start.js",
)  # fmt: skip
CodecRow = tuple[int, str]  # place of a codec among the page's, and its name in tables
MOST_BYTES = 1_980_000  # of the page, its skeleton not counted
POLICY = (
    "default-src 'none'; img-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'; "
)


def html_text(content: Content) -> str:
    """Return the whole page; the same content gives the same text."""
    scripts = [*map(_asset, SCRIPTS)]
    for script in scripts:
        if re.search(r"</script|<!--", script, re.IGNORECASE):
            raise ValueError("a script that ends its own element cannot stand in a page")
    style = "\n" + "\n".join([_colours(), *map(_asset, STYLES)]) + "\n"
    allowed = " ".join(map(_digest, scripts))
    labels = content.summary.labels
    codecs = {label: (place, content.legend[label].name) for place, label in enumerate(labels)}
    parts = {
        "policy": f"{POLICY}style-src {_digest(style)}; script-src {allowed}",
        "title": escape(f"{content.title}: rate, distortion and realism"),
        "style": style,
        "dataset": escape(content.title),
        "lede": escape(content.headline),
        "confidence": f"{100 * CONFIDENCE:.0f} %",
        "facts": "\n".join(
            f"    <div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>"
            for term, text in content.facts
        ),
        "crops": _crops(content),
        "ranking": _ranking(content.ranking, codecs) if content.ranking else "",
        "bd_rates": _bd_rates(content.bd_rates, codecs),
        "means": table_html(content.means, "All points", codecs, opens=True),
        "codecs": _codecs(content, codecs),
        "missing": _missing(content.missing),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    data = page_data(content)
    leave_out_images(data, MOST_BYTES - sum(len(part.encode()) for part in parts.values()))
    parts["data"] = json_text(data)
    # In one pass, so that what is filled in is never looked through for places to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset("skeleton.html"))


def _colours() -> str:
    light, dark = (
        " ".join(f"--{name}: {colour};" for name, colour in colours.items())
        for colours in (PAGE_LIGHT, PAGE_DARK)
    )
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return what a policy allows a script or style by."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def table_html(
    table: Table,
    name: str,
    codecs: Mapping[str, CodecRow],
    opens: bool = False,
    wordy: bool = False,
) -> str:
    """Return a table that scrolls by itself where it is wider than the page, its notes below.

    codecs: by the label that is a row's first cell; such rows are shown and hidden with the curves.
    opens: each row is a point, whose setting (second column) is a button that opens it. wordy:
    cells are long texts, which a narrow page puts below each other.
    """
    kinds = ["text" if place < table.words else "number" for place in range(len(table.headers))]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(header)}</th>'
        for kind, header in zip(kinds, table.headers, strict=True)
    )
    lines, before = [], ""
    for number, row in enumerate(table.rows):
        place, name = codecs.get(row[0], ("", row[0]))
        cells = [f'<th scope="row" class="text">{_breakable(name)}</th>']
        for kind, header, cell in list(zip(kinds, table.headers, row, strict=True))[1:]:
            named = f' data-label="{escape(header)}"' if wordy else ""
            text = escape(MINUS.sub("−", cell)) if kind == "number" else _breakable(cell)
            cells.append(f'<td class="{kind}"{named}>{text}</td>')
        if opens:
            button = f'<button type="button" data-point="{number}">{escape(row[1])}</button>'
            cells[1] = f'<td class="text">{button}</td>'
        first = ' class="first"' if row[0] != before else ""
        of = f' data-codec="{place}"' if row[0] in codecs else ""
        before = row[0]
        lines.append(f"<tr{first}{of}>{''.join(cells)}</tr>")
    notes = "".join(f'<p class="caption">{escape(note)}</p>' for note in table.notes)
    kind = ' class="wordy"' if wordy else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<table{kind}><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>{notes}"
    )


def _crops(content: Content) -> str:
    """Return the crops side by side, each a button that opens its point."""
    if not content.crops:
        return ""
    numbers = {(one.label, str(one.setting)): n for n, one in enumerate(content.summary.points)}
    order = sorted(content.photographs, key=lambda number: content.photographs[number].name)
    figures = []
    for crop in content.crops:
        source = f'src="data:image/webp;base64,{b64encode(crop.file).decode()}"'
        if crop.key is None:
            name, said, opens = "original", "", "disabled"
        else:
            label, setting, image = crop.key
            name, said = f"{content.legend[label].name}", _numbers(content, crop.key)
            opens = f'data-point="{numbers[label, setting]}" data-image="{order.index(image)}"'
        alt = escape(
            f"{crop.image}, {name}: {crop.side} pixels square from {crop.left}, {crop.top}"
        )
        size = f'width="{crop.side}" height="{crop.side}"'
        figures.append(
            f'<figure><button type="button" {opens}><img {source} alt="{alt}" {size}></button>'
            f"<figcaption><strong>{_breakable(name)}</strong> {escape(said)}</figcaption></figure>"
        )
    first = content.crops[0]
    said = (
        f"{first.image}, {first.side} × {first.side} pixels where the decoded images differ most, "
        f"each at its rate nearest to {CROP_RATE:g} bit per pixel; not compressed again. "
        "A click opens the whole image."
    )
    return (
        '<section id="crops" aria-labelledby="crops-title"><h2 id="crops-title">Side by side</h2>'
        f'<div class="crops">{"".join(figures)}</div>'
        f'<p class="caption">{escape(said)}</p></section>'
    )


def _numbers(content: Content, key: ImageKey) -> str:
    """Return the rate of a decoded image and its values of the metrics that lead."""
    label, setting, number = key
    points = content.summary.points
    point = next(p for p in points if (p.label, str(p.setting)) == (label, setting))
    at = point.image_ids.tolist().index(number)
    said = [f"{point.image_bpp[at]:.3f} bpp"]
    for measure in content.measures:
        if measure.column in content.leads and not measure.of_sets:
            digits, unit = (2, " dB") if "dB" in measure.label else (4, "")
            value = point.image_values[measure.column][at]
            said.append(f"{measure.label.partition(' (')[0]} {value:.{digits}f}{unit}")
    return ", ".join(said)


def _breakable(name: str) -> str:
    """Return a name that lines may break where its parts meet, not inside a word.

    >>> _breakable("hyperprior:weights=matched")
    'hyperprior:<wbr>weights=<wbr>matched'
    """
    return "<wbr>".join(map(escape, re.split(r"(?<=[:=/_])(?=.)", name)))


def _ranking(ranking: tuple[str, Table], codecs: Mapping[str, CodecRow]) -> str:
    return f'<p class="hint">{escape(ranking[0])}</p>{table_html(ranking[1], "Ranking", codecs)}'


def _bd_rates(tables: Sequence[Table] | str, codecs: Mapping[str, CodecRow]) -> str:
    if isinstance(tables, str):
        return f'<p class="note">{escape(tables)}</p>'
    return "\n".join(
        f"<details><summary>{title}</summary>{table_html(table, title, codecs)}</details>"
        for title, table in zip(
            ("BD-rates in every metric", "BD-rates in detail"), tables, strict=True
        )
    )


def _codecs(content: Content, codecs: Mapping[str, CodecRow]) -> str:
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
    specs = {label: (place, label) for label, (place, _) in codecs.items()}
    headers = ("codec", "version or checkpoint", "caveat", "device", "call", "what is timed")
    return table_html(Table(headers, tuple(rows), len(headers)), "Codecs", specs, wordy=True)


def _missing(missing: Mapping[str, Sequence[str]]) -> str:
    """Return what is missing, folded up by heading with counts."""
    parts = []
    for heading, sentences in missing.items():
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        title = f'{escape(heading.capitalize())} <span class="badge">{len(sentences)}</span>'
        parts.append(f"<details><summary>{title}</summary><ul>{items}</ul></details>")
    return "".join(parts) or '<p class="note">Nothing failed or is left out.</p>'
