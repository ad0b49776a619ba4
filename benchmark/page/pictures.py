"""Pictures of the page: WebP files of exactly the pixels that were scored, or why there are none.

Lossless WebP takes a third less than PNG in the same time, and browsers decode it to the same
pixels; docs/log.md has bytes and seconds of the choices.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
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
from benchmark.errors import BenchError, ImageRefused, Unavailable
from benchmark.measure.execute import Failed
from benchmark.measure.outcome import Progress
from benchmark.measure.reconstruct import reconstruct
from benchmark.packs.contents import DatasetContents, why_no_stream
from benchmark.page.content import DecodedPicture, ImageKey, SourcePicture
from benchmark.page.picks import Candidate, Limit, in_order
from benchmark.report.report_set import PICTURE
from benchmark.rows.named_code import why_not_run
from benchmark.system.atomic import write_files
from benchmark.system.foreign_files import is_regular
from benchmark.system.settings import one_thread
from benchmark.system.text import counted

FOLDER = "pictures"  # beside the page
MOST_WEBP_PX = 16383  # of a side; a larger picture is a PNG
DRAFTS_AHEAD = 2  # decoded while earlier ones are encoded
StoredRow = Mapping[str, Any]
# Called with a number of steps: a context whose value is called with the state, often.
ShowProgress = Callable[[int], AbstractContextManager[Callable[[Progress], None]]]
COLUMNS = (
    "cell", "run", "codec", "variant", "setting_name", "setting_value", "dataset", "image",
    "image_sha256", "width_px", "height_px", "bpp", "bytes_origin",
    "stream_sha256", "decoded_sha256", "recorded",
)  # fmt: skip


class Pictures(NamedTuple):
    """Pictures of photographs and streams that the page shows."""

    photographs: dict[int, SourcePicture]  # by the numbers of `Point.image_ids`
    decoded: dict[ImageKey, DecodedPicture]
    files: frozenset[str]  # names in FOLDER that the page refers to


class _Draft(NamedTuple):
    """A picture before its file is written."""

    key: ImageKey  # of the image, or of one of the photograph's
    picture: SourcePicture | DecodedPicture
    pixels: Pixels | None = None  # None where the file is there, or `picture` is absent


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
    written in the order of `picks.in_order`, until the next one would exceed `limit`.
    """
    order = in_order(_candidates(folder, rows, contents), limit.photographs)
    photographs: dict[int, SourcePicture] = {}
    decoded: dict[ImageKey, DecodedPicture] = {}
    sizes: dict[str, int] = {}  # of the page's files, in bytes
    failures = 0
    drafts = _drafts(folder, rows, contents, sources, order)
    numbers = {number for _, _, number in order}
    with (
        one_thread(),
        show_progress(len(order) + len(numbers)) as tell,
        closing(_encoded(drafts)) as made,
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
    beyond = _beyond(limit, len(photographs))
    for key, row in rows.items():
        if key not in decoded:
            absent = beyond if contents.has_picture(row) else _not_kept(row)
            decoded[key] = DecodedPicture(None, absent)
        if key[2] not in photographs:
            photographs[key[2]] = SourcePicture(*_shape(row), None, beyond)
    return Pictures(photographs, decoded, frozenset(sizes))


def size_of(folder: Path, files: Iterable[str]) -> int:
    """Return the size of these pictures in bytes."""
    return sum((folder / FOLDER / name).stat().st_size for name in files)


def remove_others(folder: Path, files: frozenset[str]) -> None:
    """Remove pictures of an earlier page that this one does not show."""
    pictures = folder / FOLDER
    if pictures.is_dir():
        for path in pictures.iterdir():
            if PICTURE.fullmatch(path.name) and path.name not in files:
                path.unlink(missing_ok=True)


def _candidates(
    folder: Path, rows: Mapping[ImageKey, StoredRow], contents: DatasetContents
) -> dict[ImageKey, Candidate]:
    """Return the images with a stream, or with the file of an earlier page."""
    return {
        key: Candidate(row["image"], row["width_px"] * row["height_px"], row["bpp"])
        for key, row in rows.items()
        if contents.has_picture(row)
        or is_regular(folder / _path(row, "decoded_sha256"), within=folder)
    }


def _drafts(
    folder: Path,
    rows: Mapping[ImageKey, StoredRow],
    contents: DatasetContents,
    sources: Mapping[str, Source] | str,
    order: Iterable[ImageKey],
) -> Iterator[_Draft]:
    """Decode images in this order, each photograph before the first of its decoded images."""
    decoders: dict[tuple[str, str], Codec | str] = {}
    numbers: set[int] = set()
    for key in order:
        if key[2] not in numbers:
            numbers.add(key[2])
            yield _photograph(folder, key, rows[key], sources)
        yield _decoded(folder, key, rows[key], contents, decoders)


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
    """Return the picture's file, lossless; None for a draft without pixels."""
    if draft.pixels is None:
        return None
    if max(draft.pixels.shape) > MOST_WEBP_PX:
        png = BytesIO()
        fromarray(draft.pixels).save(png, "PNG")
        return png.getvalue()
    from imagecodecs import webp_encode

    return bytes(webp_encode(draft.pixels, lossless=True, level=0, method=4))


def _path(row: StoredRow, column: str) -> str:
    """Return a picture's path beside the page, by the column with the sha256 of its pixels."""
    suffix = "png" if max(row["width_px"], row["height_px"]) > MOST_WEBP_PX else "webp"
    return f"{FOLDER}/{row[column]}.{suffix}"


def _shape(row: StoredRow) -> tuple[str, int, int]:
    return row["image"], row["width_px"], row["height_px"]


def _photograph(
    folder: Path, key: ImageKey, row: StoredRow, sources: Mapping[str, Source] | str
) -> _Draft:
    def absent(why: str) -> _Draft:
        return _Draft(key, SourcePicture(*_shape(row), None, why))

    path = _path(row, "image_sha256")
    draft = _Draft(key, SourcePicture(*_shape(row), path))
    if is_regular(folder / path, within=folder):
        return draft
    if isinstance(sources, str):
        return absent(sources)
    source = sources.get(row["image_sha256"])
    if source is None:
        return absent("The original is not here: the dataset has other pixels by that name now.")
    try:
        return draft._replace(pixels=read_image(source.file.path, flatten=True).pixels)
    except ImageRefused as refused:
        return absent(f"The original cannot be read: {refused}.")


def _decoded(
    folder: Path,
    key: ImageKey,
    row: StoredRow,
    contents: DatasetContents,
    decoders: dict[tuple[str, str], Codec | str],
) -> _Draft:
    path = _path(row, "decoded_sha256")
    if is_regular(folder / path, within=folder):
        return _Draft(key, DecodedPicture(path))
    codec = row["codec"], row["variant"]
    if not contents.codecs.may_run(CodecSpec.of(*codec)):
        why = why_not_run(CodecSpec.of(*codec))
        return _Draft(key, DecodedPicture(None, f"No picture: {why}."))
    if codec not in decoders:
        try:
            decoders[codec] = load_codec(CodecSpec.of(*codec))
        except BenchError as error:
            decoders[codec] = f"No picture: it cannot be decoded here: {error}."
    decoder = decoders[codec]
    if isinstance(decoder, str):
        return _Draft(key, DecodedPicture(None, decoder))
    try:
        pixels = reconstruct(decoder, row, contents.stream(row))
    except BenchError as error:
        failed = not isinstance(error, Unavailable)
        return _Draft(key, DecodedPicture(None, f"No picture: {error}.", failed))
    if isinstance(pixels, Failed):
        why = f"No picture: {pixels.stage}: {pixels.reason}."
        return _Draft(key, DecodedPicture(None, why, failed=True))
    return _Draft(key, DecodedPicture(path), pixels)


def _beyond(limit: Limit, photographs: int) -> str:
    """Return why an image that could have a picture has none, and how to get it."""
    if limit.most_bytes is not None:
        some = f"{limit.most_bytes / 1e6:g} MB of pictures"
    else:
        some = f"pictures of {counted(photographs, 'photograph')}"
    return (
        f"No picture: this page is limited to {some}; "
        "`bench report --page --page-images all` adds the rest."
    )


def _not_kept(row: StoredRow) -> str:
    """Return a sentence on how to get a stream that is not there."""
    spec = f"{row['codec']}:{row['variant']}".rstrip(":")
    return f"No picture: {why_no_stream(bool(row['recorded']), [spec], row['dataset'])}."
