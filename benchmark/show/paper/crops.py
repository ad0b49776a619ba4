"""Figures `crops` and `maps`: a part of a photograph from codecs of about the same rate."""

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
    MAX_SHOWN_RATIO,
    MIN_BPP,
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
from benchmark.metrics.metric import Metric, uncomputable_metrics
from benchmark.option import COMPARED, ORIGIN, opt, subset
from benchmark.registry import DATASETS
from benchmark.rows.comparable import add_same_builds, shown_rows
from benchmark.rows.edition import Edition, label_of, titles
from benchmark.rows.names import is_named
from benchmark.rows.remedies import command_on_rows
from benchmark.rows.schema import is_declared, metric_names
from benchmark.rows.stored import require_bundled, require_verified_rows, stored_dataset
from benchmark.rows.variants import divide_rows
from benchmark.rows.versions import BUNDLED, OK
from benchmark.show.bd_rates import MAX_LABELS, short_name
from benchmark.show.figures.picture_sheet import RATE as BPP
from benchmark.show.figures.picture_sheet import (
    SIZE,
    Box,
    PictureTile,
    Quantity,
    add_bar,
    colour_map,
    draw_pictures,
    most_different_square,
    stack_map,
)
from benchmark.show.figures.style import look
from benchmark.show.figures.texts import PaperFigure
from benchmark.show.sections import CAVEAT_MARK, make_caption, mark_name
from benchmark.show.sections import listed as join_words
from benchmark.show.sections import metric_names as metric_text
from benchmark.spec import CodecSpec
from benchmark.system.text import group_by_key, listed, range_text

PartOptions = Annotated[  # options of figures that show a part of a photograph
    Experiment, subset("results dataset codecs bundled metrics anchor images verified_only")
]
TARGET_OPTION = opt(
    COMPARED, "Show each codec at its setting nearest to a value: ssimulacra2=90, psnr=32, bpp=.3."
)
BOX = opt(COMPARED, "Part of a photograph: LEFT,TOP,WIDTH,HEIGHT in pixels.")
DATA_DIR = opt(ORIGIN, "Folder with the datasets.", path_check="folder")
USUAL_METRICS = ("lpips_squeeze", "lpips")  # printed: the first that all rows have, else PSNR
CROP_PX, MAP_CROP_PX = 160, 256  # a network's map shows regions, not edges
MAP_METRICS = ("lpips_squeeze", "lpips", "psnr_y")  # the first available metric is drawn
MAX_CROPS = 6  # besides the photograph and the crop of the source, which come first
CROPS_PER_ROW = (5, 3)  # maximum in a figure of full width, of a column's width
MAX_MAPS = (4, 3)  # maximum number of codecs: in full width, in a column's width

StreamRow = Mapping[str, Any]
RowsByCodec = Mapping[str, list[StreamRow]]
PixelType = TypeVar("PixelType", np.uint8, np.float32)


class Crop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a photograph to show: a table `crops` of a figures file."""

    image: str = ""  # empty: the photograph on which codecs differ most
    box: Box | None = None  # left, top, width, height in pixels
    bpp: float | None = None
    at: str = ""  # target in the form of --at

    def target(self, at: str, rates: Sequence[float]) -> Target | None:
        """Return the target from the crop, --at or --bpp; None: use a matched rate."""
        if self.at:
            return parse_target(self.at)
        if self.bpp:
            return Target(RATE, self.bpp)
        if at and rates:
            raise UsageError("--at and --bpp exclude each other: give one option")
        if at:
            return parse_target(at)
        return Target(RATE, rates[0]) if rates else None


def parse_crops(
    tables: Sequence[Mapping[str, Any]], box: str, images: Sequence[str]
) -> Sequence[Crop]:
    """Return a crop with `box`, or else a file's crops; `UsageError` if `box` is invalid."""
    crops = msgspec.convert(tables, tuple[Crop, ...])
    image = next(iter(images), "")
    if not box:
        return crops or (Crop(image),)
    try:
        left, top, width, height = map(int, box.split(","))
    except ValueError:
        left, top, width, height = 0, 0, 0, 0
    if min(left, top) < 0 or min(width, height) < 1:
        raise UsageError(f"--box {box!r} does not have the form LEFT,TOP,WIDTH,HEIGHT")
    return (Crop(image or (crops[0].image if crops else ""), (left, top, width, height)),)


class View(NamedTuple):
    """A photograph decoded by several codecs at about one rate or value of a metric."""

    image: str
    title: str  # title of the dataset
    picture: Pixels
    pixels: Mapping[str, Pixels]  # decoded pictures by label, in order
    rows: Mapping[str, StreamRow]  # stored rows by label
    names: Mapping[str, str]  # names in the figure by label
    target: Target
    box: Box | None  # box that the user chose
    metrics: Sequence[Metric]  # printed below the parts; a map shows the last of them


def crops(
    experiment: PartOptions,
    bpp: Rates = (),
    box: Annotated[str, BOX] = "",
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    crops: Sequence[Mapping[str, Any]] = (),
    at: Annotated[str, TARGET_OPTION] = "",
) -> PaperFigure:
    """Draw one part of a photograph from each codec, at about one rate or value of a metric.

    By default, the figure shows the photograph on which the metric differs most, and the part in
    which the pictures differ most; --images and --box, or `crops` of FILE, choose others. The
    metric is printed below. Codecs whose rates differ by more than a quarter are left out.

    Examples:
      bench figures crops --dataset sample --images chelsea --bpp 0.2
      bench figures crops --codecs jpeg,webp,avif --at ssimulacra2=90
      bench figures crops --images kodim15 --box 120,80,192,128
    """
    requested_parts = parse_crops(crops, box, experiment.images)
    metrics = metric_names(experiment.metrics or USUAL_METRICS)
    targets = [requested_part.target(at, parse_rates(bpp)) for requested_part in requested_parts]
    views, sentences = _views(experiment, requested_parts, targets, data_dir, metrics, "crops")
    tiles: list[PictureTile] = []
    for view in views:
        shown_labels = _order_labels(view, None if look().max_curves is None else MAX_CROPS)
        part_box = _require_inside(
            view, view.box or most_different_square([view.pixels[k] for k in shown_labels], CROP_PX)
        )
        if len(views) == 1:
            tiles.append(PictureTile("Photograph", view.picture, {}, {}, part_box))
        tiles.append(PictureTile("Source", _cut_part(view.picture, part_box), {}, {}))
        tiles += [_tile(view, label, part_box) for label in shown_labels]
    if not tiles:
        return PaperFigure(None, sentences)
    tiles_per_view = len(tiles) // len(views)
    columns = math.ceil(
        tiles_per_view / math.ceil(tiles_per_view / CROPS_PER_ROW[look().width == "column"])
    )
    return PaperFigure(draw_pictures(tiles, columns, _crop_caption(views, tiles)), sentences)


def maps(
    experiment: PartOptions,
    bpp: Rates = (),
    box: Annotated[str, BOX] = "",
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    crops: Sequence[Mapping[str, Any]] = (),
    at: Annotated[str, TARGET_OPTION] = "",
) -> PaperFigure:
    """Draw one part of a photograph from each codec, and a map of its errors below it.

    Maps show the first of --metrics: lpips_squeeze, lpips, ssim or psnr_y. The default part is the
    one in which the maps differ most, leaving out the worst codec.

    Examples:
      bench figures maps --codecs ours,vtm,avif --dataset sample --bpp 0.2
      bench figures maps --metrics psnr_y --width column
    """
    requested_names = metric_names(experiment.metrics) if experiment.metrics else ()
    parts = parse_crops(crops, box, experiment.images)
    name = next(iter(requested_names), "") or next(
        name for name in MAP_METRICS if not uncomputable_metrics([name])
    )
    scale, metric = map_scale(name), mapped_metric(name)
    quantity = _quantity(Metric.named(name))
    part_label = f"this part ({quantity.unit})" if quantity.unit else "this part"
    part_quantity = quantity._replace(label=part_label, name="this part")
    targets = [parts[0].target(at, parse_rates(bpp))]
    views, sentences = _views(experiment, parts[:1], targets, data_dir, (name,), "maps")
    if not views:
        return PaperFigure(None, sentences)
    (view,) = views
    is_column, column = look().width == "column", metric.column
    shown_labels = _order_labels(view, MAX_MAPS[is_column])
    prepared_source = metric.prepare(view.picture)
    error_maps = {
        label: metric.error_map(prepared_source, view.pixels[label]) for label in shown_labels
    }
    ranked_labels = sorted(shown_labels, key=lambda label: float(np.nanmean(error_maps[label])))
    compared_maps = [
        np.nan_to_num(error_maps[k])[..., None]
        for k in ranked_labels[: max(len(shown_labels) - 1, 2)]
    ]
    part_box = _require_inside(view, view.box or most_different_square(compared_maps, MAP_CROP_PX))
    map_parts = {label: _cut_part(error_maps[label], part_box) for label in shown_labels}
    end = scale_end(
        [float(np.nanpercentile(part, REACH_PERCENTILE)) for part in map_parts.values()], scale
    )
    tiles = []
    if not is_column:
        tiles.append(PictureTile("Photograph", view.picture, {}, {}, part_box))
        tiles.append(PictureTile("Source", _cut_part(view.picture, part_box), {}, {}))
    for label in shown_labels:
        tile = _tile(view, label, part_box)
        values = dict(tile.values)
        if values[quantity] is None:
            values[quantity] = metric.compare(prepared_source, view.pixels[label])
        part_value = metric.value_of_map(float(np.nanmean(map_parts[label], dtype=np.float64)))
        values[part_quantity] = part_value
        stacked_pixels = stack_map(tile.pixels, colour_map(map_parts[label], scale, end))
        record = {**tile.record, column: values[quantity], f"{column}_of_part": part_value}
        record |= {"map": scale.label, "map_end": end}
        record[f"{column}_protocol"] = record[f"{column}_protocol"] or metric.protocol
        tiles.append(tile._replace(pixels=stacked_pixels, values=values, record=record))
    legend_sentence = f"Below each picture: {scale.label}, and the metric of this part."
    notes = [f"Maps: {scale.label}, from 0 to {end:g}."]
    drawing = draw_pictures(
        tiles, len(tiles), make_caption(_crop_caption(views, tiles), legend_sentence), notes
    )
    add_bar(drawing.figure, scale, end)
    part_notes = [f"maps shows only the first of {len(parts)} parts"] if parts[1:] else []
    return PaperFigure(drawing, [*sentences, *part_notes])


def _views(
    experiment: Experiment,
    parts: Sequence[Crop],
    targets: Sequence[Target | None],
    data_dir: Path | None,
    metrics: Sequence[str],
    figure: str,
) -> tuple[list[View], list[str]]:
    """Decode the photographs of parts; return views, and notes with a failure first.

    targets: one per part; None: a rate near which most codecs have a picture. metrics: the first is
    printed if the user named it, else the first that all rows have; a target's metric is printed
    before it. figure: the figure's name for notes.
    """
    dataset = experiment.dataset.partition(":")[0]
    if dataset not in DATASETS:
        dataset = stored_dataset(experiment.results, experiment.dataset)
    require_bundled(experiment.results, experiment.bundled)
    stored_pictures = open_pictures(
        experiment.results, dataset, experiment.codecs, dataset=experiment.dataset
    )
    table = stored_pictures.table
    if experiment.verified_only:
        table = require_verified_rows(table, experiment.results / dataset, experiment.codecs)
    visible_rows = shown_rows(
        add_anchor(*divide_rows(table, experiment.codecs, experiment.bundled), experiment.anchor)[0]
    )
    table = add_same_builds(visible_rows, table)
    rows_by_image = stored_pictures.group_by_image(table, experiment.named_codecs)
    absences = _absent_codecs(stored_pictures, table, experiment)
    stored_rows = [
        row for rows in rows_by_image.values() for codec_rows in rows.values() for row in codec_rows
    ]
    candidates = map(Metric.named, metrics)
    is_metric_named = bool(experiment.metrics) or not metrics[1:]
    available_metrics = (
        m
        for m in candidates
        if is_metric_named or all(r.get(m.column) is not None for r in stored_rows)
    )
    metric = next(available_metrics, Metric.named("psnr"))
    sources = find_sources(experiment.dataset, data_dir, experiment.results)
    if isinstance(sources, str):
        return [], [f"no {figure}: {sources}"]
    measured_images = {row["image_sha256"] for row in stored_rows}
    files = {
        source.file.name: source.file.path
        for key, source in sources.items()
        if key in measured_images
    }
    rows_by_image = {image: rows for image, rows in rows_by_image.items() if image in files}
    views, obstacle = list[View](), ""
    if not any(len(rows) > 1 for rows in rows_by_image.values()):
        picture_kind = "verified pictures" if experiment.verified_only else "pictures"
        obstacle = f"no photograph here has {picture_kind} of two codecs"
        if experiment.verified_only:
            obstacle += ": verify some with `bench run --verify`, or leave out --verified-only"
    editions = _editions_by_label(rows_by_image)
    measured_labels = {
        label_of(CodecSpec.parse_row(row)) for row in stored_rows if not row["bundled"]
    }
    bundled_editions = [
        edition
        for edition in editions.values()
        if measured_labels and label_of(edition.spec) not in measured_labels
    ]
    edition_names = titles(editions.values(), bundled_editions) | look().titles(editions.values())
    names = {label: edition_names[edition] for label, edition in editions.items()}
    for part, requested_target in () if obstacle else zip(parts, targets, strict=True):
        printed_metrics = _printed_metrics(requested_target, metric, is_metric_named)
        image = _find_image(part.image, rows_by_image) or _most_different_photograph(
            rows_by_image, metric, requested_target
        )
        picture = read_image(files[image], flatten=True).pixels
        target = requested_target or _matched_target(rows_by_image[image])
        chosen_rows = _nearest_rows(rows_by_image[image], target)
        distant_rows = {
            label: rows for label, rows in rows_by_image[image].items() if label not in chosen_rows
        }
        pixels, failures = _decode_chosen(chosen_rows, stored_pictures)
        absences += [
            *_distant_codec_notes(
                distant_rows, target, table, stored_pictures, experiment, data_dir
            ),
            *failures,
        ]
        if len(pixels) < 2:
            obstacle = f"fewer than two codecs have pictures at about {target}"
            break
        view_fields = picture, pixels, chosen_rows, names, target, part.box, printed_metrics
        views.append(View(image, profile(dataset).title, *view_fields))
    sentences = [f"no {figure}: {obstacle}"] if obstacle else []
    return [] if obstacle else views, [
        *sentences,
        *dict.fromkeys(f"{figure} lack {item}" for item in absences),
    ]


def _editions_by_label(rows_by_image: Mapping[str, RowsByCodec]) -> dict[str, Edition]:
    rows = {
        label: codec_rows[0]
        for rows_by_codec in rows_by_image.values()
        for label, codec_rows in rows_by_codec.items()
    }
    return {label: Edition.parse_row(row) for label, row in rows.items()}


def _require_inside(view: View, box: Box) -> Box:
    if _cut_part(view.picture, box).shape[:2] != (box[3], box[2]):
        size = f"{view.picture.shape[1]} x {view.picture.shape[0]}"
        raise UsageError(f"the box {','.join(map(str, box))} is not inside {view.image}, {size}")
    return box


def _printed_metrics(target: Target | None, metric: Metric, is_named: bool) -> list[Metric]:
    if target is None or target.name == RATE:
        return [metric]
    target_metric = Metric.named(target.name)
    if target_metric.is_distribution:
        raise UsageError(f"{target}: {target.name} has no value per photograph: choose bpp or psnr")
    return [target_metric, metric] if is_named and metric != target_metric else [target_metric]


def _crop_caption(views: Sequence[View], tiles: Sequence[PictureTile]) -> str:
    records = [tile.record for tile in tiles if tile.record]
    is_any_declared = any(is_declared(row) for view in views for row in view.rows.values())
    origin_text = "" if is_any_declared else "decoded from real streams "
    records_by_target = group_by_key(
        ((record["image"], record["at"]), record) for record in records
    )
    target_texts = dict.fromkeys(map(_target_text, records_by_target.values()))
    metrics = dict.fromkeys(metric for view in views for metric in view.metrics)
    quantities = ["size"] if any(view.target.name != RATE for view in views) else []
    quantities += ["rate", *(metric_text([metric]) for metric in metrics)]
    return make_caption(
        f"Parts of {', '.join(dict.fromkeys(record['image'] for record in records))} "
        f"({views[0].title}), {origin_text}{join_words([*target_texts])}; {join_words(quantities)} "
        "are those of the whole photograph.",
        *dict.fromkeys(
            f"{CAVEAT_MARK} {record['caveat']}." for record in records if record["caveat"]
        ),
    )


def _target_text(records: Sequence[Mapping[str, Any]]) -> str:
    target = parse_target(records[0]["at"])
    if target.name == RATE:
        rates = [record["bpp"] for record in records]
        return f"of {range_text(min(rates), max(rates), '.2g')} bpp"
    metric = Metric.named(target.name)
    values = [record[metric.column] for record in records]
    ends = range_text(min(values), max(values), ".3g")
    return f"nearest to {target.value:g} in {metric_text([metric])} ({ends})"


def _order_labels(view: View, limit: int | None) -> list[str]:
    """Return up to `limit` labels in order, preferring user's codecs and the reference codec."""
    reference, rows = reference_codecs()[-1], {label: view.rows[label] for label in view.pixels}
    editions = {label: Edition.parse_row(row) for label, row in rows.items()}
    ordered_labels = sorted(editions, key=lambda label: look().place(editions[label]))

    def is_optional(label: str) -> bool:
        return not editions[label].is_from_user and editions[label].spec.text != reference

    chosen_labels = sorted(ordered_labels, key=is_optional)[:limit]
    return [label for label in ordered_labels if label in chosen_labels]


def _find_image(pattern: str, names: Mapping[str, object]) -> str:
    name = pattern if pattern in names else pattern.rpartition("/")[2]
    matching_names = (n for n in names if fnmatch(n, name) or fnmatch(PurePath(n).stem, name))
    image = next(matching_names, "") if pattern else ""
    if pattern and not image:
        raise UnknownName("photograph with pictures", pattern, names)
    return image


def _most_different_photograph(
    rows_by_image: Mapping[str, RowsByCodec], metric: Metric, target: Target | None
) -> str:
    """Return the photograph with most codecs at the target; of several, the most different."""

    def sort_key(image: str) -> tuple[int, float, str]:
        chosen_rows = _nearest_rows(
            rows_by_image[image], target or _matched_target(rows_by_image[image])
        )
        if target is not None and target.name != RATE:
            values = [math.log(row["bpp"]) for row in chosen_rows.values() if row["bpp"]]
        else:
            stored_values = (row.get(metric.column) for row in chosen_rows.values())
            values = [value for value in stored_values if value is not None]
        return len(chosen_rows), max(values, default=0.0) - min(values, default=0.0), image

    return max(rows_by_image, key=sort_key)


def _matched_target(rows: RowsByCodec) -> Target:
    rates = {name: [row["bpp"] for row in codec_rows] for name, codec_rows in rows.items()}
    return Target(RATE, matched_rate(rates, MAX_SHOWN_RATIO, allow_between=False))


def _nearest_rows(rows: RowsByCodec, target: Target) -> dict[str, StreamRow]:
    nearest_rows = dict[str, StreamRow]()
    for label, codec_rows in rows.items():
        if target.name == RATE:
            index = nearest_setting(
                target.value, [row["bpp"] for row in codec_rows], MAX_SHOWN_RATIO
            )
            nearest_rows |= {} if index is None else {label: codec_rows[index]}
            continue
        column = Metric.named(target.name).column
        if rows_with_value := [row for row in codec_rows if row.get(column) is not None]:
            target_position = target.place(target.value)
            nearest_rows[label] = min(
                rows_with_value, key=lambda row: abs(target.place(row[column]) - target_position)
            )
    return nearest_rows


def _absent_codecs(pictures: Pictures, rows: pl.DataFrame, experiment: Experiment) -> list[str]:
    selected_rows = rows if experiment.named_codecs else rows.filter(~BUNDLED)
    return [
        f"{listed(labels, max_names=MAX_LABELS)}: {reason}"
        for labels, reason in pictures.group_absences(selected_rows)
    ]


def _distant_codec_notes(
    distant_rows: RowsByCodec,
    target: Target,
    table: pl.DataFrame,
    pictures: Pictures,
    experiment: Experiment,
    data_dir: Path | None,
) -> list[str]:
    sentences = []
    for name, rows in distant_rows.items():
        edition = Edition.parse_row(rows[0])
        requested_names = [*experiment.named_codecs, experiment.anchor]
        if experiment.named_codecs and not any(
            is_named(edition, text) for text in requested_names if text
        ):
            continue  # the default anchor, which the user did not name
        if target.name != RATE:
            command = command_on_rows(
                "rescore", experiment.results, pictures.place, metrics=target.name
            )
            sentences.append(f"{name}: no value of {target.name} (`{command}` computes it)")
            continue
        # A stored spec may lack options, such as the values of a command's setting.
        spec = edition.spec.text
        typed_names = (
            text for text in experiment.named_codecs if ":" in text and is_named(edition, text)
        )
        options = {
            "codecs": next(typed_names, spec),
            "target": f"bpp={_mean_rate(rows, target, table):.3g}",
            "data_dir": data_dir,
        }
        command = command_on_rows("run", experiment.results, pictures.place, **options)
        remedy = "" if is_declared(rows[0]) else f" (`{command}` measures one)"
        bpp = [row["bpp"] for row in rows]
        sentences.append(
            f"{name}: its settings have {range_text(min(bpp), max(bpp), '.3g')} bpp, none "
            f"within {100 * (MAX_SHOWN_RATIO - 1):.0f} % of {target.value:.3g}{remedy}"
        )
    return sentences


def _mean_rate(rows: Sequence[StreamRow], target: Target, table: pl.DataFrame) -> float:
    """Return the dataset's mean rate at which the photograph has about the target's rate."""
    nearest_row = min(rows, key=lambda row: distance(row["bpp"], target.value))
    keys = "codec", "variant", "setting_name", "setting_value"
    setting_rows = table.filter(OK, *(pl.col(key) == nearest_row[key] for key in keys))
    image_bpp: float = max(nearest_row["bpp"], MIN_BPP)
    return target.value * fmean(setting_rows["bpp"].to_list()) / image_bpp


def _decode_chosen(
    chosen_rows: Mapping[str, StreamRow], pictures: Pictures
) -> tuple[dict[str, Pixels], list[str]]:
    labels, pixels, failures = [*chosen_rows], dict[str, Pixels](), list[str]()
    for index, outcome in filter(None, pictures.decode_rows([*chosen_rows.values()], "cpu", 1)):
        if isinstance(outcome, Failed):
            failures.append(f"{labels[index]}: {outcome.reason}")
        else:
            pixels[labels[index]] = outcome
    return {label: pixels[label] for label in labels if label in pixels}, failures


def _cut_part(pixels: NDArray[PixelType], box: Box) -> NDArray[PixelType]:
    left, top, width, height = box
    return pixels[top : top + height, left : left + width]


def _quantity(metric: Metric) -> Quantity:
    return Quantity(metric.label, short_name(metric), metric.unit, metric.decimals)


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
    values: dict[Quantity, float | None] = {} if is_rate else {SIZE: row["num_bytes"] / 1000}
    values[BPP] = row["bpp"]
    for metric in view.metrics:
        values[_quantity(metric)] = row.get(metric.column)
        record |= {key: row.get(key) for key in (metric.column, f"{metric.column}_protocol")}
    deviation = rate_deviation(row["bpp"], view.target.value) if is_rate else ""
    picture_part = _cut_part(view.pixels[label], box)
    return PictureTile(
        mark_name(name, row["caveat"]), picture_part, values, record, remark=deviation
    )
