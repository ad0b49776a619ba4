"""Pictures and crops of the page: lossless files of exactly the pixels that were scored."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from PIL.Image import fromarray

from benchmark.codec import Pixels, device_kind
from benchmark.compare.pictures import nearest
from benchmark.datasets.dataset import Source
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError, ImageRefused
from benchmark.facts import facts_of
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import reconstruct_all
from benchmark.measure.record import Progress
from benchmark.registry import CODECS
from benchmark.rows.codecs import why_no_stream, why_not_run
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.packs.contents import DatasetContents
from benchmark.rows.summary import Summary
from benchmark.rows.variants import measured_place
from benchmark.show.figures.picture_sheet import most_different
from benchmark.show.page.content import Crop, DecodedPicture, ImageKey, SourcePicture
from benchmark.show.page.page_maps import SHARE, with_maps
from benchmark.show.page.picks import (
    UNKNOWN_BYTES,
    Limit,
    StoredRow,
    decode_seconds,
    in_order,
    megapixels,
    rate_of,
    within,
    words,
)
from benchmark.show.report.files import PICTURES
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.atomic import write_files
from benchmark.system.foreign_files import is_regular
from benchmark.system.machine import cores
from benchmark.system.settings import chosen_device
from benchmark.system.text import counted

SIDES = (192, 160, 128, 96)  # px; the largest that keeps all crops within CROP_BYTES
CROP_BYTES = 660_000  # of all files; base64 adds a third
MOST_WEBP_PX = 16383  # of a side; a larger picture is a PNG
COLUMNS = (
    "cell", "run", "codec", "variant", "setting_name", "setting_value", "dataset", "image",
    "image_sha256", "width_px", "height_px", "bpp", "bytes_origin", "device", "decode_seconds",
    "stream_sha256", "decoded_sha256", "recorded",
)  # fmt: skip

# Called with a number of steps: a context whose value is called with the state, often.
ShowProgress = Callable[[int], AbstractContextManager[Callable[[Progress], None]]]


class Pictures(NamedTuple):
    """Pictures of photographs and streams that the page shows."""

    photographs: dict[int, SourcePicture]  # by the numbers of `Point.image_ids`
    decoded: dict[ImageKey, DecodedPicture]
    sizes: Mapping[str, int]  # bytes of the files in PICTURES that the page refers to
    order: Sequence[ImageKey]  # decoded images that have a picture, the most important first
    rate: float | None = None  # of the first photograph: at which most codecs are shown


def rows_by_image(table: pl.DataFrame, summary: Summary, coding: str) -> dict[ImageKey, StoredRow]:
    """Return the row of every image of every point."""
    rows = ComparableRows(table, coding)
    marked = rows.ok & rows.shown
    labels, editions = rows.labels(), rows.edition[marked].tolist()
    used = {(p.label, str(p.setting), number) for p in summary.points for number in p.image_ids}
    result: dict[ImageKey, StoredRow] = {}
    picked = rows.chosen(*COLUMNS, marked=marked).rows(named=True)
    for row, number, edition in zip(picked, rows.image[marked].tolist(), editions, strict=True):
        place = labels[edition], f"{row['setting_name']}={row['setting_value']:g}", number
        if place in used:
            result[place] = row
    return result


def write_pictures(
    folder: Path,
    rows: Mapping[ImageKey, StoredRow],
    contents: DatasetContents,
    sources: Mapping[str, Source] | str,
    limit: Limit,
    first: Sequence[str],
    metrics: Sequence[str],
    command: str,
    show_progress: ShowProgress,
    say: Callable[[str], None],
) -> Pictures:
    """Write the pictures that are not there yet, each named by the sha256 of its pixels.

    `sources` has photographs by the sha256 of their pixels, or why there are none; `first` are
    labels of the codecs that come before others, `metrics` those whose maps pictures have,
    `command` makes the page. Which pictures the page has is decided before any
    stream is decoded (`in_order`, `within`); `say` is called with a sentence on it.
    """
    originals, device = _Originals(folder, sources), device_kind(chosen_device())
    place = measured_place(contents.store.folder.parent, contents.store.folder.name)
    programs: dict[CodecSpec, str] = {}
    why_not = {key: _refusal(row, contents, place, programs) for key, row in rows.items()}
    refused = {key: why for key, why in why_not.items() if why}
    able = {k: row for k, row in rows.items() if k not in refused or _is_there(folder, _path(row))}
    order = in_order(able, first)
    seconds = {key: decode_seconds(rows[key], device) for key in order}
    chosen = within(order, rows, seconds, lambda key: originals.size(rows[key]), limit, SHARE)
    missing = [key for key in chosen if not _is_there(folder, _path(rows[key]))]
    if missing:
        wall = sum(seconds[key] for key in missing) / min(cores(), len(missing))
        say(
            f"page: {counted(len(chosen), 'picture')} of {counted(len(rows), 'stream')}, "
            f"{len(missing)} to decode in about {max(wall, 1):.0f} s{words(limit)}"
        )
    failed: dict[ImageKey, DecodedPicture] = {}
    with show_progress(len(missing)) as report:
        report(Progress(0, 0))
        needed, done = [rows[key] for key in missing], 0
        for result in reconstruct_all(needed, contents, device, cores()):
            if result is not None:
                key, pixels, done = missing[result[0]], result[1], done + 1
                if not isinstance(pixels, Failed):
                    _write(folder, _path(rows[key]), pixels)
                elif pixels.stage == "load":
                    why = f"No picture: it cannot be decoded here: {pixels.reason}."
                    failed[key] = DecodedPicture(None, why)
                else:
                    why = f"No picture: {pixels.stage}: {pixels.reason}."
                    failed[key] = DecodedPicture(None, why, failed=True)
            report(Progress(done, sum(picture.failed for picture in failed.values())))
    more = f"`{command} --page-images all` adds it"
    beyond = f"No picture: more than the page's limit{words(limit)}; {more}."
    decoded = {key: DecodedPicture(None, f"No picture: {why}.") for key, why in refused.items()}
    decoded |= {key: DecodedPicture(None, beyond, limited=True) for key in able}
    decoded |= {key: DecodedPicture(_path(rows[key])) for key in chosen} | failed
    numbers = {key[2] for key in chosen}
    photographs = {
        key[2]: originals.picture(row) if key[2] in numbers else _source(row, None, beyond)
        for key, row in rows.items()
    }
    kept = [key for key in chosen if key not in failed]
    of_first = [key for key in able if kept and key[2] == kept[0][2] and key[0] in first]
    rate = next(iter(rate_of(rows, of_first)), None)
    decoded = with_maps(folder, photographs, decoded, kept, metrics, say)
    files = {*(photograph.picture for photograph in photographs.values())}
    files |= {decoded[key].picture for key in kept}
    files |= {file for key in kept for file, _ in decoded[key].maps.values()}
    sizes = {Path(file).name: (folder / file).stat().st_size for file in files if file}
    return Pictures(photographs, decoded, sizes, kept, rate)


def file_bytes(pixels: Pixels) -> bytes:
    """Return pixels as the bytes of a lossless picture file: WebP, or PNG if they are too large."""
    if max(pixels.shape) > MOST_WEBP_PX:
        png = BytesIO()
        fromarray(pixels).save(png, "PNG")
        return png.getvalue()
    from imagecodecs import webp_encode

    return bytes(webp_encode(pixels, lossless=True, level=0, method=2))


class _Originals:
    """Photographs, whose pictures are written when they are first asked for."""

    def __init__(self, folder: Path, sources: Mapping[str, Source] | str) -> None:
        self._folder, self._sources = folder, sources
        self._pictures: dict[str, SourcePicture] = {}

    def picture(self, row: StoredRow) -> SourcePicture:
        name = row["image_sha256"]
        if name not in self._pictures:
            path = _path(row, "image_sha256")
            absent = "" if _is_there(self._folder, path) else self._write(path, row)
            self._pictures[name] = _source(row, None if absent else path, absent)
        return self._pictures[name]

    def size(self, row: StoredRow) -> float:
        """Return the bytes of the picture; a guess where there is none."""
        path = self.picture(row).picture
        if path is None:
            return UNKNOWN_BYTES * 1e6 * megapixels(row)
        return (self._folder / path).stat().st_size

    def _write(self, path: str, row: StoredRow) -> str:
        """Write the picture; return why it cannot be written."""
        if isinstance(self._sources, str):
            return self._sources
        source = self._sources.get(row["image_sha256"])
        if source is None:
            return "The original is not here: the dataset has other pixels by that name now."
        try:
            pixels = read_image(source.file.path, flatten=True).pixels
        except ImageRefused as refused:
            return f"The original cannot be read: {refused}."
        _write(self._folder, path, pixels)
        return ""


def _refusal(
    row: StoredRow, contents: DatasetContents, place: str, programs: dict[CodecSpec, str]
) -> str:
    """Return why a row's stream is not decoded here, empty if it can be tried.

    place: the dataset as `bench run` takes it. programs: for codecs that are programs, why they
    are not here; filled in.
    """
    spec = CodecSpec.of_row(row)
    if not contents.codecs.decoder_of(spec):
        return why_not_run(spec)
    if not contents.has_picture(row):
        return why_no_stream(bool(row["recorded"]), [spec.text], place)
    if spec not in programs:
        programs[spec] = ""
        if spec.name in CODECS and facts_of(spec).kind == "standard":
            try:
                load_codec(spec)
            except BenchError as error:
                programs[spec] = f"it cannot be decoded here: {error}"
    return programs[spec]


def _write(folder: Path, path: str, pixels: Pixels) -> None:
    write_files(folder, {path: file_bytes(pixels)}, what="page's picture")


def _is_there(folder: Path, path: str) -> bool:
    return is_regular(folder / path, within=folder)


def _path(row: StoredRow, column: str = "decoded_sha256") -> str:
    suffix = "png" if max(row["width_px"], row["height_px"]) > MOST_WEBP_PX else "webp"
    return f"{PICTURES}/{row[column]}.{suffix}"


def _source(row: StoredRow, path: str | None, absent: str = "") -> SourcePicture:
    return SourcePicture(row["image"], row["width_px"], row["height_px"], path, absent)


def crops(
    folder: Path, pictures: Pictures, bpp: dict[ImageKey, float], first: Sequence[str]
) -> list[Crop]:
    """Return crops of the page's first photograph: the original, then codecs in their order.

    Each codec of `first` is shown at its setting of about one rate (`compare.pictures.nearest`).
    Without at least two of them and the original there are none.
    """
    if not pictures.order or pictures.rate is None:
        return []
    number = pictures.order[0][2]
    photograph = pictures.photographs[number]
    keys = []
    for label in first:
        mine = [key for key in pictures.order if key[2] == number and key[0] == label]
        near = nearest([bpp[key] for key in mine], pictures.rate) if mine else None
        if near is not None:
            keys.append(mine[near])
    paths = [photograph.picture, *(pictures.decoded[key].picture for key in keys)]
    if len(keys) < 2 or not all(path and path.endswith(".webp") for path in paths):
        return []
    from imagecodecs import webp_decode

    images = [np.asarray(webp_decode((folder / str(path)).read_bytes())) for path in paths]
    for side in SIDES:
        if side > min(images[0].shape[:2]):
            continue
        left, top, *_ = most_different(images[1:], side)
        inside = slice(top, top + side), slice(left, left + side)
        files = [file_bytes(np.ascontiguousarray(image[inside])) for image in images]
        if sum(map(len, files)) <= CROP_BYTES:
            return [
                Crop(key, photograph.name, left, top, side, file, pictures.rate)
                for key, file in zip([None, *keys], files, strict=True)
            ]
    return []
