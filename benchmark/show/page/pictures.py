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
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from PIL.Image import fromarray

from benchmark.codec import Pixels, device_kind
from benchmark.compare.pictures import CLOSE, matched_rate, nearest_setting
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
from benchmark.system.settings import chosen_device
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
                place = nearest_setting(rate, [rows[key]["bpp"] for key in of_label], math.inf)
                yield of_label[place or 0]

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


class PictureFiles:
    """Lossless files of the pixels that a page shows, below its folder; paths begin at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, path: str) -> bool:
        """Return whether a file is there, and no link out of the folder."""
        return is_regular(self.folder / path, within=self.folder)

    def write(self, path: str, pixels: Pixels) -> None:
        """Write pixels as a file; raise `StoreError` where that is not possible."""
        write_files(self.folder, {path: file_bytes(pixels)}, what="page's picture")

    def pixels(self, path: str) -> Pixels:
        """Return the pixels of a WebP file."""
        from imagecodecs import webp_decode

        return np.asarray(webp_decode((self.folder / path).read_bytes()))

    def num_bytes(self, path: str) -> int:
        """Return the size of a file."""
        return (self.folder / path).stat().st_size


class Photographs:
    """The originals of a page's pictures; the file of each is written when it is first wanted."""

    def __init__(self, files: PictureFiles, sources: Mapping[str, Source] | str) -> None:
        """sources: photographs by the sha256 of their pixels, or why there are none."""
        self.files, self._sources = files, sources
        self._by_sha256: dict[str, SourcePicture] = {}

    def original(self, row: StoredRow) -> SourcePicture:
        """Return the photograph of a row, or why it is absent."""
        digest = row["image_sha256"]
        if digest not in self._by_sha256:
            path = path_of(row, "image_sha256")
            absent = "" if self.files.has(path) else self._write(path, digest)
            self._by_sha256[digest] = source_picture(row, None if absent else path, absent)
        return self._by_sha256[digest]

    def num_bytes(self, row: StoredRow) -> float:
        """Return the size of a row's photograph; an estimate where it is absent."""
        path = self.original(row).picture
        return self.files.num_bytes(path) if path else UNKNOWN_BYTES * 1e6 * megapixels(row)

    def _write(self, path: str, digest: str) -> str:
        """Write a photograph; return why it cannot be, "" if it was."""
        if isinstance(self._sources, str):
            return self._sources
        if (source := self._sources.get(digest)) is None:
            return "The original is not here: the dataset has other pixels by that name now."
        try:
            self.files.write(path, read_image(source.file.path, flatten=True).pixels)
        except ImageRefused as refused:
            return f"The original cannot be read: {refused}."
        return ""


class Plan(NamedTuple):
    """The pictures of a page, which are chosen before any stream is decoded."""

    rows: Mapping[ImageKey, StoredRow]
    reasons: Mapping[ImageKey, str]  # why rows have no picture
    candidates: Sequence[ImageKey]  # the others, and those whose file was written before
    keys: Sequence[ImageKey]  # candidates within the limit, `in_order`
    keys_to_decode: Sequence[ImageKey]  # those of them without a file
    seconds: float  # that decoding takes, about
    limit: str  # in words, "" without one

    @property
    def sentence(self) -> str:
        """Sentence on the pictures that will be decoded."""
        return (
            f"page: {counted(len(self.keys), 'picture')} of {counted(len(self.rows), 'stream')}, "
            f"{len(self.keys_to_decode)} to decode in about {max(self.seconds, 1):.0f} s"
            f"{self.limit}"
        )

    def beyond(self, command: str) -> str:
        """Return why a candidate is not on the page; command: makes the page."""
        return (
            f"No picture: more than the page's limit{self.limit}; "
            f"`{command} --page-images all` adds it."
        )


class PagePictures(NamedTuple):
    """The pictures of a page after decoding."""

    photographs: Mapping[int, SourcePicture]  # by the numbers of `Point.image_ids`
    decoded: Mapping[ImageKey, DecodedPicture]  # of all rows: a file, or why there is none
    keys: Sequence[ImageKey]  # of the pictures with a file

    def sizes(self, files: PictureFiles) -> dict[str, int]:
        """Return the bytes of the files in PICTURES that the page has, by name."""
        decoded = [self.decoded[key] for key in self.keys]
        paths = {photograph.picture for photograph in self.photographs.values()}
        paths |= {picture.picture for picture in decoded}
        paths |= {path for picture in decoded for path, _ in picture.maps.values()}
        return {Path(path).name: files.num_bytes(path) for path in paths if path}


def plan_pictures(
    rows: Mapping[ImageKey, StoredRow],
    decodable: Pictures,
    photographs: Photographs,
    first: Sequence[str],
    most_bytes: float,
) -> Plan:
    """Choose the pictures of a page (`in_order`, `within`); the photographs needed are written.

    first: labels of the codecs that come before others.
    """
    device, files = device_kind(chosen_device()), photographs.files
    reasons = {key: why for key, row in rows.items() if (why := decodable.absence_reason(row))}
    candidates = {
        key: row for key, row in rows.items() if key not in reasons or files.has(path_of(row))
    }
    order = in_order(candidates, first)
    seconds = {key: decode_seconds(rows[key], device) for key in order}

    def original_bytes(key: ImageKey) -> float:
        return photographs.num_bytes(rows[key])

    keys = within(order, rows, seconds, original_bytes, most_bytes, SHARE)
    keys_to_decode = [key for key in keys if not files.has(path_of(rows[key]))]
    wall_seconds = sum(seconds[key] for key in keys_to_decode)
    wall_seconds /= max(1, min(cores(), len(keys_to_decode)))
    limit = ""
    if math.isfinite(most_bytes):
        limit = f" (at most {most_bytes / 1e6:g} MB, {MOST_SECONDS:.0f} core seconds)"
    return Plan(rows, reasons, [*candidates], keys, keys_to_decode, wall_seconds, limit)


def decode_pictures(
    plan: Plan, decodable: Pictures, files: PictureFiles, show_progress: ShowProgress
) -> dict[ImageKey, DecodedPicture]:
    """Write the planned pictures that have no file; return those without one, with the reason.

    Each file is named by the sha256 of its pixels.
    """
    failed: dict[ImageKey, DecodedPicture] = {}
    rows, finished = [plan.rows[key] for key in plan.keys_to_decode], 0
    with show_progress(len(rows)) as report:
        report(Progress(0, 0))
        for result in decodable.decoded(rows, device_kind(chosen_device()), cores()):
            if result is not None:
                place, pixels = result
                key, finished = plan.keys_to_decode[place], finished + 1
                if not isinstance(pixels, Failed):
                    files.write(path_of(rows[place]), pixels)
                elif pixels.stage == ABSENT:
                    why = f"No picture: it cannot be decoded here: {pixels.reason}."
                    failed[key] = DecodedPicture(None, why)
                else:
                    why = f"No picture: {pixels.stage}: {pixels.reason}."
                    failed[key] = DecodedPicture(None, why, failed=True)
            report(Progress(finished, sum(picture.failed for picture in failed.values())))
    return failed


def page_pictures(
    plan: Plan,
    failed: Mapping[ImageKey, DecodedPicture],
    photographs: Photographs,
    beyond: str,
) -> PagePictures:
    """Return the pictures of a plan that was carried out; beyond: why others are not shown."""
    decoded = {
        key: DecodedPicture(None, f"No picture: {why}.") for key, why in plan.reasons.items()
    }
    decoded |= {key: DecodedPicture(None, beyond, limited=True) for key in plan.candidates}
    decoded |= {key: DecodedPicture(path_of(plan.rows[key])) for key in plan.keys}
    decoded |= failed
    numbers = {number for _, _, number in plan.keys}
    originals = {
        key[2]: photographs.original(row)
        if key[2] in numbers
        else source_picture(row, None, beyond)
        for key, row in plan.rows.items()
    }
    return PagePictures(originals, decoded, [key for key in plan.keys if key not in failed])


def file_bytes(pixels: Pixels) -> bytes:
    """Return pixels as the bytes of a lossless picture file: WebP, or PNG if they are too large."""
    if max(pixels.shape) > MOST_WEBP_PX:
        png = BytesIO()
        fromarray(pixels).save(png, "PNG")
        return png.getvalue()
    from imagecodecs import webp_encode

    return bytes(webp_encode(pixels, lossless=True, level=0, method=2))


def path_of(row: StoredRow, column: str = "decoded_sha256") -> str:
    """Return the path of a row's picture, or with `image_sha256` of its photograph."""
    suffix = "png" if max(row["width_px"], row["height_px"]) > MOST_WEBP_PX else "webp"
    return f"{PICTURES}/{row[column]}.{suffix}"


def source_picture(row: StoredRow, path: str | None, absent: str = "") -> SourcePicture:
    """Return the photograph of a row with its path, or with why it has none."""
    return SourcePicture(row["image"], row["width_px"], row["height_px"], path, absent)


def crops_of(
    files: PictureFiles, plan: Plan, pictures: PagePictures, labels: Sequence[str]
) -> list[Crop]:
    """Return crops of the first photograph: the original, then codecs at about one rate.

    labels: of the codecs, in their order. Without at least two of them and the original there are
    no crops.
    """
    if not pictures.keys:
        return []
    rows, number = plan.rows, pictures.keys[0][2]
    at_rate = [key for key in plan.candidates if key[2] == number and key[0] in labels]
    for rate in rate_of(rows, at_rate):
        keys = []
        for label in labels:
            of_label = [key for key in pictures.keys if key[0] == label and key[2] == number]
            rates = [rows[key]["bpp"] for key in of_label]
            if (place := nearest_setting(rate, rates, CLOSE, between=True)) is not None:
                keys.append(of_label[place])
        photograph = pictures.photographs[number]
        paths = [photograph.picture, *(pictures.decoded[key].picture for key in keys)]
        if len(keys) > 1 and all(path and path.endswith(".webp") for path in paths):
            images = [files.pixels(str(path)) for path in paths]
            return _crops(photograph.name, [None, *keys], images, rate)
    return []


def _crops(
    name: str, keys: Sequence[ImageKey | None], images: Sequence[Pixels], rate: float
) -> list[Crop]:
    """Return the largest square of SIDES where the images differ most, within CROP_BYTES."""
    for side in SIDES:
        if side > min(images[0].shape[:2]):
            continue
        left, top, *_ = most_different(images[1:], side)
        inside = slice(top, top + side), slice(left, left + side)
        crops = [file_bytes(np.ascontiguousarray(image[inside])) for image in images]
        if sum(map(len, crops)) <= CROP_BYTES:
            return [
                Crop(key, name, left, top, side, file, rate)
                for key, file in zip(keys, crops, strict=True)
            ]
    return []


def mapped_metrics(measured: Collection[Metric]) -> list[str]:
    """Return the metrics whose maps a page has: an LPIPS, best a measured one, and luma."""
    columns = {metric.column for metric in measured}
    able = [name for name in PERCEPTUAL if name not in lacking([name])]
    able.sort(key=lambda name: metric_class(name).column not in columns)
    return [*able[:1], LUMA]


def with_maps(
    files: PictureFiles,
    pictures: PagePictures,
    metrics: Sequence[str],
    say: Callable[[str], None],
) -> PagePictures:
    """Write the maps that have no file yet; return the pictures with their maps.

    Each photograph's features are computed once, in processes of one thread each.
    """
    paths: dict[ImageKey, dict[str, str]] = {}
    tasks: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for key in pictures.keys:
        source, picture = pictures.photographs[key[2]].picture, pictures.decoded[key].picture
        if not (source and picture and source.endswith(".webp") and picture.endswith(".webp")):
            continue
        paths[key] = {metric: _map_path(source, picture, metric) for metric in metrics}
        for metric, path in paths[key].items():
            if not files.has(path):
                tasks[metric, source][path] = picture
    if tasks:
        count = sum(map(len, tasks.values()))
        say(f"page: {count} maps of where pictures are worse, made by {cores()} processes")
    work = [(files.folder, *task, decoded) for task, decoded in tasks.items()]
    for why in replies(_serve, work, cores(), at_work="made its maps"):
        if why:
            say(f"page: maps are missing: {getattr(why, 'reason', why)}")
    decoded = dict(pictures.decoded)
    for key, by_metric in paths.items():
        maps = {}
        for metric, path in by_metric.items():
            if files.has(path):
                worst = reach(files.pixels(path)[..., 0], map_scale(metric))
                maps[metric_class(metric).column] = path, worst
        decoded[key] = decoded[key]._replace(maps=maps)
    return pictures._replace(decoded=decoded)


def _map_path(source: str, decoded: str, metric: str) -> str:
    text = f"{source} {decoded} {metric_class(metric).protocol} {map_scale(metric).most}"
    return f"{PICTURES}/{sha256(text.encode()).hexdigest()}.webp"


def _serve(
    connection: Any, folder: Path, name: str, source: str, decoded: Mapping[str, str]
) -> None:
    """Write maps of decoded pictures by file; send why they are missing, empty where none is."""
    from imagecodecs import webp_encode

    try:
        files, metric, scale = PictureFiles(folder), mapped_metric(name), map_scale(name)
        prepared = metric.prepare(files.pixels(source))
        for file, picture in decoded.items():
            made = levels(halved(metric.error_map(prepared, files.pixels(picture))), scale)
            grey = np.repeat(made[..., None], 3, axis=2)
            encoded = bytes(webp_encode(grey, lossless=True, level=0, method=4))
            write_files(folder, {file: encoded}, what="page's map")
    except NotMeasurable:  # a photograph too small for the network
        connection.send("")
    except BenchError as error:
        connection.send(str(error))
    else:
        connection.send("")
