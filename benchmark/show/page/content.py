"""Content of the page as JSON for model.js; numbers have six digits. Pure functions."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from string import ascii_letters, digits
from typing import Any, NamedTuple

from benchmark.compare.curve import Curve
from benchmark.compare.interval import CONFIDENCE, point_interval
from benchmark.compare.pictures import MAX_CLOSE_RATIO
from benchmark.metrics.metric import MapScale, Metric
from benchmark.registry import UNSTATED
from benchmark.rows.edition import Edition
from benchmark.rows.summary import Point, Summary, excluded_points
from benchmark.show.figures.style import Style, luminance, mix_with_grey
from benchmark.show.sections import Section, metric_names

DIGITS = 6
PER_IMAGE_FIELDS = ("images", "image_bpp", "image_values", "pictures", "maps")  # lists in a point
ORIGINS = {  # where published points come from, by `points.SourceKind`
    "author_csv": "the authors' csv", "table": "a table", "digitised": "read from a figure",
    "author_json": "the authors' json", "author_table": "the authors' table",
    "author_script": "the authors' script", "author_thread": "the authors, in a thread",
    "other_paper_plot_file": "another paper's file",
}  # fmt: skip

MIN_CONTRAST = 4.5  # WCAG 2.2, for text; lines need only 3
FIRST_COLUMNS = ("psnr_db", "lpips_squeeze", "ms_ssim")  # columns of the metrics that come first
MARKER_PX, LINE_PX = 9.0, 1.8
UNQUOTED_CHARACTERS = f"{ascii_letters}{digits}-_.~!*'():="  # allowed in links
NUM_SHADES = 20  # between a colour and white


DARK_PAGE = "#15171b"  # as in `colours.css`


class SourcePicture(NamedTuple):
    """A source image: a file next to the page, or in `absent` the reason why there is none."""

    name: str
    width: int  # px
    height: int  # px
    picture: str | None
    absent: str = ""


class DecodedPicture(NamedTuple):
    """A decoded image: a file next to the page, or in `absent` the reason why there is none."""

    picture: str | None
    absent: str = ""
    failed: bool = False  # a stream exists, but decoding it failed
    limited: bool = False  # a stream exists, but its picture exceeds the page's limit
    # By metric column: the map's file, and the value that only few pixels exceed
    maps: Mapping[str, tuple[str, float]] = {}


ImageKey = tuple[str, str, int]  # label and setting of a point, image id


class EmbeddedCrop(NamedTuple):
    """Part of a picture, inside the page."""

    key: ImageKey | None  # None: the original
    image: str  # name of the photograph
    left: int  # px
    top: int  # px
    side: int  # px
    file: bytes  # lossless WebP
    rate: float  # approximate bpp of all crops


@dataclass(frozen=True)
class Content:
    """Points, curves, pictures and tables that a page shows."""

    dataset: str
    title: str  # title of the dataset
    headline: str  # sentence below the title
    summary: Summary
    metrics: Sequence[Metric]  # metrics with values
    legend: Mapping[str, Mapping[str, str]]  # `legend_entry` by label or published name
    photographs: Mapping[int, SourcePicture]  # by image id
    pictures: Mapping[ImageKey, DecodedPicture]
    sections: Mapping[str, Section]  # ranking, bd_rates, means, codecs, missing
    facts: Sequence[tuple[str, str]]  # date, machine and rules of the measurement
    neighbours: Sequence[str] = ()  # labels of the codecs to which the viewer compares first
    shown_labels: Sequence[str] = ()  # labels of the curves that are shown first
    shown_published: Sequence[str] = ()  # names of the published curves that are shown first
    captions: Mapping[str, str] = field(default_factory=dict)  # of curves, by column
    lead_columns: Sequence[str] = ()  # columns of the metrics that rank codecs
    crops: Sequence[EmbeddedCrop] = ()
    published: Mapping[str, Sequence[Curve]] = field(default_factory=dict)  # by column
    linear_rate: bool = False
    most_bpp: float = math.inf  # highest rate that the curves show at first
    map_scales: Mapping[str, MapScale] = field(default_factory=dict)  # by column, of the maps

    @property
    def order(self) -> list[int]:
        """Image ids in the page's order: by the photographs' names."""
        return sorted(self.photographs, key=lambda number: self.photographs[number].name)


def page_data(content: Content) -> dict[str, Any]:
    """Return the content as JSON values; infinity becomes "inf"."""
    from scipy.special import stdtrit

    summary, order = content.summary, content.order
    texts, metrics = summary.labels, {m.column: m for m in content.metrics}
    labels = [texts[edition] for edition in summary.editions]
    metrics = {name: metrics[name] for name in FIRST_COLUMNS if name in metrics} | metrics
    # Half widths of intervals in standard errors, for means over 2, 3, ... images (Student's t)
    quantiles = [float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) for n in range(2, len(order) + 1)]
    sentences: dict[str, int] = {}
    points = _point_records(content, sentences)
    return {
        "dataset": content.dataset,
        "title": content.title,
        "confidence": round(100 * CONFIDENCE),
        "close": MAX_CLOSE_RATIO,
        "quantiles": _round_numbers(quantiles),
        "linear_rate": content.linear_rate,
        "most_bpp": _round_number(content.most_bpp) if math.isfinite(content.most_bpp) else None,
        "shown": {
            "codecs": [labels.index(label) for label in content.shown_labels],
            "published": list(content.shown_published),
        },
        "leads": list(content.lead_columns),
        "measures": [_metric_record(content, metric) for metric in metrics.values()],
        "codecs": [_codec_data(content, edition, texts[edition]) for edition in summary.editions],
        "neighbours": [labels.index(label) for label in content.neighbours],
        "images": [content.photographs[number]._asdict() for number in order],
        "points": points,
        "maps": [
            {"column": column, **scale._asdict()}
            for column, scale in content.map_scales.items()
            if any(column in picture.maps for picture in content.pictures.values())
        ],
        "absent": list(sentences),
        "published": {
            metric.column: [
                _published_record(content, curve)
                for curve in content.published.get(metric.column, ())
            ]
            for metric in content.metrics
        },
    }


def point_link(
    content: Content,
    label: str,
    setting: str,
    image: int | None = None,
    neighbours: Sequence[str] = (),
    map_column: str = "",
) -> str:
    """Return the link to a point, or to one of its images or maps (viewer.js)."""
    parts = [content.dataset, label, setting]
    if image is not None:
        parts.append(content.photographs[image].name)
    link = "#" + "/".join(map(_quote, parts))
    labels = ",".join(map(_quote, neighbours))
    return f"{link}?beside={labels}&where={_quote(map_column)}" if map_column else link


def _quote(text: str) -> str:
    characters = map(chr, text.encode("utf-8", "replace"))
    return "".join(
        character if character in UNQUOTED_CHARACTERS else f"%{ord(character):02X}"
        for character in characters
    )


def _metric_record(content: Content, metric: Metric) -> dict[str, Any]:
    return {
        "column": metric.column,
        "label": metric.label,
        "name": metric_names([metric]),
        "unit": f" {metric.unit}" if metric.unit else "",
        "caption": content.captions.get(metric.column, ""),
        "axis": metric.axis_label,
        "better": metric.better,
        "saturating": metric.saturating,
        "decimals": metric.decimals,
        "by_image": not metric.is_distribution,
        "wide": metric.scale == "decades",
    }


def _codec_data(content: Content, edition: Edition, label: str) -> dict[str, Any]:
    return {
        "label": label,
        **content.legend[label],
        "version": edition.short_version,
        "own": edition.facts.kind == "own",
        "caveats": list(edition.run_facts.caveats),
        "recorded": edition.run_facts.recorded,
        "bundled": edition.bundled,
    }


def leave_out_images(data: dict[str, Any], max_bytes: int) -> None:
    """Empty per-image lists to fit `max_bytes` of JSON; initially shown codecs are emptied last."""
    bytes_by_codec: dict[int, int] = {}
    for point in data["points"]:
        lists = {name: point[name] for name in PER_IMAGE_FIELDS}
        saved_bytes = len(json_text(lists)) - len(json_text(_empty_lists(point)))
        bytes_by_codec[point["codec"]] = bytes_by_codec.get(point["codec"], 0) + saved_bytes
    bytes_left = max_bytes - len(json_text(data)) + sum(bytes_by_codec.values())
    codecs_with_images = set()
    for codec in dict.fromkeys([*data["shown"]["codecs"], *bytes_by_codec]):
        if bytes_by_codec.get(codec, 0) <= bytes_left:
            bytes_left -= bytes_by_codec.get(codec, 0)
            codecs_with_images.add(codec)
    for point in data["points"]:
        if point["codec"] not in codecs_with_images:
            point.update(_empty_lists(point))


def _empty_lists(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: type(point[name])() for name in PER_IMAGE_FIELDS}


def json_text(data: Mapping[str, object]) -> str:
    """Return JSON for an HTML script element; characters of tags are escaped."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def lighten(colour: str) -> str:
    """Return a colour for the dark page, lightened just enough for MIN_CONTRAST."""
    shades = (
        colour,
        *(mix_with_grey(colour, 255, step / NUM_SHADES) for step in range(1, NUM_SHADES + 1)),
    )
    return next(shade for shade in shades if contrast(shade, DARK_PAGE) >= MIN_CONTRAST)


@cache
def marker_path(marker: str) -> str:
    """Return a matplotlib marker as an SVG path centred at (0, 0), MARKER_PX wide."""
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(marker)
    shapes: Any = style.get_path().transformed(style.get_transform()).to_polygons(closed_only=False)
    lines = [
        "L".join(f"{MARKER_PX * x:.2f},{-MARKER_PX * y:.2f}" for x, y in shape) for shape in shapes
    ]
    return "".join(f"M{line}Z" for line in lines)


def legend_entry(name: str, style: Style) -> dict[str, str]:
    """Return a curve's name in legends, its colours on light and dark pages, and its marker."""
    return {
        "name": name,
        "colour": style.colour,
        "colour_dark": lighten(style.colour),
        "marker": marker_path(style.marker),
        "dashes": " ".join(f"{LINE_PX * length:.3g}" for length in style.dashes),
    }


def _point_records(content: Content, sentences: dict[str, int]) -> list[dict[str, Any]]:
    """Return the points' records; add sentences on absent pictures to `sentences`."""
    summary, labels = content.summary, content.summary.labels
    codec_numbers = {edition: number for number, edition in enumerate(summary.editions)}
    positions = {number: position for position, number in enumerate(content.order)}
    excluded = {
        m.column: {(p.edition, p.setting) for p, _ in excluded_points(summary, m)}
        for m in content.metrics
    }

    def mean_record(point: Point, metric: Metric) -> dict[str, Any]:
        mean = point.means[metric.column]
        result: dict[str, Any] = {"value": _round_number(mean.value)}
        if mean.value is None:
            return result
        if mean.bpp != point.bpp:
            result["bpp"] = _round_number(mean.bpp)
        if mean.images != point.images:
            result["images"] = mean.images
        if (point.edition, point.setting) in excluded[metric.column]:
            result["excluded"] = True
        elif (interval := point_interval(point, metric)) is not None:
            result["interval"] = _round_numbers(interval)
        return result

    points = []
    for point in summary.points:
        setting, numbers = str(point.setting), point.image_ids.tolist()
        pictures: list[str | int] = []
        for number in numbers:
            decoded = content.pictures[labels[point.edition], setting, number]
            next_number = len(sentences)
            pictures.append(decoded.picture or sentences.setdefault(decoded.absent, next_number))
        points.append(
            {
                "codec": codec_numbers[point.edition],
                "setting": setting,
                "bpp": _round_number(point.bpp),
                "count": point.images,
                "means": {m.column: mean_record(point, m) for m in content.metrics},
                "images": [positions[number] for number in numbers],
                "image_bpp": _round_numbers(point.image_bpp.tolist()),
                "image_values": {
                    metric.column: _round_numbers(point.image_values[metric.column].tolist())
                    for metric in content.metrics
                    if not metric.is_distribution
                },
                "pictures": pictures,
                "maps": [
                    {
                        column: [file, _round_number(max_error)]
                        for column, (file, max_error) in content.pictures[
                            labels[point.edition], setting, n
                        ].maps.items()
                    }
                    for n in numbers
                ],
            }
        )
    return points


def _published_record(content: Content, curve: Curve) -> dict[str, Any]:
    metric = curve.metric
    rule, first_point = content.summary.protocols[metric.column], curve.points[0]
    copied_fields = (
        "setting",
        "bpp",
        "value",
        "value_error",
        "bpp_error",
        "reference",
        "rate_protocol",
    )
    points = []
    for point in curve.points:
        reading_error, plotted_value = point.value_error, metric.axis_position(point.value)
        ends = [metric.axis_position(point.value + sign * (reading_error or 0)) for sign in (-1, 1)]
        points.append(
            {
                **{name: getattr(point, name) for name in (*copied_fields, "note")},
                "place": _round_number(plotted_value),
                "error": _round_numbers(sorted(ends)) if reading_error else None,
            }
        )
    return {
        **content.legend[curve.name],
        "protocol": first_point.protocol,
        "other_rule": first_point.protocol not in (rule, *metric.meets, UNSTATED),
        "sampled": curve.sampled,
        "source": first_point.source,
        "how": "from file"
        if curve.edition.origin == "file"
        else f"published, {ORIGINS[first_point.how]}",
        "points": points,
    }


def _round_number(value: float | None) -> float | str | None:
    """Round to six digits; NaN becomes None, infinity a string.

    >>> _round_number(1234.56789), _round_number(math.inf), _round_number(math.nan)
    (1234.57, 'inf', None)
    """
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else f"{value}"


def _round_numbers(values: Sequence[float]) -> list[float | str | None]:
    return [_round_number(value) for value in values]


def contrast(colour: str, other_colour: str) -> float:
    """Return WCAG's contrast ratio of two colours, 1 to 21."""
    low, high = sorted(map(luminance, (colour, other_colour)))
    return (high + 0.05) / (low + 0.05)
