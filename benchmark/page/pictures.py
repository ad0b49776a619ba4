"""Pictures of the page: WebP files of exactly the pixels that were scored, or why there are none.

Lossless WebP takes a third less than PNG in the same time, and browsers decode it to the same
pixels (docs/experiments has bytes and seconds of the choices).
"""

import math
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL.Image import fromarray

from benchmark.analysis.comparable import ComparableRows
from benchmark.analysis.summarise import Summary, looked_for
from benchmark.codec import Codec, Pixels
from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.datasets.dataset import Source
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError, ImageRefused, Unavailable, UsageError
from benchmark.measure.execute import Failed
from benchmark.measure.outcome import Progress
from benchmark.measure.reconstruct import reconstruct
from benchmark.packs.contents import DatasetContents, why_no_stream
from benchmark.page.content import DecodedPicture, ImageKey, SourcePicture
from benchmark.report.report_set import PICTURE
from benchmark.rows.codecs import why_not_run
from benchmark.system.atomic import write_files
from benchmark.system.foreign_files import is_regular
from benchmark.system.settings import one_thread
from benchmark.system.text import counted

FOLDER = "pictures"  # beside the page
ALL = "all"
MOST_WEBP_PX = 16383  # of a side; a larger picture is a PNG
DRAFTS_AHEAD = 2  # decoded while earlier ones are encoded
# Bits per pixel at which a photograph first has pictures of all codecs, in this order, so that
# pictures of one rate stand beside each other however few there are.
RATES = (0.25, 0.5, 0.125, 1.0, 2.0)
LEAST_BPP = 1e-6  # an empty stream has a rate of 0, of which there is no logarithm
COLUMNS = (
    "cell", "run", "codec", "variant", "setting_name", "setting_value", "dataset", "image",
    "image_sha256", "width_px", "height_px", "bpp", "bytes_origin",
    "stream_sha256", "decoded_sha256", "recorded",
)  # fmt: skip

StoredRow = Mapping[str, Any]
# Called with a number of steps: a context whose value is called with the state, often.
ShowProgress = Callable[[int], AbstractContextManager[Callable[[Progress], None]]]


class Limit(NamedTuple):
    """Limits of a page's pictures; None is no limit."""

    photographs: int | None
    most_bytes: int | None  # of all picture files together, originals included


class Pictures(NamedTuple):
    """Pictures of photographs and streams that the page shows."""

    photographs: dict[int, SourcePicture]  # by the numbers of `Point.image_ids`
    decoded: dict[ImageKey, DecodedPicture]
    sizes: Mapping[str, int]  # bytes of the files in FOLDER that the page refers to


class _Draft(NamedTuple):
    """A picture before its file is written."""

    key: ImageKey  # of the image, or of one of the photograph's
    picture: SourcePicture | DecodedPicture
    pixels: Pixels | None = None  # None where the file is there, or `picture` is absent


def limit_of(text: str) -> Limit:
    """Return the limit that `--page-images` states; raises `UsageError` for any other text.

    >>> limit_of("2"), limit_of("14MB")
    (Limit(photographs=2, most_bytes=None), Limit(photographs=None, most_bytes=14000000))
    """
    if text == ALL:
        return Limit(None, None)
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?MB", text, re.IGNORECASE)
    if size:
        return Limit(None, round(float(size[1]) * 1e6))
    if not text.isdecimal():
        raise UsageError(
            f"--page-images {text!r} is neither a size (14MB), a number of photographs nor 'all'"
        )
    return Limit(int(text), None)


def rows_by_image(table: pa.Table, summary: Summary, coding: str) -> dict[ImageKey, StoredRow]:
    """Return the row of every image of every point."""
    rows = ComparableRows(table, coding, looked_for(summary.protocols))
    marked = np.flatnonzero(rows.ok)
    labels, editions = rows.labels(), rows.edition[marked].tolist()
    used = {(p.label, str(p.setting), number) for p in summary.points for number in p.image_ids}
    found: dict[ImageKey, StoredRow] = {}
    picked = table.select(list(COLUMNS)).take(rows.index[marked]).to_pylist()
    for row, number, edition in zip(picked, rows.image[marked].tolist(), editions, strict=True):
        place = labels[edition], f"{row['setting_name']}={row['setting_value']:g}", number
        if place in used:
            found[place] = row
    return found


def write_pictures(
    folder: Path,
    rows: Mapping[ImageKey, StoredRow],
    contents: DatasetContents,
    sources: Mapping[str, Source] | str,
    limit: Limit,
    show_progress: ShowProgress,
) -> Pictures:
    """Write the pictures that are not there yet, each named by the sha256 of its pixels.

    `sources` has photographs by the sha256 of their pixels, or why there are none. Pictures are
    written in the order of `in_order`, until the next one would exceed `limit`.
    """
    maker = _Maker(folder, rows, contents, sources)
    order = in_order({key: rows[key] for key in rows if maker.can_have(key)}, limit.photographs)
    photographs: dict[int, SourcePicture] = {}
    decoded: dict[ImageKey, DecodedPicture] = {}
    sizes: dict[str, int] = {}
    failures = 0
    steps = len(order) + len({number for _, _, number in order})
    with (
        one_thread(),
        show_progress(steps) as tell,
        closing(_encoded(maker.drafts(order))) as made,
    ):
        for done, (draft, encoded) in enumerate(made):
            tell(Progress(done, failures))
            path = draft.picture.picture
            if path is not None:
                name = path.partition("/")[2]
                size = len(encoded) if encoded else (folder / path).stat().st_size
                total = sum(sizes.values()) + size * (name not in sizes)
                if limit.most_bytes is not None and total > limit.most_bytes:
                    break
                if encoded:
                    write_files(folder / FOLDER, {name: encoded}, what="page's picture")
                sizes[name] = size
            if isinstance(draft.picture, SourcePicture):
                photographs[draft.key[2]] = draft.picture
            else:
                decoded[draft.key] = draft.picture
                failures += draft.picture.failed
    some = f"pictures of {counted(len(photographs), 'photograph')}"
    if limit.most_bytes is not None:
        some = f"{limit.most_bytes / 1e6:g} MB of pictures"
    beyond = (
        f"this page is limited to {some}; `bench report --page --page-images all` adds the rest"
    )
    for key, row in rows.items():
        if key not in decoded:
            spec = f"{row['codec']}:{row['variant']}".rstrip(":")
            lost = why_no_stream(bool(row["recorded"]), [spec], row["dataset"])
            decoded[key] = _no_picture(beyond if contents.has_picture(row) else lost)
        if key[2] not in photographs:
            photographs[key[2]] = _source(row, None, f"No picture: {beyond}.")
    return Pictures(photographs, decoded, sizes)


def remove_others(folder: Path, names: Iterable[str]) -> None:
    """Remove pictures of an earlier page that this one does not show."""
    pictures = folder / FOLDER
    if pictures.is_dir():
        for path in pictures.iterdir():
            if PICTURE.fullmatch(path.name) and path.name not in names:
                path.unlink(missing_ok=True)


def in_order(rows: Mapping[ImageKey, StoredRow], photographs: int | None) -> list[ImageKey]:
    """Return the images in the order in which the page gets their pictures.

    One photograph follows the other, so that every point opens into an image of the first. Of a
    photograph the points nearest to RATES come first, of all codecs at one rate after the other.
    Photographs are in the order of their number of pictures, most first, then of their size,
    smallest first, then of their names. `photographs` limits their number; None takes all.
    """
    by_number: dict[int, list[ImageKey]] = {}
    for key in rows:
        by_number.setdefault(key[2], []).append(key)

    def rank(number: int) -> tuple[int, int, str]:
        row = rows[by_number[number][0]]
        return -len(by_number[number]), row["width_px"] * row["height_px"], row["image"]

    def at_rates(keys: Sequence[ImageKey]) -> Iterator[ImageKey]:
        labels = list(dict.fromkeys(label for label, _, _ in keys))
        for rate in RATES:
            for label in labels:
                yield min(
                    (key for key in keys if key[0] == label),
                    key=lambda key: abs(math.log(max(rows[key]["bpp"], LEAST_BPP) / rate)),
                )

    chosen = [by_number[number] for number in sorted(by_number, key=rank)[:photographs]]
    return list(dict.fromkeys(key for keys in chosen for key in (*at_rates(keys), *keys)))


class _Maker:
    """Pictures of a page, decoded one after the other."""

    def __init__(
        self,
        folder: Path,
        rows: Mapping[ImageKey, StoredRow],
        contents: DatasetContents,
        sources: Mapping[str, Source] | str,
    ) -> None:
        self._folder, self._rows, self._contents = folder, rows, contents
        self._sources = sources
        self._decoders: dict[CodecSpec, Codec | str] = {}

    def can_have(self, key: ImageKey) -> bool:
        """Return whether an image has a stream, or the file of an earlier page."""
        row = self._rows[key]
        return self._contents.has_picture(row) or self._is_there(_path(row, "decoded_sha256"))

    def drafts(self, order: Iterable[ImageKey]) -> Iterator[_Draft]:
        """Decode images in this order, each photograph before the first of its decoded images."""
        numbers: set[int] = set()
        for key in order:
            if key[2] not in numbers:
                numbers.add(key[2])
                yield self._photograph(key)
            yield self._decoded(key)

    def _is_there(self, path: str) -> bool:
        return is_regular(self._folder / path, within=self._folder)

    def _photograph(self, key: ImageKey) -> _Draft:
        row = self._rows[key]
        draft = _Draft(key, _source(row, path := _path(row, "image_sha256")))
        if self._is_there(path):
            return draft
        if isinstance(self._sources, str):
            why = self._sources
        elif source := self._sources.get(row["image_sha256"]):
            try:
                return draft._replace(pixels=read_image(source.file.path, flatten=True).pixels)
            except ImageRefused as refused:
                why = f"The original cannot be read: {refused}."
        else:
            why = "The original is not here: the dataset has other pixels by that name now."
        return _Draft(key, _source(row, None, why))

    def _decoded(self, key: ImageKey) -> _Draft:
        row = self._rows[key]
        path, spec = _path(row, "decoded_sha256"), CodecSpec.of(row["codec"], row["variant"])
        if self._is_there(path):
            return _Draft(key, DecodedPicture(path))
        decoder = self._decoder(spec)
        if isinstance(decoder, str):
            return _Draft(key, _no_picture(decoder))
        try:
            pixels = reconstruct(decoder, row, self._contents.stream(row))
        except BenchError as error:
            return _Draft(key, _no_picture(str(error), not isinstance(error, Unavailable)))
        if isinstance(pixels, Failed):
            return _Draft(key, _no_picture(f"{pixels.stage}: {pixels.reason}", failed=True))
        return _Draft(key, DecodedPicture(path), pixels)

    def _decoder(self, spec: CodecSpec) -> Codec | str:
        """Return the codec, or why it cannot be used here."""
        if not self._contents.codecs.may_run(spec):
            return why_not_run(spec)
        if spec not in self._decoders:
            try:
                self._decoders[spec] = load_codec(spec)
            except BenchError as error:
                self._decoders[spec] = f"it cannot be decoded here: {error}"
        return self._decoders[spec]


def _encoded(drafts: Iterable[_Draft]) -> Generator[tuple[_Draft, bytes | None]]:
    """Yield drafts in their order with their files' bytes, encoded while the next is decoded."""
    waiting: deque[tuple[_Draft, Future[bytes | None]]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for draft in drafts:
            waiting.append((draft, thread.submit(_file_bytes, draft)))
            while len(waiting) > DRAFTS_AHEAD:
                first, encoded = waiting.popleft()
                yield first, encoded.result()
        for last, encoded in waiting:
            yield last, encoded.result()


def _file_bytes(draft: _Draft) -> bytes | None:
    if draft.pixels is None:
        return None
    if max(draft.pixels.shape) > MOST_WEBP_PX:
        png = BytesIO()
        fromarray(draft.pixels).save(png, "PNG")
        return png.getvalue()
    from imagecodecs import webp_encode

    return bytes(webp_encode(draft.pixels, lossless=True, level=0, method=4))


def _path(row: StoredRow, column: str) -> str:
    suffix = "png" if max(row["width_px"], row["height_px"]) > MOST_WEBP_PX else "webp"
    return f"{FOLDER}/{row[column]}.{suffix}"


def _source(row: StoredRow, path: str | None, absent: str = "") -> SourcePicture:
    return SourcePicture(row["image"], row["width_px"], row["height_px"], path, absent)


def _no_picture(why: str, failed: bool = False) -> DecodedPicture:
    return DecodedPicture(None, f"No picture: {why}.", failed)
