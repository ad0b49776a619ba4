"""Points and kept streams in; PNGs of exactly the pixels that were scored, or why none, out."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.errors import BenchError, ImageRefused, Unavailable

if TYPE_CHECKING:
    import pyarrow as pa

    from benchmark.analysis.summarise import Summary
    from benchmark.codec import Codec, Pixels
    from benchmark.datasets.source import Source
    from benchmark.measure.outcome import Progress
    from benchmark.packs.contents import DatasetContents
    from benchmark.page.content import Decoded, Photograph, Place

FOLDER = "pictures"  # beside the page
Row = Mapping[str, Any]
COLUMNS = (
    "cell", "codec", "variant", "setting_name", "setting_value", "dataset", "image",
    "image_sha256", "width_px", "height_px", "bytes_origin", "stream_sha256", "decoded_sha256",
    "recorded",
)  # fmt: skip


class Pictures(NamedTuple):
    """What the page shows of photographs and streams."""

    photographs: "dict[int, Photograph]"  # by the numbers of `Point.image_ids`
    decoded: "dict[Place, Decoded]"
    files: frozenset[str]  # names in FOLDER that the page refers to


def rows_by_place(table: "pa.Table", summary: "Summary", coding: str) -> "dict[Place, Row]":
    """The row behind every image of every point."""
    import numpy as np

    from benchmark.analysis.comparable import Rows, label_of

    rows = Rows(table, coding)
    marked = np.flatnonzero(rows.ok)
    labels = set(summary.labels)
    used = {(p.label, str(p.setting), number) for p in summary.points for number in p.image_ids}
    found: dict[Place, Row] = {}
    picked = table.select(list(COLUMNS)).take(rows.index[marked]).to_pylist()
    for row, number in zip(picked, rows.image[marked].tolist(), strict=True):
        label = label_of(row["codec"], row["variant"])
        if label not in labels:  # two variants of one label
            label = f"{row['codec']}:{row['variant']}".rstrip(":")
        place = label, f"{row['setting_name']}={row['setting_value']:g}", number
        if place in used:
            found[place] = row
    return found


def chosen_photographs(
    rows: "Mapping[Place, Row]", evidence: "DatasetContents", most: int | None
) -> set[int]:
    """Those with pictures: by most streams, then by name, `most` of them (None: all)."""
    streams: dict[int, int] = {}
    names: dict[int, str] = {}
    for (_, _, number), row in rows.items():
        streams[number] = streams.get(number, 0) + _has_stream(evidence, row)
        names[number] = row["image"]
    ordered = sorted(
        (number for number, count in streams.items() if count),
        key=lambda number: (-streams[number], names[number]),
    )
    return set(ordered[:most])


def write_pictures(
    folder: Path,
    rows: "Mapping[Place, Row]",
    evidence: "DatasetContents",
    sources: "Mapping[str, Source] | str",
    chosen: AbstractSet[int],
    report: "Callable[[Progress], None]",
) -> Pictures:
    """Write what is not there yet; a file is named by the sha256 of its pixels.

    `sources` has photographs by the sha256 of their pixels, or why there are none; `chosen` are
    those with pictures.
    """
    from benchmark.measure.engine.local import pin_pools
    from benchmark.measure.outcome import Progress
    from benchmark.page.content import Decoded

    pin_pools()  # as in a run's workers: sums of floats, and so pixels, depend on the threads
    wanted = {place: row for place, row in rows.items() if place[2] in chosen}
    decoders: dict[tuple[str, str], Codec | str] = {}
    decoded: dict[Place, Decoded] = {}
    photographs = {
        number: _photograph(folder, row, number in chosen, sources, len(chosen))
        for number, row in {place[2]: row for place, row in rows.items()}.items()
    }
    failures = 0
    for done, (place, row) in enumerate(wanted.items()):
        report(Progress(done, failures))
        decoded[place] = _decoded(folder, row, evidence, decoders)
        failures += decoded[place].picture is None
    beyond = _beyond(len(chosen))
    for place, row in rows.items():
        if place not in decoded:
            absent = beyond if _has_stream(evidence, row) else _not_kept(row)
            decoded[place] = Decoded(None, absent)
    paths = [one.picture for one in photographs.values()]
    paths += [one.picture for one in decoded.values()]
    files = frozenset(path.partition("/")[2] for path in paths if path)
    return Pictures(photographs, decoded, files)


def size_of(folder: Path, files: Iterable[str]) -> int:
    """Bytes of these pictures."""
    return sum((folder / FOLDER / name).stat().st_size for name in files)


def remove_others(folder: Path, files: frozenset[str]) -> None:
    """Pictures of an earlier page that this one does not show."""
    pictures = folder / FOLDER
    if pictures.is_dir():
        for path in pictures.glob("*.png"):
            if path.name not in files:
                path.unlink(missing_ok=True)


def sources_of(dataset: str, results: Path, data_dir: Path | None) -> "dict[str, Source] | str":
    """The dataset's photographs by the sha256 of their pixels, or why they are not at hand."""
    from benchmark.plan.matrix import open_sources
    from benchmark.plan.request import Request
    from benchmark.registry import DATASETS

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
    folder: Path, row: Row, chosen: bool, sources: "Mapping[str, Source] | str", count: int
) -> "Photograph":
    from benchmark.datasets.image import read_image
    from benchmark.page.content import Photograph

    shape = row["image"], row["width_px"], row["height_px"]
    if not chosen:
        return Photograph(*shape, None, _beyond(count))
    name = f"{row['image_sha256']}.png"
    if (folder / FOLDER / name).exists():
        return Photograph(*shape, f"{FOLDER}/{name}")
    if isinstance(sources, str):
        return Photograph(*shape, None, sources)
    source = sources.get(row["image_sha256"])
    if source is None:
        return Photograph(
            *shape, None, "The original is not here: the dataset has other pixels by that name now."
        )
    try:
        pixels = read_image(source.file.path, flatten=True).pixels
    except ImageRefused as refused:
        return Photograph(*shape, None, f"The original cannot be read: {refused}.")
    _write(folder, name, pixels)
    return Photograph(*shape, f"{FOLDER}/{name}")


def _decoded(
    folder: Path,
    row: Row,
    evidence: "DatasetContents",
    decoders: "dict[tuple[str, str], Codec | str]",
) -> "Decoded":
    from benchmark.measure.execute import Failed
    from benchmark.measure.reconstruct import reconstruct
    from benchmark.page.content import Decoded
    from benchmark.registry import CodecSpec, load_codec

    name = f"{row['decoded_sha256']}.png"
    if (folder / FOLDER / name).exists():
        return Decoded(f"{FOLDER}/{name}")
    if not _has_stream(evidence, row):
        return Decoded(None, _not_kept(row))
    key = row["codec"], row["variant"]
    if key not in decoders:
        try:
            decoders[key] = load_codec(CodecSpec.of(*key))
        except BenchError as error:
            decoders[key] = f"No picture: it cannot be decoded here: {error}."
    decoder = decoders[key]
    if isinstance(decoder, str):
        return Decoded(None, decoder)
    try:
        pixels = reconstruct(decoder, row, evidence.stream(row))
    except BenchError as error:
        return Decoded(None, f"No picture: {error}.")
    if isinstance(pixels, Failed):
        return Decoded(None, f"No picture: {pixels.stage}: {pixels.reason}.")
    _write(folder, name, pixels)
    return Decoded(f"{FOLDER}/{name}")


def _has_stream(evidence: "DatasetContents", row: Row) -> bool:
    return bool(evidence.has_stream(row) or row["bytes_origin"] == "declared")


def _beyond(count: int) -> str:
    some = f"pictures of {count} photographs only" if count else "no pictures"
    return (
        f"No picture: this page has {some}; `bench report --page --page-images all` adds the rest."
    )


def _not_kept(row: Row) -> str:
    """How to get a stream that is not there."""
    spec = f"{row['codec']}:{row['variant']}".rstrip(":")
    again = f"`bench run --codecs {spec} --dataset {row['dataset']}"
    if row["recorded"]:
        return f"No picture: its numbers came without their streams; {again}` codes it here."
    return f"No picture: its stream was not kept; {again} --results OTHER` codes it again."


def _write(folder: Path, name: str, pixels: "Pixels") -> None:
    from io import BytesIO

    from PIL.Image import fromarray

    from benchmark.system.atomic import write_files

    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    write_files(folder / FOLDER, {name: png.getvalue()}, what="page's picture")
