"""Pictures of the page: PNGs of exactly the pixels that were scored, or why there are none."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
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
from benchmark.datasets.image import read_image
from benchmark.datasets.source import Source
from benchmark.errors import BenchError, ImageRefused, Unavailable
from benchmark.measure.engine.local import pin_pools
from benchmark.measure.execute import Failed
from benchmark.measure.outcome import Progress
from benchmark.measure.reconstruct import reconstruct
from benchmark.packs.contents import DatasetContents
from benchmark.page.content import DecodedPicture, ImageKey, SourcePicture
from benchmark.plan.matrix import open_sources
from benchmark.plan.request import Request
from benchmark.registry import DATASETS
from benchmark.report.report_set import PICTURE
from benchmark.system.atomic import write_files

FOLDER = "pictures"  # beside the page
StoredRow = Mapping[str, Any]
COLUMNS = (
    "cell", "codec", "variant", "setting_name", "setting_value", "dataset", "image",
    "image_sha256", "width_px", "height_px", "bytes_origin", "stream_sha256", "decoded_sha256",
    "recorded",
)  # fmt: skip


class Pictures(NamedTuple):
    """Pictures of photographs and streams that the page shows."""

    photographs: dict[int, SourcePicture]  # by the numbers of `Point.image_ids`
    decoded: dict[ImageKey, DecodedPicture]
    files: frozenset[str]  # names in FOLDER that the page refers to


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


def chosen_photographs(
    rows: Mapping[ImageKey, StoredRow], contents: DatasetContents, most: int | None
) -> set[int]:
    """Return the `most` photographs with most streams, then by name; None returns all."""
    streams: dict[int, int] = {}
    names: dict[int, str] = {}
    for (_, _, number), row in rows.items():
        streams[number] = streams.get(number, 0) + _has_stream(contents, row)
        names[number] = row["image"]
    ordered = sorted(
        (number for number, count in streams.items() if count),
        key=lambda number: (-streams[number], names[number]),
    )
    return set(ordered[:most])


def write_pictures(
    folder: Path,
    rows: Mapping[ImageKey, StoredRow],
    contents: DatasetContents,
    sources: Mapping[str, Source] | str,
    chosen: AbstractSet[int],
    report: Callable[[Progress], None],
) -> Pictures:
    """Write the pictures that are not there yet, each named by the sha256 of its pixels.

    `sources` has photographs by the sha256 of their pixels, or why there are none; `chosen` are
    those with pictures; `report` is called with the state before every stream.
    """
    pin_pools()  # as in a run's workers: sums of floats, and so pixels, depend on the threads
    wanted = {place: row for place, row in rows.items() if place[2] in chosen}
    decoders: dict[tuple[str, str], Codec | str] = {}
    decoded: dict[ImageKey, DecodedPicture] = {}
    photographs = {
        number: _photograph(folder, row, number in chosen, sources, len(chosen))
        for number, row in {place[2]: row for place, row in rows.items()}.items()
    }
    failures = 0
    for done, (place, row) in enumerate(wanted.items()):
        report(Progress(done, failures))
        decoded[place] = _decoded(folder, row, contents, decoders)
        failures += decoded[place].failed
    beyond = _beyond(len(chosen))
    for place, row in rows.items():
        if place not in decoded:
            absent = beyond if _has_stream(contents, row) else _not_kept(row)
            decoded[place] = DecodedPicture(None, absent)
    paths = [one.picture for one in photographs.values()]
    paths += [one.picture for one in decoded.values()]
    files = frozenset(path.partition("/")[2] for path in paths if path)
    return Pictures(photographs, decoded, files)


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


def sources_of(dataset: str, results: Path, data_dir: Path | None) -> dict[str, Source] | str:
    """Return the dataset's photographs by the sha256 of their pixels, or why they are missing."""
    name = dataset.partition(":")[0]
    name = dataset if Path(dataset).is_dir() else name
    if name not in DATASETS and not Path(name).is_dir():
        return (
            f"The original is not here: {name} was a folder that no name leads back to; "
            "`bench report --page --dataset path/to/it` finds it."
        )
    try:
        opened = open_sources(Request(dataset=name, data_dir=data_dir, flatten=True))
    except Unavailable as missing:
        return f"The original is not here: {missing}."
    return {one.sha256: one for one in opened.images}


def _photograph(
    folder: Path, row: StoredRow, chosen: bool, sources: Mapping[str, Source] | str, count: int
) -> SourcePicture:
    shape = row["image"], row["width_px"], row["height_px"]
    if not chosen:
        return SourcePicture(*shape, None, _beyond(count))
    name = f"{row['image_sha256']}.png"
    if (folder / FOLDER / name).exists():
        return SourcePicture(*shape, f"{FOLDER}/{name}")
    if isinstance(sources, str):
        return SourcePicture(*shape, None, sources)
    source = sources.get(row["image_sha256"])
    if source is None:
        return SourcePicture(
            *shape, None, "The original is not here: the dataset has other pixels by that name now."
        )
    try:
        pixels = read_image(source.file.path, flatten=True).pixels
    except ImageRefused as refused:
        return SourcePicture(*shape, None, f"The original cannot be read: {refused}.")
    _write(folder, name, pixels)
    return SourcePicture(*shape, f"{FOLDER}/{name}")


def _decoded(
    folder: Path,
    row: StoredRow,
    contents: DatasetContents,
    decoders: dict[tuple[str, str], Codec | str],
) -> DecodedPicture:
    name = f"{row['decoded_sha256']}.png"
    if (folder / FOLDER / name).exists():
        return DecodedPicture(f"{FOLDER}/{name}")
    if not _has_stream(contents, row):
        return DecodedPicture(None, _not_kept(row))
    key = row["codec"], row["variant"]
    if key not in decoders:
        try:
            decoders[key] = load_codec(CodecSpec.of(*key))
        except BenchError as error:
            decoders[key] = f"No picture: it cannot be decoded here: {error}."
    decoder = decoders[key]
    if isinstance(decoder, str):
        return DecodedPicture(None, decoder)
    try:
        pixels = reconstruct(decoder, row, contents.stream(row))
    except BenchError as error:
        return DecodedPicture(
            None, f"No picture: {error}.", failed=not isinstance(error, Unavailable)
        )
    if isinstance(pixels, Failed):
        why = f"No picture: {pixels.stage}: {pixels.reason}."
        return DecodedPicture(None, why, failed=True)
    _write(folder, name, pixels)
    return DecodedPicture(f"{FOLDER}/{name}")


def _has_stream(contents: DatasetContents, row: StoredRow) -> bool:
    return bool(contents.has_stream(row) or row["bytes_origin"] == "declared")


def _beyond(count: int) -> str:
    some = f"pictures of {count} photographs only" if count else "no pictures"
    return (
        f"No picture: this page has {some}; `bench report --page --page-images all` adds the rest."
    )


def _not_kept(row: StoredRow) -> str:
    """Return a sentence on how to get a stream that is not there."""
    spec = f"{row['codec']}:{row['variant']}".rstrip(":")
    again = f"`bench run --codecs {spec} --dataset {row['dataset']}"
    if row["recorded"]:
        return f"No picture: its numbers came without their streams; {again}` codes it here."
    return f"No picture: its stream was not kept; {again} --results OTHER` codes it again."


def _write(folder: Path, name: str, pixels: Pixels) -> None:
    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    write_files(folder / FOLDER, {name: png.getvalue()}, what="page's picture")
