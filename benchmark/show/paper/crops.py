"""Figures of a part of a photograph at about one rate, or value of a metric: crops, maps."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath
from statistics import fmean
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.compare.anchor import add_anchor
from benchmark.compare.experiment import Experiment, Rates, parse_rates
from benchmark.compare.pictures import (
    ABOUT,
    LEAST_BPP,
    distance,
    matched_rate,
    nearest_setting,
    rate_deviation,
)
from benchmark.compare.rank import RATE, Target, parse_target
from benchmark.datasets.dataset import profile
from benchmark.datasets.image import read_image
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import reference_codecs
from benchmark.measure.cells import Failed
from benchmark.measure.pictures import Pictures, open_pictures
from benchmark.measure.select import find_sources
from benchmark.metrics.maps import REACH_PERCENTILE, map_scale, mapped_metric, scale_end
from benchmark.metrics.metric import Metric, lacking
from benchmark.option import COMPARED, ORIGIN, opt, some
from benchmark.registry import DATASETS
from benchmark.rows.comparable import add_same_builds, shown_rows
from benchmark.rows.edition import Edition, label_of, titles
from benchmark.rows.names import is_named
from benchmark.rows.remedies import command_on_rows
from benchmark.rows.schema import is_declared, metric_names
from benchmark.rows.stored import stored_dataset, verified_rows
from benchmark.rows.variants import divide_rows
from benchmark.rows.versions import BUNDLED, OK
from benchmark.show.bd_rates import LONGEST_LIST
from benchmark.show.figures.picture_sheet import RATE as BPP
from benchmark.show.figures.picture_sheet import (
    SIZE,
    Box,
    PictureTile,
    add_bar,
    coloured,
    draw_pictures,
    most_different,
    stack_map,
)
from benchmark.show.figures.style import look
from benchmark.show.figures.texts import PaperFigure
from benchmark.show.sections import CAVEAT, brief, marked
from benchmark.show.sections import listed as in_words
from benchmark.show.sections import metric_names as metric_words
from benchmark.spec import CodecSpec
from benchmark.system.text import by_key, listed, range_text

Parts = Annotated[  # what a figure of parts of photographs is about
    Experiment, some("results dataset codecs bundled metrics anchor images verified_only")
]
AT = opt(COMPARED, "A value to show each codec nearest to: ssimulacra2=90, psnr=32, bpp=.3.")
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
    at: str = ""  # as --at has it

    def target(self, at: str, rates: Sequence[float]) -> Target | None:
        """Return the crop's own target, else that of --at or --bpp; None for a matched rate."""
        if self.at:
            return parse_target(self.at)
        if self.bpp:
            return Target(RATE, self.bpp)
        if at and rates:
            raise UsageError("--at and --bpp say the same: leave one out")
        if at:
            return parse_target(at)
        return Target(RATE, rates[0]) if rates else None


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
    """A photograph as several codecs have it at about one rate or value of a metric."""

    image: str
    title: str  # of the dataset
    picture: Pixels
    pixels: Mapping[str, Pixels]  # by label, in their order
    rows: Mapping[str, StreamRow]  # by label
    names: Mapping[str, str]  # by label
    target: Target
    box: Box | None  # that was asked for
    metrics: Sequence[Metric]  # whose values stand below the parts; of a map it is the last


def crops(
    of: Parts,
    bpp: Rates = (),
    box: Annotated[str, BOX] = "",
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    crops: Sequence[Mapping[str, Any]] = (),
    at: Annotated[str, AT] = "",
) -> PaperFigure:
    """Draw one part of a photograph as codecs have it at about one rate, or one value of a metric.

    By default it is the part that the codecs disagree on most, of the photograph on which the
    metric differs most; --images and --box, or `crops` of FILE, choose others. The metric is below
    each part. Codecs whose nearest picture is more than a quarter off a rate are left out.

    Examples:
      bench figures crops --dataset sample --images chelsea --bpp 0.2
      bench figures crops --codecs jpeg,webp,avif --at ssimulacra2=90
      bench figures crops --images kodim15 --box 120,80,192,128
    """
    parts, metrics = crops_of(crops, box, of.images), metric_names(of.metrics or USUAL_METRICS)
    targets = [part.target(at, parse_rates(bpp)) for part in parts]
    views, sentences = _views(of, parts, targets, data_dir, metrics, "crops")
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
    at: Annotated[str, AT] = "",
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
    targets = [parts[0].target(at, parse_rates(bpp))]
    views, sentences = _views(of, parts[:1], targets, data_dir, (name,), "maps")
    if not views:
        return PaperFigure(None, sentences)
    (view,) = views
    is_column, column = look().width == "column", metric.column
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
        if values[metric.label] is None:
            values[metric.label] = metric.compare(prepared, view.pixels[label])
        part = metric.value_of_map(float(np.nanmean(cut[label], dtype=np.float64)))
        values[f"this part{' (dB)' * metric.label.endswith('(dB)')}"] = part
        both = stack_map(tile.pixels, coloured(cut[label], scale, end))
        record = {**tile.record, column: values[metric.label], f"{column}_of_part": part}
        record |= {"map": scale.label, "map_end": end}
        record[f"{column}_protocol"] = record[f"{column}_protocol"] or metric.protocol
        tiles.append(tile._replace(pixels=both, values=values, record=record))
    below = f"Below each: {scale.label}, and the metric of this part."
    notes = [f"Maps: {scale.label}, from 0 to {end:g}."]
    drawing = draw_pictures(tiles, len(tiles), brief(_caption(views, tiles), below), notes)
    add_bar(drawing.figure, scale, end)
    more = [f"maps show one part, the first of {len(parts)}"] if parts[1:] else []
    return PaperFigure(drawing, [*sentences, *more])


def _views(
    of: Experiment,
    parts: Sequence[Crop],
    targets: Sequence[Target | None],
    data_dir: Path | None,
    metrics: Sequence[str],
    figure: str,
) -> tuple[list[View], list[str]]:
    """Decode the photographs of parts; return them with sentences, which begin with why none is.

    targets: of parts; None: a rate that most codecs are near. metrics: the first that all rows have
    is shown, or the only one, or the first of the experiment, beside that of a target. `figure` is
    named in sentences.
    """
    dataset = of.dataset.partition(":")[0]
    if dataset not in DATASETS:
        dataset = stored_dataset(of.results, of.dataset)
    decodable = open_pictures(of.results, dataset, of.codecs, dataset=of.dataset)
    table = decodable.table
    if of.verified_only:
        table = verified_rows(table, of.results / dataset)
    shown = shown_rows(add_anchor(*divide_rows(table, of.codecs, of.bundled), of.anchor)[0])
    table = add_same_builds(shown, table)
    by_image = decodable.group_by_image(table, of.named)
    lacks = _lacking(decodable, table, of)
    every = [row for rows in by_image.values() for own in rows.values() for row in own]
    asked, is_metric_named = map(Metric.named, metrics), bool(of.metrics) or not metrics[1:]
    there = (m for m in asked if is_metric_named or all(r.get(m.column) is not None for r in every))
    metric = next(there, Metric.named("psnr"))
    sources = find_sources(of.dataset, data_dir, of.results)
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
    for part, wanted in () if few else zip(parts, targets, strict=True):
        metrics_below = _metrics_below(wanted, metric, is_metric_named)
        image = _image(part.image, by_image) or _most_different(by_image, metric, wanted)
        picture = read_image(files[image], flatten=True).pixels
        target = wanted or _matched(by_image[image])
        chosen = _nearest(by_image[image], target)
        far = {label: rows for label, rows in by_image[image].items() if label not in chosen}
        pixels, failed = _decoded(chosen, decodable)
        lacks += [*_too_far(far, target, table, decodable, of, data_dir), *failed]
        if len(pixels) < 2:
            few = f"fewer than two codecs have pictures at about {target}"
            break
        of_view = picture, pixels, chosen, names, target, part.box, metrics_below
        views.append(View(image, profile(dataset).title, *of_view))
    sentences = [f"no {figure}: {few}"] if few else []
    return [] if few else views, [*sentences, *dict.fromkeys(f"{figure} lack {it}" for it in lacks)]


def _editions(by_image: Mapping[str, ByCodec]) -> dict[str, Edition]:
    """Return what rows are of, by label, as far as their names in figures need it."""
    rows = {label: own[0] for of in by_image.values() for label, own in of.items()}
    return {label: Edition.parse_row(row) for label, row in rows.items()}


def _inside(view: View, box: Box) -> Box:
    if _part(view.picture, box).shape[:2] != (box[3], box[2]):
        size = f"{view.picture.shape[1]} x {view.picture.shape[0]}"
        raise UsageError(f"the box {','.join(map(str, box))} is not inside {view.image}, {size}")
    return box


def _metrics_below(target: Target | None, metric: Metric, named: bool) -> list[Metric]:
    """Return the metrics to show: that of a target, and the other if it was named."""
    if target is None or target.name == RATE:
        return [metric]
    of_target = Metric.named(target.name)
    if of_target.of_sets:
        raise UsageError(f"{target}: {target.name} has no value of a photograph: name bpp or psnr")
    return [of_target, metric] if named and metric != of_target else [of_target]


def _caption(views: Sequence[View], tiles: Sequence[PictureTile]) -> str:
    records = [tile.record for tile in tiles if tile.record]
    declared = any(is_declared(row) for view in views for row in view.rows.values())
    origin = "" if declared else "decoded from real streams "
    by_target = by_key(((record["image"], record["at"]), record) for record in records)
    spreads = dict.fromkeys(map(_spread, by_target.values()))
    metrics = dict.fromkeys(metric for view in views for metric in view.metrics)
    whole = ["size"] if any(view.target.name != RATE for view in views) else []
    whole += ["rate", *(metric_words([metric]) for metric in metrics)]
    return brief(
        f"Parts of {', '.join(dict.fromkeys(record['image'] for record in records))} "
        f"({views[0].title}), {origin}{in_words([*spreads])}; {in_words(whole)} "
        "are of the whole photograph.",
        *dict.fromkeys(f"{CAVEAT} {record['caveat']}." for record in records if record["caveat"]),
    )


def _spread(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the words on what the pictures of a photograph have in common, and how nearly."""
    target = parse_target(records[0]["at"])
    if target.name == RATE:
        rates = [record["bpp"] for record in records]
        return f"of {range_text(min(rates), max(rates), '.2g')} bpp"
    metric = Metric.named(target.name)
    values = [record[metric.column] for record in records]
    ends = range_text(min(values), max(values), ".3g")
    return f"nearest to {target.value:g} in {metric_words([metric])} ({ends})"


def _order(view: View, most: int | None) -> list[str]:
    """Return the codecs to show, in their order: the user's and the best known before others."""
    known, rows = reference_codecs()[-1], {label: view.rows[label] for label in view.pixels}
    editions = {label: Edition.parse_row(row) for label, row in rows.items()}
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


def _most_different(by_image: Mapping[str, ByCodec], metric: Metric, target: Target | None) -> str:
    """Return the photograph with most codecs at a target on which they differ most.

    They differ in a metric, at a value of a metric in rate.
    """

    def spread(image: str) -> tuple[int, float, str]:
        chosen = _nearest(by_image[image], target or _matched(by_image[image]))
        if target is not None and target.name != RATE:
            values = [math.log(row["bpp"]) for row in chosen.values() if row["bpp"]]
        else:
            of_rows = (row.get(metric.column) for row in chosen.values())
            values = [value for value in of_rows if value is not None]
        return len(chosen), max(values, default=0.0) - min(values, default=0.0), image

    return max(by_image, key=spread)


def _matched(rows: ByCodec) -> Target:
    """Return a rate that most codecs are near."""
    rates = {name: [row["bpp"] for row in of] for name, of in rows.items()}
    return Target(RATE, matched_rate(rates, ABOUT, between=False))


def _nearest(rows: ByCodec, target: Target) -> dict[str, StreamRow]:
    """Return the row that shows each codec at a target; none of those that are off a rate."""
    chosen = dict[str, StreamRow]()
    for label, of_codec in rows.items():
        if target.name == RATE:
            place = nearest_setting(target.value, [row["bpp"] for row in of_codec], ABOUT)
            chosen |= {} if place is None else {label: of_codec[place]}
            continue
        column = Metric.named(target.name).column
        if known := [row for row in of_codec if row.get(column) is not None]:
            wanted = target.place(target.value)
            chosen[label] = min(known, key=lambda row: abs(target.place(row[column]) - wanted))
    return chosen


def _lacking(pictures: Pictures, rows: pl.DataFrame, asked: Experiment) -> list[str]:
    """Return the codecs of the experiment without a picture, each with why."""
    own = rows if asked.named else rows.filter(~BUNDLED)
    return [
        f"{listed(labels, max_names=LONGEST_LIST)}: {why}" for labels, why in pictures.lacking(own)
    ]


def _too_far(
    far: ByCodec,
    target: Target,
    table: pl.DataFrame,
    pictures: Pictures,
    asked: Experiment,
    data_dir: Path | None,
) -> list[str]:
    """Return the codecs without a picture at a target, each with what makes one."""
    sentences = []
    for name, rows in far.items():
        edition = Edition.parse_row(rows[0])
        if target.name != RATE:
            command = command_on_rows("rescore", asked.results, pictures.place, metrics=target.name)
            sentences.append(f"{name}: no value (`{command}` computes it)")
            continue
        # Its spec may lack what no row has, such as the values of a command's setting.
        spec = edition.spec.text
        typed = (text for text in asked.named if ":" in text and is_named(edition, text))
        more = {
            "codecs": next(typed, spec),
            "target": f"bpp={_of_set(rows, target, table):.3g}",
            "data_dir": data_dir,
        }
        command = command_on_rows("run", asked.results, pictures.place, **more)
        remedy = "" if is_declared(rows[0]) else f" (`{command}` measures one)"
        bpp = [row["bpp"] for row in rows]
        sentences.append(
            f"{name}: its settings have {range_text(min(bpp), max(bpp), '.3g')} bpp, none "
            f"within {100 * (ABOUT - 1):.0f} % of {target.value:.3g}{remedy}"
        )
    return sentences


def _of_set(rows: Sequence[StreamRow], target: Target, table: pl.DataFrame) -> float:
    """Return the mean rate of all images at which a photograph has about the wanted one."""
    nearest = min(rows, key=lambda row: distance(row["bpp"], target.value))
    keys = "codec", "variant", "setting_name", "setting_value"
    same = table.filter(OK, *(pl.col(key) == nearest[key] for key in keys))
    own_bpp: float = max(nearest["bpp"], LEAST_BPP)
    return target.value * fmean(same["bpp"].to_list()) / own_bpp


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
    row, name, is_rate = view.rows[label], view.names[label], view.target.name == RATE
    record = {
        "system": name,
        "codec": row["codec"],
        "variant": row["variant"],
        "setting": f"{row['setting_name']}={row['setting_value']:g}",
        "image": view.image,
        **dict(zip(("left", "top", "width", "height"), box, strict=True)),
        "at": str(view.target),
        "bpp": row["bpp"],
        "off_rate_percent": 100 * (row["bpp"] / view.target.value - 1) if is_rate else None,
        "num_bytes": row["num_bytes"],
        "recorded": bool(row["recorded"]),
        "version": row["codec_version"],
        "caveat": row["caveat"],
        "stream_sha256": row["stream_sha256"],
    }
    values: dict[str, float | None] = {} if is_rate else {SIZE: row["num_bytes"] / 1000}
    values[BPP] = row["bpp"]
    for metric in view.metrics:
        values[metric.label] = row.get(metric.column)
        record |= {key: row.get(key) for key in (metric.column, f"{metric.column}_protocol")}
    off = rate_deviation(row["bpp"], view.target.value) if is_rate else ""
    cut = _part(view.pixels[label], box)
    return PictureTile(marked(name, row["caveat"]), cut, values, record, remark=off)
