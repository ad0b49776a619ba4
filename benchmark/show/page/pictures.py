"""Pictures of the page: lossless files of the pixels that were scored, their maps, and crops.

Which images have pictures is decided before any stream is decoded. A map shows where a decoded
picture is worse, in grey and at half its size; colours and scale are the page's (where.js). A file
is named by what it is made of: adding a codec changes none.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL.Image import fromarray

from benchmark.codec import Pixels, device_kind
from benchmark.compare.pictures import distance, matched_rate, nearest
from benchmark.datasets.dataset import Source
from benchmark.datasets.image import read_image
from benchmark.errors import (
    BadOption,
    BenchError,
    ImageRefused,
    NotMeasurable,
    UsageError,
)
from benchmark.facts import Facts, facts_of
from benchmark.measure.cells import Failed
from benchmark.measure.estimate import interpolated
from benchmark.measure.pictures import ABSENT, Pictures
from benchmark.measure.record import Progress
from benchmark.measure.workers import replies
from benchmark.metrics.maps import halved, levels, map_scale, mapped_metric, reach
from benchmark.metrics.metric import Metric, lacking
from benchmark.registry import metric_class
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.edition import labels
from benchmark.rows.summary import Summary
from benchmark.show.figures.picture_sheet import most_different
from benchmark.show.page.content import Crop, DecodedPicture, ImageKey, SourcePicture
from benchmark.show.report.files import PICTURES
from benchmark.spec import CodecSpec
from benchmark.system.atomic import write_files
from benchmark.system.foreign_files import is_regular
from benchmark.system.machine import cores
from benchmark.system.settings import Device, chosen_device
from benchmark.system.text import by_key, counted

ALL = "all"
MOST_SECONDS = 20.0  # of decoding, on one core
SLOW_SECONDS = 10.0  # of a megapixel: diffusion of a hundred steps is for `ALL`
UNKNOWN_SECONDS = 1.0  # of a megapixel, where nothing is known of the codec
UNKNOWN_BYTES = 1.5  # of a pixel, where the original is not here
DECODED_SHARE = 0.9  # of an original's bytes; .12 to .86 in 70 pictures of four codecs
# Bits per pixel at which a photograph first has pictures of all codecs, in this order, so that
# pictures of one rate are beside each other however few there are.
RATES = (0.25, 0.5, 0.125, 1.0, 2.0)
FEW_PHOTOGRAPHS = 6  # each of which has pictures at ROUNDS rates before one has them at every rate
ROUNDS = 3

PERCEPTUAL, LUMA = ("lpips_squeeze", "lpips"), "psnr_y"
SHARE = 0.17  # of an original's bytes, of the maps of a decoded picture
SIDES = (192, 160, 128, 96)  # px; the largest that keeps all crops within CROP_BYTES
CROP_BYTES = 660_000  # of all files; base64 adds a third
MOST_WEBP_PX = 16383  # of a side; a larger picture is a PNG
COLUMNS = (
    "cell", "run", "codec", "variant", "setting_name", "setting_value", "dataset", "image",
    "image_sha256", "width_px", "height_px", "bpp", "bytes_origin", "device", "decode_seconds",
    "stream_sha256", "decoded_sha256", "recorded", "status",
)  # fmt: skip


StoredRow = Mapping[str, Any]
# Called with a number of steps: a context whose value is called with the state, often.
ShowProgress = Callable[[int], AbstractContextManager[Callable[[Progress], None]]]


def limit_of(text: str) -> float:
    """Return the bytes that `--page-images` states for all picture files together, "all": inf.

    Raises `UsageError` for any other text.

    >>> limit_of("14MB"), limit_of("all")
    (14000000, inf)
    """
    if text == ALL:
        return math.inf
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?MB", text, re.IGNORECASE)
    if not size:
        raise UsageError(f"--page-images {text!r} is neither a size (14MB) nor 'all'")
    return round(float(size[1]) * 1e6)


def in_order(rows: Mapping[ImageKey, StoredRow], first: Sequence[str] = ()) -> list[ImageKey]:
    """Return the images in the order in which the page gets their pictures.

    One photograph follows the other, so that every point opens into an image of the first; of
    FEW_PHOTOGRAPHS the first ROUNDS rates of each come before. Of a photograph codecs of `first`
    come before the others, and of either the points nearest to `rate_of` and RATES, of all codecs
    at one rate after the other. Photographs are in the order of their number of pictures, most
    first, then of their size, smallest first, then of their names.
    """
    by_number = by_key((key[2], key) for key in rows)

    def rank(number: int) -> tuple[int, int, str]:
        row = rows[by_number[number][0]]
        return -len(by_number[number]), row["width_px"] * row["height_px"], row["image"]

    def at_rates(keys: Sequence[ImageKey], rates: Sequence[float]) -> Iterator[ImageKey]:
        for rate in rates:
            for label in dict.fromkeys(label for label, _, _ in keys):
                of_label = [key for key in keys if key[0] == label]
                yield min(of_label, key=lambda key: distance(rows[key]["bpp"], rate))

    rounds: list[list[ImageKey]] = [[] for _ in range(ROUNDS)]
    result: list[ImageKey] = []
    numbers = sorted(by_number, key=rank)
    for number in numbers:
        keys = by_number[number]
        shown = [key for label in first for key in keys if key[0] == label]
        rates = [*rate_of(rows, shown), *RATES]
        for turn, rate in zip(rounds, rates, strict=False):
            turn.extend(at_rates(shown, [rate]))
        others = [key for key in keys if key[0] not in first]
        result += [*at_rates(shown, rates), *shown, *at_rates(others, RATES), *others]
    if len(numbers) <= FEW_PHOTOGRAPHS:
        result = [*chain.from_iterable(rounds), *result]
    return list(dict.fromkeys(result))


def within(
    order: Sequence[ImageKey],
    rows: Mapping[ImageKey, StoredRow],
    seconds: Mapping[ImageKey, float],
    size: Callable[[ImageKey], float],
    most_bytes: float,
    maps: float = 0.0,
) -> list[ImageKey]:
    """Return the images of `order` that there is room for.

    `size` is the bytes of an original, `maps` the share of it that a picture's maps take; the sum
    stops at the first image without room. Unless the bytes are infinite, decoding takes at most
    MOST_SECONDS, and slow decoders are left out.
    """
    endless = math.isinf(most_bytes)
    seconds_left, slowest = (math.inf, math.inf) if endless else (MOST_SECONDS, SLOW_SECONDS)
    kept: list[ImageKey] = []
    numbers: set[int] = set()
    for key in order:
        if seconds[key] > min(seconds_left, slowest * megapixels(rows[key])):
            continue
        needed = size(key) * (DECODED_SHARE + maps + (key[2] not in numbers))
        if needed > most_bytes:
            break
        most_bytes, seconds_left = most_bytes - needed, seconds_left - seconds[key]
        numbers.add(key[2])
        kept.append(key)
    return kept


def decode_seconds(row: StoredRow, device: str) -> float:
    """Return the seconds that a row's stream took to decode, else those typical of its codec."""
    if row["decode_seconds"] is not None and row["device"] == device:
        return float(row["decode_seconds"])
    try:
        facts = facts_of(CodecSpec.of_row(row))
    except BadOption:
        facts = Facts()
    of_device = [typical.seconds for typical in facts.typical if typical.device == device]
    rate = interpolated(of_device[0], row["setting_value"]) if of_device else UNKNOWN_SECONDS
    return rate * megapixels(row)


def megapixels(row: StoredRow) -> float:
    """Return the millions of pixels of a row's image."""
    return float(row["width_px"] * row["height_px"] / 1e6)


def rate_of(rows: Mapping[ImageKey, StoredRow], keys: Sequence[ImageKey]) -> list[float]:
    """Return the rate at which most codecs of one photograph's images are shown, if any are."""
    rates = by_key((key[0], rows[key]["bpp"]) for key in keys)
    return [matched_rate(rates)] if len(rates) > 1 else []


def rows_by_image(table: pl.DataFrame, summary: Summary, coding: str) -> dict[ImageKey, StoredRow]:
    """Return the row of every image of every point."""
    rows = ComparableRows(table, coding)
    marked = rows.ok & rows.shown
    names = labels(rows.specs().values())
    specs, editions = rows.specs(), rows.edition[marked].tolist()
    texts = summary.labels
    used = {
        (texts[p.edition], str(p.setting), number) for p in summary.points for number in p.image_ids
    }
    result: dict[ImageKey, StoredRow] = {}
    picked = rows.select(*COLUMNS, marked=marked).rows(named=True)
    for row, number, edition in zip(picked, rows.image[marked].tolist(), editions, strict=True):
        place = names[specs[edition]], f"{row['setting_name']}={row['setting_value']:g}", number
        if place in used:
            result[place] = row
    return result


def write_pictures(
    folder: Path,
    rows: Mapping[ImageKey, StoredRow],
    decodable: Pictures,
    sources: Mapping[str, Source] | str,
    most_bytes: float,
    first: Sequence[str],
    metrics: Sequence[str],
    command: str,
    show_progress: ShowProgress,
    say: Callable[[str], None],
) -> tuple[
    dict[int, SourcePicture], dict[ImageKey, DecodedPicture], Sequence[Crop], Mapping[str, int]
]:
    """Write the pictures that are not there yet, each named by the sha256 of its pixels.

    Returns photographs by the numbers of `Point.image_ids`, decoded images, crops of one of them,
    and the bytes of the files in PICTURES that these refer to, by name.

    `sources` has photographs by the sha256 of their pixels, or why there are none; `first` are
    labels of the codecs that come before others, `metrics` those whose maps pictures have,
    `command` makes the page. Which pictures the page has is decided before any
    stream is decoded (`in_order`, `within`); `say` is called with a sentence on it.
    """
    device = device_kind(chosen_device())
    refused = {key: why for key, row in rows.items() if (why := decodable.why_none(row))}
    originals: dict[str, SourcePicture] = {}

    def original(row: StoredRow) -> SourcePicture:
        if row["image_sha256"] not in originals:
            originals[row["image_sha256"]] = _original(folder, sources, row)
        return originals[row["image_sha256"]]

    def size(key: ImageKey) -> float:
        path, guess = original(rows[key]).picture, UNKNOWN_BYTES * 1e6 * megapixels(rows[key])
        return (folder / path).stat().st_size if path else guess

    able = {k: row for k, row in rows.items() if k not in refused or _is_there(folder, _path(row))}
    order = in_order(able, first)
    seconds = {key: decode_seconds(rows[key], device) for key in order}
    chosen = within(order, rows, seconds, size, most_bytes, SHARE)
    most = f"at most {most_bytes / 1e6:g} MB, {MOST_SECONDS:.0f} core seconds"
    words = "" if math.isinf(most_bytes) else f" ({most})"
    missing = [key for key in chosen if not _is_there(folder, _path(rows[key]))]
    if missing:
        wall = sum(seconds[key] for key in missing) / min(cores(), len(missing))
        say(
            f"page: {counted(len(chosen), 'picture')} of {counted(len(rows), 'stream')}, "
            f"{len(missing)} to decode in about {max(wall, 1):.0f} s{words}"
        )
    failed = _decode(folder, {key: rows[key] for key in missing}, decodable, device, show_progress)
    more = f"`{command} --page-images all` adds it"
    beyond = f"No picture: more than the page's limit{words}; {more}."
    decoded = {key: DecodedPicture(None, f"No picture: {why}.") for key, why in refused.items()}
    decoded |= {key: DecodedPicture(None, beyond, limited=True) for key in able}
    decoded |= {key: DecodedPicture(_path(rows[key])) for key in chosen} | failed
    numbers = {key[2] for key in chosen}
    photographs = {
        key[2]: original(row) if key[2] in numbers else _source(row, None, beyond)
        for key, row in rows.items()
    }
    kept = [key for key in chosen if key not in failed]
    of_first = [key for key in able if kept and key[2] == kept[0][2] and key[0] in first]
    decoded = with_maps(folder, photographs, decoded, kept, metrics, say)
    files = {*(photograph.picture for photograph in photographs.values())}
    files |= {decoded[key].picture for key in kept}
    files |= {file for key in kept for file, _ in decoded[key].maps.values()}
    sizes = {Path(file).name: (folder / file).stat().st_size for file in files if file}
    made: list[Crop] = []
    for rate in rate_of(rows, of_first):
        mine = [key for key in kept if key[2] == kept[0][2]]
        made = _crops(folder, rows, photographs[kept[0][2]], decoded, mine, first, rate)
    return photographs, decoded, made, sizes


def _decode(
    folder: Path,
    rows: Mapping[ImageKey, StoredRow],
    decodable: Pictures,
    device: Device,
    show_progress: ShowProgress,
) -> dict[ImageKey, DecodedPicture]:
    """Write the pictures of these rows; return those that are not written, with the reason."""
    failed: dict[ImageKey, DecodedPicture] = {}
    with show_progress(len(rows)) as report:
        report(Progress(0, 0))
        keys, done = [*rows], 0
        for result in decodable.decoded([*rows.values()], device, cores()):
            if result is not None:
                key, pixels, done = keys[result[0]], result[1], done + 1
                if not isinstance(pixels, Failed):
                    _write(folder, _path(rows[key]), pixels)
                elif pixels.stage == ABSENT:
                    why = f"No picture: it cannot be decoded here: {pixels.reason}."
                    failed[key] = DecodedPicture(None, why)
                else:
                    why = f"No picture: {pixels.stage}: {pixels.reason}."
                    failed[key] = DecodedPicture(None, why, failed=True)
            report(Progress(done, sum(picture.failed for picture in failed.values())))
    return failed


def file_bytes(pixels: Pixels) -> bytes:
    """Return pixels as the bytes of a lossless picture file: WebP, or PNG if they are too large."""
    if max(pixels.shape) > MOST_WEBP_PX:
        png = BytesIO()
        fromarray(pixels).save(png, "PNG")
        return png.getvalue()
    from imagecodecs import webp_encode

    return bytes(webp_encode(pixels, lossless=True, level=0, method=2))


def _original(folder: Path, sources: Mapping[str, Source] | str, row: StoredRow) -> SourcePicture:
    """Return the photograph of a row, whose picture is written if it is not there yet."""
    path, absent = _path(row, "image_sha256"), ""
    if not _is_there(folder, path):
        if isinstance(sources, str):
            absent = sources
        elif (source := sources.get(row["image_sha256"])) is None:
            absent = "The original is not here: the dataset has other pixels by that name now."
        else:
            try:
                _write(folder, path, read_image(source.file.path, flatten=True).pixels)
            except ImageRefused as refused:
                absent = f"The original cannot be read: {refused}."
    return _source(row, None if absent else path, absent)


def _write(folder: Path, path: str, pixels: Pixels) -> None:
    write_files(folder, {path: file_bytes(pixels)}, what="page's picture")


def _is_there(folder: Path, path: str) -> bool:
    return is_regular(folder / path, within=folder)


def _path(row: StoredRow, column: str = "decoded_sha256") -> str:
    suffix = "png" if max(row["width_px"], row["height_px"]) > MOST_WEBP_PX else "webp"
    return f"{PICTURES}/{row[column]}.{suffix}"


def _source(row: StoredRow, path: str | None, absent: str = "") -> SourcePicture:
    return SourcePicture(row["image"], row["width_px"], row["height_px"], path, absent)


def _crops(
    folder: Path,
    rows: Mapping[ImageKey, StoredRow],
    photograph: SourcePicture,
    decoded: Mapping[ImageKey, DecodedPicture],
    order: Sequence[ImageKey],
    first: Sequence[str],
    rate: float,
) -> list[Crop]:
    """Return crops of a photograph: the original, then the codecs of `first` at about one rate.

    order: its decoded images. Without at least two codecs and the original there are none.
    """
    keys = []
    for label in first:
        mine = [key for key in order if key[0] == label]
        near = nearest([rows[key]["bpp"] for key in mine], rate) if mine else None
        if near is not None:
            keys.append(mine[near])
    paths = [photograph.picture, *(decoded[key].picture for key in keys)]
    if len(keys) < 2 or not all(path and path.endswith(".webp") for path in paths):
        return []
    images = [_pixels(folder / str(path)) for path in paths]
    for side in SIDES:
        if side > min(images[0].shape[:2]):
            continue
        left, top, *_ = most_different(images[1:], side)
        inside = slice(top, top + side), slice(left, left + side)
        files = [file_bytes(np.ascontiguousarray(image[inside])) for image in images]
        if sum(map(len, files)) <= CROP_BYTES:
            return [
                Crop(key, photograph.name, left, top, side, file, rate)
                for key, file in zip([None, *keys], files, strict=True)
            ]
    return []


def mapped_metrics(measured: Collection[Metric]) -> list[str]:
    """Return the metrics whose maps a page has: an LPIPS, best a measured one, and luma."""
    columns = {metric.column for metric in measured}
    able = [name for name in PERCEPTUAL if name not in lacking([name])]
    able.sort(key=lambda name: metric_class(name).column not in columns)
    return [*able[:1], LUMA]


def with_maps(
    folder: Path,
    photographs: Mapping[int, SourcePicture],
    decoded: Mapping[ImageKey, DecodedPicture],
    order: Sequence[ImageKey],
    metrics: Sequence[str],
    say: Callable[[str], None],
) -> dict[ImageKey, DecodedPicture]:
    """Write the maps of the pictures of `order` that are not there yet; return pictures with maps.

    Each photograph's features are computed once, in processes of one thread each.
    """
    files: dict[ImageKey, dict[str, str]] = {}
    tasks: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for key in order:
        source, picture = photographs[key[2]].picture, decoded[key].picture
        if not (source and picture and source.endswith(".webp") and picture.endswith(".webp")):
            continue
        files[key] = {metric: _file(source, picture, metric) for metric in metrics}
        for metric, file in files[key].items():
            if not is_regular(folder / file, within=folder):
                tasks[metric, source][file] = picture
    if tasks:
        count = sum(map(len, tasks.values()))
        say(f"page: {count} maps of where pictures are worse, made by {cores()} processes")
    work = [(folder, *key, of) for key, of in tasks.items()]
    for why in replies(_serve, work, cores(), at_work="made its maps"):
        if why:
            say(f"page: maps are missing: {getattr(why, 'reason', why)}")
    result = dict(decoded)
    for key, named in files.items():
        there = {metric: file for metric, file in named.items() if (folder / file).is_file()}
        reaches = {
            metric: reach(_pixels(folder / file)[..., 0], map_scale(metric))
            for metric, file in there.items()
        }
        of_columns = {
            metric_class(metric).column: (file, reaches[metric]) for metric, file in there.items()
        }
        result[key] = decoded[key]._replace(maps=of_columns)
    return result


def _file(source: str, decoded: str, metric: str) -> str:
    of = f"{source} {decoded} {metric_class(metric).protocol} {map_scale(metric).most}"
    return f"{PICTURES}/{sha256(of.encode()).hexdigest()}.webp"


def _pixels(path: Path) -> Pixels:
    from imagecodecs import webp_decode

    return np.asarray(webp_decode(path.read_bytes()))


def _serve(
    connection: Any, folder: Path, name: str, source: str, decoded: Mapping[str, str]
) -> None:
    """Write maps of decoded pictures by file; send why they are missing, empty where none is."""
    from imagecodecs import webp_encode

    try:
        metric, scale = mapped_metric(name), map_scale(name)
        prepared = metric.prepare(_pixels(folder / source))
        for file, picture in decoded.items():
            made = levels(halved(metric.error_map(prepared, _pixels(folder / picture))), scale)
            grey = np.repeat(made[..., None], 3, axis=2)
            encoded = bytes(webp_encode(grey, lossless=True, level=0, method=4))
            write_files(folder, {file: encoded}, what="page's map")
    except NotMeasurable:  # a photograph too small for the network
        connection.send("")
    except BenchError as error:
        connection.send(str(error))
    else:
        connection.send("")
