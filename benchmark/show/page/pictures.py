"""Pictures of the page: lossless files of the scored pixels, error maps, and crops.

Images are chosen before any stream is decoded. A map shows where a decoded picture differs from the
original, in grey at half the size; the page adds colours and scale (where.js). Files are named by
the digest of their content, so adding a codec changes none.
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
from benchmark.compare.pictures import MAX_CLOSE_RATIO, matched_rate, nearest_setting
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
from benchmark.measure.estimate import interpolate
from benchmark.measure.pictures import ABSENT, Pictures
from benchmark.measure.record import Progress
from benchmark.measure.workers import run_in_processes
from benchmark.metrics.maps import halve_map, levels, map_scale, mapped_metric, reach
from benchmark.metrics.metric import Metric, uncomputable_metrics
from benchmark.registry import metric_class
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.edition import labels
from benchmark.rows.summary import Summary
from benchmark.show.figures.picture_sheet import most_different_square
from benchmark.show.page.content import DecodedPicture, EmbeddedCrop, ImageKey, SourcePicture
from benchmark.show.report.files import PICTURES
from benchmark.spec import CodecSpec
from benchmark.system.atomic import write_files
from benchmark.system.foreign_files import is_regular
from benchmark.system.machine import cores
from benchmark.system.settings import chosen_device
from benchmark.system.text import counted, group_by_key

ALL = "all"
MAX_DECODE_SECONDS = 20.0  # limit for all pictures together, on one core
SLOW_SECONDS = 10.0  # per megapixel; slower decoders, such as diffusion models, need `ALL`
UNKNOWN_SECONDS = 1.0  # per megapixel, for a codec of unknown speed
UNKNOWN_BYTES = 1.5  # per pixel, if the original is missing
DECODED_SHARE = 0.9  # a picture's bytes per byte of the original; .12 to .86 in 70 pictures
# In bits per pixel: a photograph gets every codec's picture at the first rate, then at the second,
# so that even a few pictures can be compared at one rate.
RATES = (0.25, 0.5, 0.125, 1.0, 2.0)
FEW_PHOTOGRAPHS = 6  # up to this many, each gets ROUNDS rates before any gets all rates
ROUNDS = 3

PERCEPTUAL_METRICS, LUMA_METRIC = ("lpips_squeeze", "lpips"), "psnr_y"
MAPS_SHARE = 0.17  # bytes of a decoded picture's maps per byte of the original
CROP_SIDES = (192, 160, 128, 96)  # px; used: the largest whose crops fit in CROP_BYTES
CROP_BYTES = 660_000  # limit for all crops together; base64 adds a third
MAX_WEBP_PX = 16383  # longest side; a larger picture is a PNG
COLUMNS = (
    "cell", "run", "codec", "variant", "setting_name", "setting_value", "dataset", "image",
    "image_sha256", "width_px", "height_px", "bpp", "bytes_origin", "device", "decode_seconds",
    "stream_sha256", "decoded_sha256", "recorded", "status",
)  # fmt: skip


StoredRow = Mapping[str, Any]
# Takes a number of steps; returns a context manager whose value is called with progress reports
ShowProgress = Callable[[int], AbstractContextManager[Callable[[Progress], None]]]


def parse_limit(text: str) -> float:
    """Return the bytes that `--page-images` allows, inf for "all"; `UsageError` if invalid."""
    if text == ALL:
        return math.inf
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?MB", text, re.IGNORECASE)
    if not size:
        raise UsageError(f"--page-images {text!r} is neither a size like 14MB nor 'all'")
    return round(float(size[1]) * 1e6)


def order_keys(
    rows: Mapping[ImageKey, StoredRow], first_labels: Sequence[str] = ()
) -> list[ImageKey]:
    """Return the keys of pictures in the order in which the page gets them.

    All pictures of the first photograph come first, so that every point on the page has one. If
    there are at most FEW_PHOTOGRAPHS, the first ROUNDS rates of each precede all other pictures.
    Within a photograph, codecs in `first_labels` precede other codecs; in both groups, the points
    nearest to the matched rate come first, then those nearest to each of RATES. Photographs are
    ordered by number of pictures, descending, then size, ascending, then name.
    """
    keys_by_image = group_by_key((key[2], key) for key in rows)

    def sort_key(image_id: int) -> tuple[int, int, str]:
        row = rows[keys_by_image[image_id][0]]
        return -len(keys_by_image[image_id]), row["width_px"] * row["height_px"], row["image"]

    def nearest_keys(keys: Sequence[ImageKey], rates: Sequence[float]) -> Iterator[ImageKey]:
        for rate in rates:
            for label in dict.fromkeys(label for label, _, _ in keys):
                label_keys = [key for key in keys if key[0] == label]
                index = nearest_setting(rate, [rows[key]["bpp"] for key in label_keys], math.inf)
                yield label_keys[index or 0]

    rounds: list[list[ImageKey]] = [[] for _ in range(ROUNDS)]
    ordered_keys: list[ImageKey] = []
    image_ids = sorted(keys_by_image, key=sort_key)
    for image_id in image_ids:
        keys = keys_by_image[image_id]
        first_keys = [key for label in first_labels for key in keys if key[0] == label]
        rates = [*find_matched_rate(rows, first_keys), *RATES]
        for round_keys, rate in zip(rounds, rates, strict=False):
            round_keys.extend(nearest_keys(first_keys, [rate]))
        other_keys = [key for key in keys if key[0] not in first_labels]
        ordered_keys += [
            *nearest_keys(first_keys, rates),
            *first_keys,
            *nearest_keys(other_keys, RATES),
            *other_keys,
        ]
    if len(image_ids) <= FEW_PHOTOGRAPHS:
        ordered_keys = [*chain.from_iterable(rounds), *ordered_keys]
    return list(dict.fromkeys(ordered_keys))


def select_keys(
    order: Sequence[ImageKey],
    rows: Mapping[ImageKey, StoredRow],
    seconds: Mapping[ImageKey, float],
    original_bytes: Callable[[ImageKey], float],
    max_bytes: float,
    maps_share: float = 0.0,
) -> list[ImageKey]:
    """Return the keys of `order` whose pictures fit the limits.

    original_bytes: bytes of a picture's original. maps_share: bytes of maps per original byte.
    The selection ends before the first picture that does not fit. Unless `max_bytes` is infinite,
    decoding takes at most MAX_DECODE_SECONDS, and slow decoders are left out.
    """
    is_unlimited = math.isinf(max_bytes)
    seconds_left, max_seconds_per_megapixel = (
        (math.inf, math.inf) if is_unlimited else (MAX_DECODE_SECONDS, SLOW_SECONDS)
    )
    selected_keys: list[ImageKey] = []
    image_ids: set[int] = set()
    for key in order:
        if seconds[key] > min(seconds_left, max_seconds_per_megapixel * megapixels(rows[key])):
            continue
        num_bytes = original_bytes(key) * (DECODED_SHARE + maps_share + (key[2] not in image_ids))
        if num_bytes > max_bytes:
            break
        max_bytes, seconds_left = max_bytes - num_bytes, seconds_left - seconds[key]
        image_ids.add(key[2])
        selected_keys.append(key)
    return selected_keys


def decode_seconds(row: StoredRow, device: str) -> float:
    """Return the seconds to decode a row's stream: measured, or else typical for the codec."""
    if row["decode_seconds"] is not None and row["device"] == device:
        return float(row["decode_seconds"])
    try:
        facts = facts_of(CodecSpec.parse_row(row))
    except BadOption:
        facts = Facts()
    typical_seconds = [typical.seconds for typical in facts.typical if typical.device == device]
    megapixel_seconds = (
        interpolate(typical_seconds[0], row["setting_value"])
        if typical_seconds
        else UNKNOWN_SECONDS
    )
    return megapixel_seconds * megapixels(row)


def megapixels(row: StoredRow) -> float:
    """Return the millions of pixels of a row's image."""
    return float(row["width_px"] * row["height_px"] / 1e6)


def find_matched_rate(rows: Mapping[ImageKey, StoredRow], keys: Sequence[ImageKey]) -> list[float]:
    """Return the rate at which most codecs of a photograph can be shown, if any."""
    rates = group_by_key((key[0], rows[key]["bpp"]) for key in keys)
    return [matched_rate(rates)] if len(rates) > 1 else []


def rows_by_image(table: pl.DataFrame, summary: Summary, coding: str) -> dict[ImageKey, StoredRow]:
    """Return the row of each image of each point, by key."""
    rows = ComparableRows(table, coding)
    is_shown = rows.ok & rows.shown
    labels_by_spec = labels(rows.specs().values())
    specs, editions = rows.specs(), rows.edition[is_shown].tolist()
    edition_labels = summary.labels
    used_keys = {
        (edition_labels[p.edition], str(p.setting), image_id)
        for p in summary.points
        for image_id in p.image_ids
    }
    stored_rows: dict[ImageKey, StoredRow] = {}
    chosen_rows = rows.select(*COLUMNS, mask=is_shown).rows(named=True)
    for row, image_id, edition in zip(
        chosen_rows, rows.image[is_shown].tolist(), editions, strict=True
    ):
        key = (
            labels_by_spec[specs[edition]],
            f"{row['setting_name']}={row['setting_value']:g}",
            image_id,
        )
        if key in used_keys:
            stored_rows[key] = row
    return stored_rows


class PictureFiles:
    """Lossless picture files of a page; paths are relative to the page's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, path: str) -> bool:
        """Return whether a file exists and is not a link out of the folder."""
        return is_regular(self.folder / path, within=self.folder)

    def write(self, path: str, pixels: Pixels) -> None:
        """Write pixels to a file; raise `StoreError` if that fails."""
        write_files(self.folder, {path: file_bytes(pixels)}, what="page's picture")

    def pixels(self, path: str) -> Pixels:
        """Return the pixels of a WebP file."""
        from imagecodecs import webp_decode

        return np.asarray(webp_decode((self.folder / path).read_bytes()))

    def num_bytes(self, path: str) -> int:
        """Return the number of bytes of a file."""
        return (self.folder / path).stat().st_size


class PageOriginals:
    """The originals of a page's pictures; a file is written when it is first used."""

    def __init__(self, files: PictureFiles, sources: Mapping[str, Source] | str) -> None:
        """sources: originals by the sha256 of their pixels, or the reason why there are none."""
        self.files, self._sources = files, sources
        self._by_sha256: dict[str, SourcePicture] = {}

    def original(self, row: StoredRow) -> SourcePicture:
        """Return the original of a row, or the reason why there is none."""
        digest = row["image_sha256"]
        if digest not in self._by_sha256:
            path = picture_path(row, "image_sha256")
            reason = "" if self.files.has(path) else self._write_original(path, digest)
            self._by_sha256[digest] = source_picture(row, None if reason else path, reason)
        return self._by_sha256[digest]

    def num_bytes(self, row: StoredRow) -> float:
        """Return the bytes of a row's original; an estimate if the original is missing."""
        path = self.original(row).picture
        return self.files.num_bytes(path) if path else UNKNOWN_BYTES * 1e6 * megapixels(row)

    def _write_original(self, path: str, digest: str) -> str:
        """Write an original; return the reason for a failure."""
        if isinstance(self._sources, str):
            return self._sources
        if (source := self._sources.get(digest)) is None:
            return "The original is missing: the dataset's image of this name has other pixels."
        try:
            self.files.write(path, read_image(source.file.path, flatten=True).pixels)
        except ImageRefused as error:
            return f"The original cannot be read: {error}."
        return ""


class Plan(NamedTuple):
    """The pictures of a page, chosen before any stream is decoded."""

    rows: Mapping[ImageKey, StoredRow]
    reasons: Mapping[ImageKey, str]  # why rows have no picture
    candidates: Sequence[ImageKey]  # rows that can be decoded or already have a file
    keys: Sequence[ImageKey]  # candidates within the limit, in order
    keys_to_decode: Sequence[ImageKey]  # keys without a file
    seconds: float  # estimated time to decode
    limit: str  # the limit as text, "" if there is none

    @property
    def sentence(self) -> str:
        """Sentence on the number of pictures, and the time to decode them."""
        return (
            f"page: {counted(len(self.keys), 'picture')} of {counted(len(self.rows), 'stream')}, "
            f"{len(self.keys_to_decode)} to decode in about {max(self.seconds, 1):.0f} s"
            f"{self.limit}"
        )

    def excess_reason(self, command: str) -> str:
        """Return why the page lacks a candidate. command: the command that makes the page."""
        return (
            f"No picture: beyond the page's limit{self.limit}; "
            f"`{command} --page-images all` adds it."
        )


class PagePictures(NamedTuple):
    """The pictures of a page after decoding."""

    photographs: Mapping[int, SourcePicture]  # by image id
    decoded: Mapping[ImageKey, DecodedPicture]  # for every row: a file, or why there is none
    keys: Sequence[ImageKey]  # keys of pictures with a file

    def sizes(self, files: PictureFiles) -> dict[str, int]:
        """Return the number of bytes of the page's files in PICTURES, by name."""
        decoded = [self.decoded[key] for key in self.keys]
        paths = {photograph.picture for photograph in self.photographs.values()}
        paths |= {picture.picture for picture in decoded}
        paths |= {path for picture in decoded for path, _ in picture.maps.values()}
        return {Path(path).name: files.num_bytes(path) for path in paths if path}


def plan_pictures(
    rows: Mapping[ImageKey, StoredRow],
    stored_pictures: Pictures,
    originals: PageOriginals,
    first_labels: Sequence[str],
    max_bytes: float,
) -> Plan:
    """Choose a page's pictures, preferring codecs in `first_labels`; write the originals."""
    device, files = device_kind(chosen_device()), originals.files
    reasons = {
        key: reason for key, row in rows.items() if (reason := stored_pictures.absence_reason(row))
    }
    candidates = {
        key: row for key, row in rows.items() if key not in reasons or files.has(picture_path(row))
    }
    order = order_keys(candidates, first_labels)
    seconds = {key: decode_seconds(rows[key], device) for key in order}

    def original_bytes(key: ImageKey) -> float:
        return originals.num_bytes(rows[key])

    keys = select_keys(order, rows, seconds, original_bytes, max_bytes, MAPS_SHARE)
    keys_to_decode = [key for key in keys if not files.has(picture_path(rows[key]))]
    wall_seconds = sum(seconds[key] for key in keys_to_decode)
    wall_seconds /= max(1, min(cores(), len(keys_to_decode)))
    limit = ""
    if math.isfinite(max_bytes):
        limit = f" (at most {max_bytes / 1e6:g} MB, {MAX_DECODE_SECONDS:.0f} core seconds)"
    return Plan(rows, reasons, [*candidates], keys, keys_to_decode, wall_seconds, limit)


def decode_pictures(
    plan: Plan, stored_pictures: Pictures, files: PictureFiles, show_progress: ShowProgress
) -> dict[ImageKey, DecodedPicture]:
    """Write the planned pictures that have no file; return those that failed, with the reason."""
    failures: dict[ImageKey, DecodedPicture] = {}
    rows, num_finished = [plan.rows[key] for key in plan.keys_to_decode], 0
    with show_progress(len(rows)) as report:
        report(Progress(0, 0))
        for result in stored_pictures.decode_rows(rows, device_kind(chosen_device()), cores()):
            if result is not None:
                index, pixels = result
                key, num_finished = plan.keys_to_decode[index], num_finished + 1
                if not isinstance(pixels, Failed):
                    files.write(picture_path(rows[index]), pixels)
                elif pixels.stage == ABSENT:
                    reason = f"No picture: the stream cannot be decoded here: {pixels.reason}."
                    failures[key] = DecodedPicture(None, reason)
                else:
                    reason = f"No picture: {pixels.stage}: {pixels.reason}."
                    failures[key] = DecodedPicture(None, reason, failed=True)
            report(Progress(num_finished, sum(picture.failed for picture in failures.values())))
    return failures


def page_pictures(
    plan: Plan,
    failures: Mapping[ImageKey, DecodedPicture],
    originals: PageOriginals,
    excess_reason: str,
) -> PagePictures:
    """Return the pictures of a completed plan. excess_reason: why candidates were left out."""
    decoded = {
        key: DecodedPicture(None, f"No picture: {reason}.") for key, reason in plan.reasons.items()
    }
    decoded |= {key: DecodedPicture(None, excess_reason, limited=True) for key in plan.candidates}
    decoded |= {key: DecodedPicture(picture_path(plan.rows[key])) for key in plan.keys}
    decoded |= failures
    image_ids = {image_id for _, _, image_id in plan.keys}
    photographs = {
        key[2]: originals.original(row)
        if key[2] in image_ids
        else source_picture(row, None, excess_reason)
        for key, row in plan.rows.items()
    }
    return PagePictures(photographs, decoded, [key for key in plan.keys if key not in failures])


def file_bytes(pixels: Pixels) -> bytes:
    """Return pixels as a lossless picture file: WebP, or PNG if they are too large."""
    if max(pixels.shape) > MAX_WEBP_PX:
        png = BytesIO()
        fromarray(pixels).save(png, "PNG")
        return png.getvalue()
    from imagecodecs import webp_encode

    return bytes(webp_encode(pixels, lossless=True, level=0, method=2))


def picture_path(row: StoredRow, column: str = "decoded_sha256") -> str:
    """Return the path of a row's picture; with `image_sha256`, the path of its photograph."""
    suffix = "png" if max(row["width_px"], row["height_px"]) > MAX_WEBP_PX else "webp"
    return f"{PICTURES}/{row[column]}.{suffix}"


def source_picture(row: StoredRow, path: str | None, reason: str = "") -> SourcePicture:
    """Return the photograph of a row with its path, or with the reason why there is none."""
    return SourcePicture(row["image"], row["width_px"], row["height_px"], path, reason)


def make_crops(
    files: PictureFiles, plan: Plan, pictures: PagePictures, labels: Sequence[str]
) -> list[EmbeddedCrop]:
    """Return crops of the first photograph: the original, then two or more codecs at one rate."""
    if not pictures.keys:
        return []
    rows, image_id = plan.rows, pictures.keys[0][2]
    candidate_keys = [key for key in plan.candidates if key[2] == image_id and key[0] in labels]
    for rate in find_matched_rate(rows, candidate_keys):
        keys = []
        for label in labels:
            label_keys = [key for key in pictures.keys if key[0] == label and key[2] == image_id]
            rates = [rows[key]["bpp"] for key in label_keys]
            if (
                index := nearest_setting(rate, rates, MAX_CLOSE_RATIO, allow_between=True)
            ) is not None:
                keys.append(label_keys[index])
        photograph = pictures.photographs[image_id]
        paths = [photograph.picture, *(pictures.decoded[key].picture for key in keys)]
        if len(keys) > 1 and all(path and path.endswith(".webp") for path in paths):
            images = [files.pixels(str(path)) for path in paths]
            return _cut_crops(photograph.name, [None, *keys], images, rate)
    return []


def _cut_crops(
    name: str, keys: Sequence[ImageKey | None], images: Sequence[Pixels], rate: float
) -> list[EmbeddedCrop]:
    for side in CROP_SIDES:
        if side > min(images[0].shape[:2]):
            continue
        left, top, *_ = most_different_square(images[1:], side)
        window = slice(top, top + side), slice(left, left + side)
        crops = [file_bytes(np.ascontiguousarray(image[window])) for image in images]
        if sum(map(len, crops)) <= CROP_BYTES:
            return [
                EmbeddedCrop(key, name, left, top, side, file, rate)
                for key, file in zip(keys, crops, strict=True)
            ]
    return []


def map_metrics(measured_metrics: Collection[Metric]) -> list[str]:
    """Return the metrics of a page's maps: luma, and a variant of LPIPS, preferably measured."""
    columns = {metric.column for metric in measured_metrics}
    reasons = uncomputable_metrics(PERCEPTUAL_METRICS)
    available_metrics = [name for name in PERCEPTUAL_METRICS if name not in reasons]
    available_metrics.sort(key=lambda name: metric_class(name).column not in columns)
    return [*available_metrics[:1], LUMA_METRIC]


def add_maps(
    files: PictureFiles,
    pictures: PagePictures,
    metrics: Sequence[str],
    notify: Callable[[str], None],
) -> PagePictures:
    """Write the missing error maps, and return pictures with maps. notify: shows a message."""
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
        notify(f"page: making {counted(count, 'error map')} on {counted(cores(), 'core')}")
    arguments = [(files.folder, *task, map_pictures) for task, map_pictures in tasks.items()]
    for failure in run_in_processes(_serve_maps, arguments, cores(), activity="made its maps"):
        if failure:
            notify(f"page: some maps are missing: {getattr(failure, 'reason', failure)}")
    decoded = dict(pictures.decoded)
    for key, map_paths in paths.items():
        maps = {}
        for metric, path in map_paths.items():
            if files.has(path):
                error_percentile = reach(files.pixels(path)[..., 0], map_scale(metric))
                maps[metric_class(metric).column] = path, error_percentile
        decoded[key] = decoded[key]._replace(maps=maps)
    return pictures._replace(decoded=decoded)


def _map_path(source: str, picture: str, metric: str) -> str:
    text = f"{source} {picture} {metric_class(metric).protocol} {map_scale(metric).most}"
    return f"{PICTURES}/{sha256(text.encode()).hexdigest()}.webp"


def _serve_maps(
    connection: Any, folder: Path, name: str, source: str, pictures: Mapping[str, str]
) -> None:
    """Write maps of `pictures` (by path of the map); send the reason for a failure, or ""."""
    from imagecodecs import webp_encode

    try:
        files, metric, scale = PictureFiles(folder), mapped_metric(name), map_scale(name)
        prepared_source = metric.prepare(files.pixels(source))
        for path, picture in pictures.items():
            error_levels = levels(
                halve_map(metric.error_map(prepared_source, files.pixels(picture))), scale
            )
            grey = np.repeat(error_levels[..., None], 3, axis=2)
            webp_bytes = bytes(webp_encode(grey, lossless=True, level=0, method=4))
            write_files(folder, {path: webp_bytes}, what="page's map")
    except NotMeasurable:  # a photograph too small for the network
        connection.send("")
    except BenchError as error:
        connection.send(str(error))
    else:
        connection.send("")
