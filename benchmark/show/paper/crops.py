"""Figures of a part of a photograph as several codecs have it at about one rate: crops, maps."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.compare.anchor import with_anchor
from benchmark.compare.experiment import Experiment, Rates, rates_in
from benchmark.compare.pictures import CLOSE, matched_rate, near, off_rate
from benchmark.datasets.dataset import profile
from benchmark.datasets.image import read_image
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import reference_codecs
from benchmark.measure.cells import Failed
from benchmark.measure.pictures import Pictures, pictures_of
from benchmark.measure.select import sources_of
from benchmark.metrics.maps import REACH_PERCENTILE, map_scale, mapped_metric, scale_end
from benchmark.metrics.metric import Metric, lacking
from benchmark.option import COMPARED, ORIGIN, opt, some
from benchmark.registry import DATASETS
from benchmark.rows.comparable import shown_rows
from benchmark.rows.edition import Edition, label_of, titles
from benchmark.rows.schema import is_declared, metric_names
from benchmark.rows.stored import stored_dataset, verified
from benchmark.rows.variants import divided
from benchmark.rows.versions import BUNDLED
from benchmark.show.bd_rates import LONGEST_LIST
from benchmark.show.figures.picture_sheet import (
    Box,
    PictureTile,
    above,
    add_bar,
    coloured,
    draw_pictures,
    most_different,
)
from benchmark.show.figures.style import look
from benchmark.show.figures.texts import PaperFigure
from benchmark.show.sections import CAVEAT, brief, marked
from benchmark.show.sections import metric_names as metric_words
from benchmark.spec import CodecSpec
from benchmark.system.text import listed

Parts = Annotated[  # what a figure of parts of photographs is about
    Experiment, some("results dataset codecs bundled metrics anchor images verified_only")
]
BOX = opt(COMPARED, "Part of a photograph: LEFT,TOP,WIDTH,HEIGHT in pixels.")
DATA_DIR = opt(ORIGIN, "Folder that datasets are in.", refuses="folder")
USUAL_METRICS = ("lpips_squeeze", "lpips")  # under a crop: the first that all rows have, or PSNR
CROP_PX, MAP_CROP_PX = 160, 256  # a network's map shows regions, not edges
MAPPED = ("lpips_squeeze", "lpips", "psnr_y")  # the first that can be computed here is drawn
MOST_CROPS = 6  # the photograph and its own crop come first
PER_ROW = (5, 3)  # pictures: of a page, of a column
MOST_MAPS = (4, 3)  # codecs, in one row: of a page, of a column

StreamRow = Mapping[str, Any]
ByCodec = Mapping[str, list[StreamRow]]
Kind = TypeVar("Kind", np.uint8, np.float32)


class Crop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a photograph to show, as a table of a file has it."""

    image: str = ""  # empty: the one that codecs differ on most
    box: Box | None = None  # left, top, width, height in pixels
    bpp: float | None = None


def crops_of(
    tables: Sequence[Mapping[str, Any]], box: str, images: Sequence[str]
) -> Sequence[Crop]:
    """Return the crops to show: that of a box, else those of a file's tables.

    Raises `UsageError` for a box that is none.
    """
    crops = msgspec.convert(tables, tuple[Crop, ...])
    image = next(iter(images), "")
    if not box:
        return crops or (Crop(image),)
    try:
        left, top, width, height = map(int, box.split(","))
    except ValueError:
        left, top, width, height = 0, 0, 0, 0
    if min(left, top) < 0 or min(width, height) < 1:
        raise UsageError(f"--box {box!r} is not of the form LEFT,TOP,WIDTH,HEIGHT")
    return (Crop(image or (crops[0].image if crops else ""), (left, top, width, height)),)


class View(NamedTuple):
    """A photograph as several codecs have it at about one rate."""

    image: str
    title: str  # of the dataset
    picture: Pixels
    pixels: Mapping[str, Pixels]  # by label, in their order
    rows: Mapping[str, StreamRow]  # by label
    names: Mapping[str, str]  # by label
    rate: float  # bpp
    box: Box | None  # that was asked for
    metric: Metric  # whose values stand below the parts


def crops(
    of: Parts,
    bpp: Rates = (),
    box: Annotated[str, BOX] = "",
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    crops: Sequence[Mapping[str, Any]] = (),
) -> PaperFigure:
    """Draw one part of a photograph as codecs have it at about one rate.

    By default it is the part that the codecs disagree on most, of the photograph on which the
    metric differs most; --images and --box, or `crops` of FILE, choose others. The metric is below
    each part.

    Examples:
      bench figures crops --dataset sample --images chelsea --bpp 0.2
      bench figures crops --images kodim15 --box 120,80,192,128
    """
    parts, metrics = crops_of(crops, box, of.images), metric_names(of.metrics or USUAL_METRICS)
    views, sentences = _views(of, rates_in(bpp), parts, data_dir, metrics, "crops")
    tiles: list[PictureTile] = []
    for view in views:
        kept = _order(view, None if look().most is None else MOST_CROPS)
        place = _inside(view, view.box or most_different([view.pixels[k] for k in kept], CROP_PX))
        if len(views) == 1:
            tiles.append(PictureTile("Photograph", view.picture, {}, {}, place))
        tiles.append(PictureTile("Source", _part(view.picture, place), {}, {}))
        tiles += [_tile(view, label, place) for label in kept]
    if not tiles:
        return PaperFigure(None, sentences)
    each = len(tiles) // len(views)
    columns = math.ceil(each / math.ceil(each / PER_ROW[look().width == "column"]))
    return PaperFigure(draw_pictures(tiles, columns, _caption(views, tiles)), sentences)


def maps(
    of: Parts,
    bpp: Rates = (),
    box: Annotated[str, BOX] = "",
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    crops: Sequence[Mapping[str, Any]] = (),
) -> PaperFigure:
    """Draw one part of a photograph as codecs have it, and a map of where each is worse.

    The map is of the first of --metrics: lpips_squeeze, lpips, ssim or psnr_y. By default the part
    is where the maps of all but the worst codec differ most.

    Examples:
      bench figures maps --codecs ours,vtm,avif --dataset sample --bpp 0.2
      bench figures maps --metrics psnr_y --width column
    """
    asked, parts = metric_names(of.metrics) if of.metrics else (), crops_of(crops, box, of.images)
    name = next(iter(asked), "") or next(name for name in MAPPED if not lacking([name]))
    scale, metric = map_scale(name), mapped_metric(name)
    views, sentences = _views(of, rates_in(bpp), parts[:1], data_dir, (name,), "maps")
    if not views:
        return PaperFigure(None, sentences)
    (view,) = views
    is_column = look().width == "column"
    kept = _order(view, MOST_MAPS[is_column])
    prepared = metric.prepare(view.picture)
    of_codec = {label: metric.error_map(prepared, view.pixels[label]) for label in kept}
    better = sorted(kept, key=lambda label: float(np.nanmean(of_codec[label])))
    differ = [np.nan_to_num(of_codec[k])[..., None] for k in better[: max(len(kept) - 1, 2)]]
    place = _inside(view, view.box or most_different(differ, MAP_CROP_PX))
    cut = {label: _part(of_codec[label], place) for label in kept}
    end = scale_end(
        [float(np.nanpercentile(part, REACH_PERCENTILE)) for part in cut.values()], scale
    )
    tiles = []
    if not is_column:
        tiles.append(PictureTile("Photograph", view.picture, {}, {}, place))
        tiles.append(PictureTile("Source", _part(view.picture, place), {}, {}))
    for label in kept:
        tile = _tile(view, label, place)
        values = dict(tile.values)
        if values[view.metric.label] is None:
            values[view.metric.label] = metric.compare(prepared, view.pixels[label])
        part = metric.value_of_map(float(np.nanmean(cut[label], dtype=np.float64)))
        values[f"this part{' (dB)' * metric.label.endswith('(dB)')}"] = part
        both = above(tile.pixels, coloured(cut[label], scale, end))
        tiles.append(tile._replace(pixels=both, values=values))
    below = f"Below each: {scale.label}, and the metric of this part."
    drawing = draw_pictures(tiles, len(tiles), brief(_caption(views, tiles), below))
    add_bar(drawing.figure, scale, end)
    more = [f"maps show one part, the first of {len(parts)}"] if parts[1:] else []
    return PaperFigure(drawing, [*sentences, *more])


def _views(
    of: Experiment,
    rates: Sequence[float],
    parts: Sequence[Crop],
    data_dir: Path | None,
    metrics: Sequence[str],
    figure: str,
) -> tuple[list[View], list[str]]:
    """Decode the photographs of parts; return them with sentences, which begin with why none is.

    rates: the first is that of parts without one. metrics: the first that all rows have is shown,
    or the only one, or the first of the experiment. `figure` is named in sentences.
    """
    dataset = of.dataset.partition(":")[0]
    if dataset not in DATASETS:
        dataset = stored_dataset(of.results, of.dataset)
    decodable = pictures_of(of.results, dataset, of.codecs, dataset=of.dataset)
    table = decodable.table
    if of.verified_only:
        table = verified(table, of.results / dataset)
    table = shown_rows(with_anchor(*divided(table, of.codecs, of.bundled), of.anchor)[0])
    by_image = decodable.by_image(table, of.named)
    lacks = _lacking(decodable, table, of)
    every = [row for rows in by_image.values() for own in rows.values() for row in own]
    asked, is_named = map(Metric.named, metrics), of.metrics or not metrics[1:]
    there = (m for m in asked if is_named or all(r.get(m.column) is not None for r in every))
    metric = next(there, Metric.named("psnr"))
    sources = sources_of(of.dataset, data_dir, of.results)
    if isinstance(sources, str):
        return [], [f"no {figure}: {sources}"]
    measured = {row["image_sha256"] for row in every}
    files = {it.file.name: it.file.path for key, it in sources.items() if key in measured}
    by_image = {image: rows for image, rows in by_image.items() if image in files}
    views, few = list[View](), ""
    if not any(len(rows) > 1 for rows in by_image.values()):
        few = "no photograph here has pictures of two codecs"
    editions = _editions(by_image)
    here = {label_of(CodecSpec.of_row(row)) for row in every if not row["bundled"]}
    bundled = [of for of in editions.values() if here and label_of(of.spec) not in here]
    named = titles(editions.values(), bundled) | look().titles(editions.values())
    names = {label: named[edition] for label, edition in editions.items()}
    for part in () if few else parts:
        image = _image(part.image, by_image) or _most_different(by_image, metric)
        picture = read_image(files[image], flatten=True).pixels
        chosen, rate = _at_rate(by_image[image], part.bpp or next(iter(rates), None))
        far = {label: rows for label, rows in by_image[image].items() if label not in chosen}
        pixels, failed = _decoded(chosen, decodable)
        lacks += [*_too_far(far, rate, of.dataset), *failed]
        if len(pixels) < 2:
            few = f"fewer than two codecs have pictures of about {rate:.3g} bpp"
            break
        shown = picture, pixels, chosen, names, rate, part.box, metric
        views.append(View(image, profile(dataset).title, *shown))
    sentences = [f"no {figure}: {few}"] if few else []
    return [] if few else views, [*sentences, *dict.fromkeys(f"{figure} lack {it}" for it in lacks)]


def _editions(by_image: Mapping[str, ByCodec]) -> dict[str, Edition]:
    """Return what rows are of, by label, as far as their names in figures need it."""
    rows = {label: own[0] for of in by_image.values() for label, own in of.items()}
    return {label: Edition.of_row(row) for label, row in rows.items()}


def _inside(view: View, box: Box) -> Box:
    if _part(view.picture, box).shape[:2] != (box[3], box[2]):
        size = f"{view.picture.shape[1]} x {view.picture.shape[0]}"
        raise UsageError(f"the box {','.join(map(str, box))} is not inside {view.image}, {size}")
    return box


def _caption(views: Sequence[View], tiles: Sequence[PictureTile]) -> str:
    records = [tile.record for tile in tiles if tile.record]
    declared = any(is_declared(row) for view in views for row in view.rows.values())
    origin = "" if declared else "decoded from real streams "
    return brief(
        f"Parts of {', '.join(dict.fromkeys(record['image'] for record in records))} "
        f"({views[0].title}), {origin}of about one rate; rate and "
        f"{metric_words([views[0].metric])} are of the whole photograph.",
        *dict.fromkeys(f"{CAVEAT} {record['caveat']}." for record in records if record["caveat"]),
    )


def _order(view: View, most: int | None) -> list[str]:
    """Return the codecs to show, in their order: the user's and the best known before others."""
    known, rows = reference_codecs()[-1], {label: view.rows[label] for label in view.pixels}
    editions = {label: Edition.of_row(row) for label, row in rows.items()}
    order = sorted(editions, key=lambda label: look().place(editions[label]))

    def is_other(label: str) -> bool:
        return not editions[label].is_users and editions[label].spec.text != known

    kept = sorted(order, key=is_other)[:most]
    return [label for label in order if label in kept]


def _image(asked: str, known: Mapping[str, object]) -> str:
    """Return the name of the photograph asked for; empty if none was."""
    name = asked if asked in known else asked.rpartition("/")[2]
    result = (n for n in known if fnmatch(n, name) or fnmatch(PurePath(n).stem, name))
    image = next(result, "") if asked else ""
    if asked and not image:
        raise UnknownName("photograph with pictures", asked, known)
    return image


def _most_different(by_image: Mapping[str, ByCodec], metric: Metric) -> str:
    """Return the photograph with most codecs on which the metric differs most at one rate."""

    def spread(image: str) -> tuple[int, float, str]:
        rows = by_image[image]
        values = (row.get(metric.column) for row in _at_rate(rows, None)[0].values())
        known = [value for value in values if value is not None] or [0.0]
        return len(rows), max(known) - min(known), image

    return max(by_image, key=spread)


def _at_rate(rows: ByCodec, bpp: float | None) -> tuple[dict[str, StreamRow], float]:
    """Choose the rows that show each codec at a rate; by default at one that most are shown at."""
    rates = {name: [row["bpp"] for row in of] for name, of in rows.items()}
    rate = bpp or matched_rate(rates)
    places = {name: near(rate, of, CLOSE, between=True) for name, of in rates.items()}
    chosen = {name: rows[name][place] for name, place in places.items() if place is not None}
    return chosen, rate


def _lacking(pictures: Pictures, rows: pl.DataFrame, asked: Experiment) -> list[str]:
    """Return the codecs of the experiment without a picture, each with why."""
    own = rows if asked.named else rows.filter(~BUNDLED)
    return [
        f"{listed(labels, max_names=LONGEST_LIST)}: {why}" for labels, why in pictures.lacking(own)
    ]


def _too_far(far: ByCodec, rate: float, dataset: str) -> list[str]:
    """Return the codecs without a setting near a rate, each with what measures one."""
    sentences = []
    for name, of in far.items():
        spec = CodecSpec.of_row(of[0])
        bpp = [row["bpp"] for row in of]
        command = f"bench run --codecs {spec.text} --dataset {dataset} --target bpp={rate:.3g}"
        sentences.append(
            f"{name}: its settings have {min(bpp):.3g} to {max(bpp):.3g} bpp, none "
            f"within {100 * (CLOSE - 1):.0f} % of {rate:.3g} (`{command}` measures one)"
        )
    return sentences


def _decoded(
    chosen: Mapping[str, StreamRow], pictures: Pictures
) -> tuple[dict[str, Pixels], list[str]]:
    """Return pixels by codec, and the codecs whose stream cannot be decoded, with the reason."""
    labels, pixels, failed = [*chosen], dict[str, Pixels](), list[str]()
    for place, made in filter(None, pictures.decoded([*chosen.values()], "cpu", 1)):
        if isinstance(made, Failed):
            failed.append(f"{labels[place]}: {made.reason}")
        else:
            pixels[labels[place]] = made
    return {label: pixels[label] for label in labels if label in pixels}, failed


def _part(pixels: NDArray[Kind], box: Box) -> NDArray[Kind]:
    left, top, width, height = box
    return pixels[top : top + height, left : left + width]


def _tile(view: View, label: str, box: Box) -> PictureTile:
    row, metric, name = view.rows[label], view.metric, view.names[label]
    record = {
        "system": name,
        "codec": row["codec"],
        "variant": row["variant"],
        "setting": f"{row['setting_name']}={row['setting_value']:g}",
        "image": view.image,
        **dict(zip(("left", "top", "width", "height"), box, strict=True)),
        "bpp": row["bpp"],
        "recorded": bool(row["recorded"]),
        "version": row["codec_version"],
        "caveat": row["caveat"],
        "stream_sha256": row["stream_sha256"],
        **{key: row.get(key) for key in (metric.column, f"{metric.column}_protocol")},
    }
    values = {"Rate (bpp)": row["bpp"], metric.label: row.get(metric.column)}
    off, cut = off_rate(row["bpp"], view.rate), _part(view.pixels[label], box)
    return PictureTile(marked(name, row["caveat"]), cut, values, record, remark=off)
