"""Figures of crops: a part of a photograph as several codecs have it at about the same rate."""

import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from benchmark.codec import Pixels
from benchmark.compare.experiment import Experiment
from benchmark.compare.panel import with_anchor
from benchmark.compare.pictures import CLOSE, matched_rate, nearest, off_rate
from benchmark.datasets.dataset import profile
from benchmark.datasets.image import read_image
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import facts_of, reference_codecs
from benchmark.measure.decode_again import reconstruct_all
from benchmark.measure.select import sources_of
from benchmark.metrics.metric import Metric
from benchmark.registry import CODECS, DATASETS
from benchmark.rows.codecs import NamedCodecs, why_not_run
from benchmark.rows.comparable import shown
from benchmark.rows.packs.contents import DatasetContents
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import stored_dataset
from benchmark.rows.systems import is_users, label_of, measured_names, short_names
from benchmark.rows.variants import divided, pairs_of
from benchmark.rows.versions import BUNDLED
from benchmark.show.bd_tables import LONGEST_LIST
from benchmark.show.figures.pictures import Box, PictureTile, draw_pictures, most_different
from benchmark.show.figures.style import by_label, look
from benchmark.show.paper.results import PaperFigure, PaperResults
from benchmark.show.sections import CAVEAT, brief, marked
from benchmark.show.sections import metric_names as metric_words
from benchmark.spec import CodecSpec, named_in
from benchmark.system.text import listed

USUAL_METRICS = ("lpips_squeeze", "lpips")  # under a crop: the first that all rows have, or PSNR
CROP_PX = 160
MOST_CROPS = 6  # the photograph and its own crop come first
PER_ROW = (5, 3)  # pictures: of a page, of a column

StreamRow = Mapping[str, Any]
ByCodec = Mapping[str, list[StreamRow]]


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


class AtRate(NamedTuple):
    """Rows of one photograph by codec: those that show a codec at a rate, and the others."""

    chosen: Mapping[str, StreamRow]
    far: ByCodec
    rate: float  # bpp


def draw_crops(
    results: PaperResults,
    of: Experiment,
    rates: Sequence[float] = (),
    crops: Sequence[Crop] = (Crop(),),
) -> PaperFigure:
    """Draw parts of photographs, each as codecs have it at about the same rate.

    rates: the first is that of crops without one. A crop without a box is the part that the codecs
    disagree on most. Raises `UsageError` for parts and photographs that are not there.
    """
    dataset = of.dataset.partition(":")[0]
    if dataset not in DATASETS:
        dataset = stored_dataset(results.folder, of.dataset)
    contents = results.contents(dataset)._replace(codecs=NamedCodecs(of.codecs))
    table = _asked(contents, of.codecs, of.bundled, of.anchor)
    by_image = _with_streams(contents, table, of.named)
    lacking = _without_streams(table, by_image, of)
    every = [row for rows in by_image.values() for own in rows.values() for row in own]
    asked = map(Metric.named, metric_names(of.metrics or USUAL_METRICS))
    there = (m for m in asked if of.metrics or all(r.get(m.column) is not None for r in every))
    metric = next(there, Metric.named("psnr"))
    sources = sources_of(of.dataset, results.data_dir, results.folder)
    if isinstance(sources, str):
        return _no_crops(sources)
    measured = {row["image_sha256"] for row in every}
    files = {it.file.name: it.file.path for key, it in sources.items() if key in measured}
    by_image = {image: rows for image, rows in by_image.items() if image in files}
    if not any(len(rows) > 1 for rows in by_image.values()):
        return _no_crops(
            "no photograph here has kept streams of two codecs (`bench run` keeps them)", *lacking
        )
    versions = {k: own[0]["codec_version"] for rows in by_image.values() for k, own in rows.items()}
    here = {label_of(row["codec"], row["variant"]) for row in every if not row["bundled"]}
    names = short_names([*versions], versions, versions.keys() - here if here else ())
    names |= by_label(look().label, names)
    tiles: list[PictureTile] = []
    sentences = lacking
    for crop in crops:
        image = _image(crop.image, by_image) or _most_different(by_image, metric)
        bpp = crop.bpp or next(iter(rates), None)
        picture = read_image(files[image], flatten=True).pixels
        chosen, far, rate = _at_rate(by_image[image], bpp)
        missing = _too_far(far, rate, of.dataset)
        pixels, failed = _decoded(chosen, contents)
        sentences += [*missing, *failed]
        order = _order(pixels)
        if len(order) < 2:
            few = f"fewer than two codecs have kept streams of about {rate:.3g} bpp to decode"
            return _no_crops(few, *sentences)
        box = crop.box or most_different([pixels[label] for label in order], CROP_PX)
        if _part(picture, box).shape[:2] != (box[3], box[2]):
            size = f"{picture.shape[1]} x {picture.shape[0]}"
            raise UsageError(f"the box {','.join(map(str, box))} is not inside {image}, {size}")
        if len(crops) == 1:
            tiles.append(PictureTile("Photograph", picture, {}, {}, box))
        tiles.append(PictureTile("Source", _part(picture, box), {}, {}))
        for label in order:
            cut = _part(pixels[label], box)
            tiles.append(_tile(names[label], cut, chosen[label], metric, image, box, rate))
    records = [tile.record for tile in tiles if tile.record]
    each = len(tiles) // len(crops)
    columns = math.ceil(each / math.ceil(each / PER_ROW[look().width == "column"]))
    caption = brief(
        f"Parts of {', '.join(dict.fromkeys(record['image'] for record in records))} "
        f"({profile(dataset).title}), decoded from real streams of about one rate; rate and "
        f"{metric_words([metric])} are of the whole photograph.",
        *dict.fromkeys(f"{CAVEAT} {record['caveat']}." for record in records if record["caveat"]),
    )
    drawing = draw_pictures(tiles, columns, caption)
    return PaperFigure(drawing, tuple(dict.fromkeys(sentences)))


def _order(labels: Iterable[str]) -> list[str]:
    """Return the codecs to show, in their order: the user's and the best known before others."""
    most, known = None if look().most is None else MOST_CROPS, reference_codecs()[-1]
    order = sorted(labels, key=look().place)
    kept = sorted(order, key=lambda label: not is_users(label) and label != known)[:most]
    return [label for label in order if label in kept]


def _no_crops(why: str, *more: str) -> PaperFigure:
    return PaperFigure(None, (f"no crops: {why}", *more), (why, *more))


def _image(asked: str, known: Mapping[str, object]) -> str:
    """Return the name of the photograph asked for; empty if none was."""
    name = asked if asked in known else asked.rpartition("/")[2]
    result = (n for n in known if fnmatch(n, name) or fnmatch(PurePath(n).stem, name))
    image = next(result, "") if asked else ""
    if asked and not image:
        raise UnknownName("photograph with kept streams", asked, known)
    return image


def _most_different(by_image: Mapping[str, ByCodec], metric: Metric) -> str:
    """Return the photograph with most codecs on which the metric differs most at one rate."""

    def spread(image: str) -> tuple[int, float, str]:
        rows = by_image[image]
        values = (row.get(metric.column) for row in _at_rate(rows, None).chosen.values())
        known = [value for value in values if value is not None] or [0.0]
        return len(rows), max(known) - min(known), image

    return max(by_image, key=spread)


def _at_rate(rows: ByCodec, bpp: float | None) -> AtRate:
    """Choose the rows that show each codec at a rate; by default at one that most are shown at."""
    rates = {name: [row["bpp"] for row in of] for name, of in rows.items()}
    rate = bpp or matched_rate(rates)
    places = {name: nearest(of, rate) for name, of in rates.items()}
    chosen = {name: rows[name][place] for name, place in places.items() if place is not None}
    return AtRate(chosen, {n: of for n, of in rows.items() if n not in chosen}, rate)


def _without_streams(
    rows: pl.DataFrame, by_image: Mapping[str, ByCodec], asked: Experiment
) -> list[str]:
    """Return sentences on codecs of the experiment without a kept stream, with what keeps some."""
    there = {label for of in by_image.values() for label in of}
    lines = []
    for of, more in ((rows.filter(BUNDLED), ""), (rows.filter(~BUNDLED), " --results DIR")):
        pairs = [pair for pair in sorted(pairs_of(of)) if label_of(*pair) not in there]
        if pairs and (more or asked.named):
            specs = ",".join(CodecSpec.of(*pair).text for pair in pairs)
            command = f"bench run --codecs {specs} --dataset {asked.dataset}{more}"
            names = listed([label_of(*pair) for pair in pairs], most=LONGEST_LIST)
            lines.append(f"crops lack {names}: no kept streams (`{command}` keeps some)")
    return lines


def _too_far(far: ByCodec, rate: float, dataset: str) -> list[str]:
    """Return a sentence on each codec without a setting near a rate, with what measures one."""
    sentences = []
    for name, of in far.items():
        spec = CodecSpec.of_row(of[0])
        bpp = [row["bpp"] for row in of]
        command = f"bench run --codecs {spec.text} --dataset {dataset} --target bpp={rate:.3g}"
        sentences.append(
            f"crops lack {name}: its settings have {min(bpp):.3g} to {max(bpp):.3g} bpp, none "
            f"within {100 * (CLOSE - 1):.0f} % of {rate:.3g} (`{command}` measures one)"
        )
    return sentences


def _decoded(
    chosen: Mapping[str, StreamRow], contents: DatasetContents
) -> tuple[dict[str, Pixels], list[str]]:
    """Return pixels by codec, and sentences on streams that cannot be decoded."""
    specs = {name: CodecSpec.of_row(row) for name, row in chosen.items()}
    allowed = [name for name, spec in specs.items() if contents.codecs.decoder_of(spec)]
    rows = [chosen[name] for name in allowed]
    decoded = {
        allowed[n]: made for n, made in filter(None, reconstruct_all(rows, contents, "cpu", 1))
    }
    pixels: dict[str, Pixels] = {}
    sentences = []
    for name, spec in specs.items():
        made = decoded[name] if name in decoded else why_not_run(spec)
        if isinstance(made, np.ndarray):
            pixels[name] = made
        else:
            sentences.append(f"crops lack {name}: {getattr(made, 'reason', made)}")
    return pixels, sentences


def _part(pixels: Pixels, box: Box) -> Pixels:
    left, top, width, height = box
    return pixels[top : top + height, left : left + width]


def _tile(
    name: str, cut: Pixels, row: StreamRow, metric: Metric, image: str, box: Box, rate: float
) -> PictureTile:
    record = {
        "system": name,
        "codec": row["codec"],
        "variant": row["variant"],
        "setting": f"{row['setting_name']}={row['setting_value']:g}",
        "image": image,
        **dict(zip(("left", "top", "width", "height"), box, strict=True)),
        "bpp": row["bpp"],
        "recorded": bool(row["recorded"]),
        "version": row["codec_version"],
        "caveat": row["caveat"],
        "stream_sha256": row["stream_sha256"],
        **{key: row.get(key) for key in (metric.column, f"{metric.column}_protocol")},
    }
    values = {"Rate (bpp)": row["bpp"], metric.label: row.get(metric.column)}
    off = off_rate(row["bpp"], rate)
    return PictureTile(marked(name, row["caveat"]), cut, values, record, remark=off)


def rows_with_streams(
    contents: DatasetContents, codecs: str = "all", anchor: str | None = ""
) -> dict[str, dict[str, list[StreamRow]]]:
    """Return rows with an available stream by image and label: of the experiment and its anchor.

    They are under the present protocol, and of each codec variant of the edition that is shown.
    `raw` is left out. Codecs are in the order of `codecs`, else
    the paper's first. codecs: see `divided`. anchor: see `with_anchor`; None adds none.
    Raises `UnknownName` for one without rows.
    """
    return _with_streams(contents, _asked(contents, codecs, "", anchor), named_in(codecs))


def _asked(
    contents: DatasetContents, codecs: str, bundled: str, anchor: str | None
) -> pl.DataFrame:
    own, others = divided(contents.table, codecs, bundled)
    return shown(own if anchor is None else with_anchor(own, others, anchor)[0])


def _with_streams(
    contents: DatasetContents, rows: pl.DataFrame, codecs: Sequence[str]
) -> dict[str, dict[str, list[StreamRow]]]:
    labelled = [(label_of(row["codec"], row["variant"]), row) for row in rows.rows(named=True)]
    order = [*codecs, *measured_names(), *CODECS]

    def place(pair: tuple[str, StreamRow]) -> tuple[int, str]:
        names = (pair[0], pair[1]["codec"])
        places = (order.index(name) for name in names if name in order)
        return next(places, len(order)), pair[1]["variant"]

    result: dict[str, dict[str, list[StreamRow]]] = {}
    for label, row in sorted(labelled, key=place):
        null = facts_of(CodecSpec(row["codec"], ())).null
        good = row["status"] == "ok" and row["stream_sha256"] and not null
        if good and contents.has_stream(row):
            result.setdefault(row["image"], {}).setdefault(label, []).append(row)
    return result
