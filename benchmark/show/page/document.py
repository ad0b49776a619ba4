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

from benchmark.compare.interval import CONFIDENCE
from benchmark.show.figures.bd_table import short_name
from benchmark.show.page.content import (
    PAGE_DARK,
    PAGE_LIGHT,
    Content,
    ImageKey,
    json_text,
    leave_out_images,
    page_data,
)
from benchmark.show.page.pictures import CROP_RATE
from benchmark.show.table import (
    MINUS,
    NETWORK_HEADERS,
    Table,
    chosen_notes,
    decimals,
    training_cells,
)

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
    frame = _frame(STYLES, SCRIPTS)
    labels = content.summary.labels
    codecs = {label: (place, content.legend[label].name) for place, label in enumerate(labels)}
    parts = {
        **frame,
        "title": escape(f"{content.title}: rate, distortion and realism"),
        "dataset": escape(content.title),
        "lede": escape(content.headline),
        "confidence": f"{100 * CONFIDENCE:.0f} %",
        "facts": "\n".join(
            f"    <div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>"
            for term, text in content.facts
        ),
        "crops": _crops(content),
        "ranking": "",
        "bd_rates": _bd_rates(content, codecs),
        "means": table_html(content.means, "All points", codecs, opens=True),
        "codecs": _codecs(content, codecs),
        "missing": _missing(content),
    }
    if content.ranking:
        heading, table = content.ranking
        ranking = table_html(table, "Ranking", codecs)
        parts["ranking"] = f'<p class="hint">{escape(heading)}</p>{ranking}'
    data = page_data(content)
    leave_out_images(data, MOST_BYTES - sum(len(part.encode()) for part in parts.values()))
    parts["data"] = json_text(data)
    return _filled("skeleton.html", parts)


def sheet_html(title: str, lede: str, body: str, scripts: Sequence[str] = ()) -> str:
    """Return a page without curves, in the same style and under the same policy.

    body: HTML, its texts escaped. scripts: names of files beside this one.
    """
    parts = {"title": escape(title), "lede": escape(lede), "body": body}
    return _filled("sheet.html", {**_frame(("style.css", "sheet.css"), scripts), **parts})


def _filled(name: str, parts: Mapping[str, str]) -> str:
    text = _asset(name).replace("{{head}}\n", _asset("head.html"))
    # In one pass, so that what is filled in is never looked through for places to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], text)


def _frame(styles: Sequence[str], scripts: Sequence[str]) -> dict[str, str]:
    """Return styles and scripts inside a page, and the policy that allows no others."""
    texts = [*map(_asset, scripts)]
    for script in texts:
        if re.search(r"</script|<!--", script, re.IGNORECASE):
            raise ValueError("a script that ends its own element cannot be in a page")
    light, dark = (
        " ".join(f"--{name}: {colour};" for name, colour in colours.items())
        for colours in (PAGE_LIGHT, PAGE_DARK)
    )
    colours = f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    style = "\n" + "\n".join([colours, *map(_asset, styles)]) + "\n"
    allowed = " ".join(map(_digest, texts)) or "'none'"
    return {
        "policy": f"{POLICY}style-src {_digest(style)}; script-src {allowed}",
        "style": style,
        "scripts": "\n".join(f"<script>{script}</script>" for script in texts),
    }


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
        place, title = codecs.get(row[0], ("", row[0]))
        cells = [f'<th scope="row" class="text">{_breakable(title)}</th>']
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
    numbers = {
        (point.label, str(point.setting)): n for n, point in enumerate(content.summary.points)
    }
    figures = []
    for crop in content.crops:
        name, values, opens = "original", "", "disabled"
        if crop.key is not None:
            label, setting, image = crop.key
            name, values = content.legend[label].name, _values(content, crop.key)
            place = content.order.index(image)
            opens = f'data-point="{numbers[label, setting]}" data-image="{place}"'
        alt = escape(
            f"{crop.image}, {name}: {crop.side} pixels square from {crop.left}, {crop.top}"
        )
        source = f'src="data:image/webp;base64,{b64encode(crop.file).decode()}"'
        size = f'width="{crop.side}" height="{crop.side}"'
        figures.append(
            f'<figure><button type="button" {opens}><img {source} alt="{alt}" {size}></button>'
            f"<figcaption><strong>{_breakable(name)}</strong> {escape(values)}"
            "</figcaption></figure>"
        )
    first = content.crops[0]
    caption = (
        f"{first.image}, {first.side} × {first.side} pixels where the decoded images differ most, "
        f"each at its rate nearest to {CROP_RATE:g} bit per pixel; not compressed again. "
        "A click opens the whole image."
    )
    return (
        '<section id="crops" aria-labelledby="crops-title"><h2 id="crops-title">Side by side</h2>'
        f'<div class="crops">{"".join(figures)}</div>'
        f'<p class="caption">{escape(caption)}</p></section>'
    )


def _values(content: Content, key: ImageKey) -> str:
    """Return the rate of a decoded image and its values of the metrics that lead."""
    label, setting, number = key
    points = content.summary.points
    point = next(p for p in points if (p.label, str(p.setting)) == (label, setting))
    at = point.image_ids.tolist().index(number)
    values = [f"{point.image_bpp[at]:.3f} bpp"]
    for measure in content.measures:
        if measure.column in content.leads and not measure.of_sets:
            value = point.image_values[measure.column][at]
            unit = " dB" * ("dB" in measure.label)
            values.append(f"{short_name(measure)} {value:.{decimals(measure.label)}f}{unit}")
    return ", ".join(values)


def _breakable(name: str) -> str:
    """Return a name that lines may break where its parts meet, not inside a word.

    >>> _breakable("hyperprior:weights=matched")
    'hyperprior:<wbr>weights=<wbr>matched'
    """
    return "<wbr>".join(map(escape, re.split(r"(?<=[:=/_])(?=.)", name)))


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"


def _bd_rates(content: Content, codecs: Mapping[str, CodecRow]) -> str:
    if isinstance(content.bd_rates, str):
        return f'<p class="note">{escape(content.bd_rates)}</p>'
    titles = ("BD-rates in every metric", "BD-rates in detail")
    tables = zip(titles, content.bd_rates, strict=True)
    return "\n".join(_folded(title, table_html(table, title, codecs)) for title, table in tables)


def _codecs(content: Content, codecs: Mapping[str, CodecRow]) -> str:
    editions = {point.label: point.edition for point in content.summary.points}
    rows = tuple(
        (
            label,
            edition.version + "; recorded elsewhere" * edition.recorded,
            "; ".join(edition.caveats),
            *training_cells(edition),
            ", ".join(edition.devices),
            edition.command,
            edition.timed,
        )
        for label, edition in editions.items()
    )
    specs = {label: (place, label) for label, (place, _) in codecs.items()}
    headers = ("codec", "version or checkpoint", "caveat", *NETWORK_HEADERS, "device", "call",
               "what is timed")  # fmt: skip
    table = Table(headers, rows, len(headers), chosen_notes(editions)).filled(always=3)
    table = table._replace(words=len(table.headers))
    return table_html(table, "Codecs", specs, wordy=True)


def _missing(content: Content) -> str:
    """Return what is missing, folded up by heading with counts."""
    parts = []
    for heading, sentences in content.missing.items():
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        title = f'{escape(heading.capitalize())} <span class="badge">{len(sentences)}</span>'
        parts.append(_folded(title, f"<ul>{items}</ul>"))
    return "".join(parts) or '<p class="note">Nothing failed or is left out.</p>'
