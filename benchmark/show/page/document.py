"""The page as one HTML text that includes styles, scripts and crops.

Nothing is loaded from a network. Texts from rows are escaped; if one were not, the page's policy
would still refuse all scripts and styles except the page's own, and all addresses except the page's
files.
"""

import hashlib
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmark.compare.pictures import rate_deviation
from benchmark.show.bd_rates import short_name
from benchmark.show.page.content import (
    Content,
    ImageKey,
    json_text,
    leave_out_images,
    page_data,
    point_link,
)
from benchmark.show.sections import html
from benchmark.show.table import breakable
from benchmark.system.text import utf8

STYLES = ("style.css", "viewer.css")
SCRIPTS = ("model.js", "chart.js", "curves.js", "stage.js", "where.js", "viewer.js")
MAX_PANES = 4  # panes of the viewer
MAX_BYTES = 1_980_000  # size of the page without its skeleton
POLICY = (
    "default-src 'none'; img-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'; "
)


def html_text(content: Content) -> str:
    """Return the complete page; equal contents give equal texts."""
    labels = content.summary.labels
    codecs = {
        labels[edition]: content.legend[labels[edition]]["name"]
        for edition in content.summary.editions
    }
    links = [
        point_link(content, labels[point.edition], str(point.setting))
        if len(point.image_ids)
        else ""
        for point in content.summary.points
    ]
    parts = {
        "title": escape(f"{content.title}: rate, distortion and realism"),
        "dataset": escape(content.title),
        "lede": escape(content.headline),
        "facts": "\n".join(
            f"    <div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>"
            for term, text in content.facts
        ),
        "crops": _crops_html(content),
        **{
            kind: html(
                page_section, codecs, links if kind == "means" else (), wordy=kind == "missing"
            )
            for kind, page_section in content.sections.items()
        },
    }
    parts["codecs"] = html(content.sections["codecs"], {}, wordy=True)
    data = page_data(content)
    page_without_data = framed_html("skeleton.html", STYLES, SCRIPTS, {**parts, "data": ""})
    leave_out_images(
        data, MAX_BYTES - len(utf8(page_without_data)) + len(utf8(_asset("skeleton.html")))
    )
    return framed_html("skeleton.html", STYLES, SCRIPTS, {**parts, "data": json_text(data)})


def sheet_html(title: str, lede: str, body: str) -> str:
    """Return a page without curves, in the same style. body: HTML in which texts are escaped."""
    parts = {"title": escape(title), "lede": escape(lede), "body": body}
    return framed_html("sheet.html", ("style.css", "sheet.css"), (), parts)


def framed_html(
    skeleton: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    parts: Mapping[str, str],
    sends_to: str = "",
) -> str:
    """Return a page from a skeleton, with a policy that allows only its styles and scripts.

    skeleton, styles, scripts: names of files next to this module, or full paths. sends_to: the only
    address that the page may send data to.
    """
    script_texts = [*map(_asset, scripts)]
    for script in script_texts:
        if re.search(r"</script|<!--", script, re.IGNORECASE):
            raise ValueError("a page's script may not contain '</script' or '<!--'")
    style = "\n".join(["", _asset("colours.css").rstrip("\n"), *map(_asset, styles), ""])
    script_digests = " ".join(map(_policy_digest, script_texts)) or "'none'"
    policy = f"{POLICY}style-src {_policy_digest(style)}; script-src {script_digests}"
    frame = {
        "policy": f"{policy}; connect-src {sends_to}" if sends_to else policy,
        "style": style,
        "scripts": "\n".join(f"<script>{script}</script>" for script in script_texts),
    }
    text = _asset(skeleton).replace("{{head}}\n", _asset("head.html"))
    # In one pass, so that inserted text is not searched for placeholders
    replacements = {**frame, **parts}
    return re.sub(r"\{\{(\w+)\}\}", lambda placeholder: replacements[placeholder[1]], text)


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _policy_digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _crops_html(content: Content) -> str:
    if not content.crops:
        return ""
    figures = []
    for crop in content.crops:
        name, values, start, end = "original", "", "", ""
        if crop.key is not None:
            name = content.legend[crop.key[0]]["name"]
            values = values_text(content, crop.key, crop.rate)
            start, end = f'<a href="{escape(point_link(content, *crop.key))}">', "</a>"
        alt = escape(
            f"{crop.image}, {name}: {crop.side} pixels square from {crop.left}, {crop.top}"
        )
        source = f'src="data:image/webp;base64,{b64encode(crop.file).decode()}"'
        size = f'width="{crop.side}" height="{crop.side}"'
        figures.append(
            f'<figure>{start}<img {source} alt="{alt}" {size}>{end}'
            f"<figcaption><strong>{breakable(name)}</strong> {escape(values)}"
            "</figcaption></figure>"
        )
    first_crop = content.crops[0]
    caption = (
        f"{first_crop.image}, {first_crop.side} × {first_crop.side} pixels where the decoded "
        f"images differ most, at about {first_crop.rate:.3g} bit per pixel; not compressed again. "
        "Click to open the whole image."
    )
    return (
        '<section id="crops" aria-labelledby="crops-title">'
        '<h2 id="crops-title" class="unseen">Side by side</h2>'
        '<div class="crops" tabindex="0" role="region" aria-label="Pictures side by side">'
        f"{''.join(figures)}</div>"
        f'<p class="caption">{escape(caption)}{_maps_link(content)}</p></section>'
    )


def _maps_link(content: Content) -> str:
    keys = [crop.key for crop in content.crops if crop.key is not None][:MAX_PANES]
    columns = [*content.pictures[keys[0]].maps] if keys else []
    if not columns:
        return ""
    neighbours = [label for label, *_ in keys[1:]]
    link = point_link(content, *keys[0], neighbours=neighbours, map_column=columns[0])
    return f' <a href="{escape(link)}">Maps of their errors</a>'


def values_text(content: Content, key: ImageKey, rate: float) -> str:
    """Return the rate and values of one picture as text; rate: the rate it stands for, in bpp."""
    label, setting, number = key
    points, labels = content.summary.points, content.summary.labels
    point = next(p for p in points if (labels[p.edition], str(p.setting)) == (label, setting))
    index = point.image_ids.tolist().index(number)
    bpp = float(point.image_bpp[index])
    deviation = rate_deviation(bpp, rate)
    values = [f"{bpp:.3f} bpp ({deviation})" if deviation else f"{bpp:.3f} bpp"]
    for metric in content.metrics:
        if metric.column in content.lead_columns and not metric.is_distribution:
            value = point.image_values[metric.column][index]
            unit = f" {metric.unit}" if metric.unit else ""
            if not math.isnan(value):
                values.append(f"{short_name(metric)} {value:.{metric.decimals}f}{unit}")
    return ", ".join(values)
