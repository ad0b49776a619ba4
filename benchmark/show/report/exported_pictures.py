"""Decoded pictures as PNG files under readable names, and a table of them: images.csv.

Only the pixels that were scored are written: their sha256 is that of the row, or there is no file.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL.Image import fromarray

from benchmark.codec import Pixels
from benchmark.datasets.dataset import Source
from benchmark.datasets.image import read_image
from benchmark.errors import ImageRefused, StoreError, UsageError
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import reconstruct_all
from benchmark.measure.record import Failure, Progress
from benchmark.registry import METRICS, metric_named
from benchmark.rows.packs.contents import DatasetContents
from benchmark.rows.schema import metric_columns
from benchmark.show.report.chosen_pictures import StoredPicture, stem
from benchmark.show.table import csv_text
from benchmark.system.atomic import write_files
from benchmark.system.digest import pixels_sha256
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, BadFile, read_regular
from benchmark.system.settings import Device
from benchmark.system.text import parse_sheet, utf8

TABLE = "images.csv"
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')  # in names of Windows' files; / anywhere
LONGEST_PART = 80  # bytes of an image's or codec's part in a name; a name has 255 at most
SOURCE = "source"
# Columns of the table that are the row's
COPIED = (
    "bpp", "num_bytes", "width_px", "height_px", "image_sha256", "stream_sha256", "codec_version",
    "caveat", "coding_protocol",
)  # fmt: skip

Entry = dict[str, Any]  # a line of the table, by column


class ExportedPictures(NamedTuple):
    """Outcome of an export."""

    pictures: tuple[StoredPicture, ...]  # of those asked for, what is in the folder now
    entries: tuple[Entry, ...]  # of these and of the sources, lines of the table
    written: int
    there: int  # files that were there before with these pixels
    failures: tuple[Failure, ...]  # streams that decode to other pixels than the scored, or none
    absent: Mapping[str, int]  # number of pictures by what this machine lacks to decode them


def export_pictures(
    folder: Path,
    pictures: Sequence[StoredPicture],
    sources: Mapping[str, Source],
    contents: DatasetContents,
    device: Device,
    jobs: int,
    force: bool,
    report: Callable[[Progress], None],
) -> ExportedPictures:
    """Write pictures and `sources` (by the sha256 of their pixels) that are not in the folder yet.

    device and jobs: see `reconstruct_all`. `report` is called with the state while streams are
    decoded. Raises `UsageError`, before anything is written, if a file of one of the names has
    another content, unless `force` allows its replacement; `StoreError` if the folder cannot be
    written.
    """
    decoded = [*map(_entry, picture_names(pictures), pictures)]
    source_names = _distinct(
        [f"{_part(stem(source.file.name))}__{SOURCE}" for source in sources.values()], list(sources)
    )
    originals = [*map(_source_entry, source_names, sources.values())]
    files = {entry["file"] for entry in (*decoded, *originals) if _is_there(folder, entry, force)}
    listed = _earlier_entries(folder, force)
    before = len(files)

    missing = [place for place, entry in enumerate(decoded) if entry["file"] not in files]
    failures: list[Failure] = []
    absent: Counter[str] = Counter()
    for result in reconstruct_all([pictures[n].row for n in missing], contents, device, jobs):
        if result is not None:
            place, pixels = missing[result[0]], result[1]
            if isinstance(pixels, Failed) and pixels.stage == "load":
                absent[f"{pictures[place].label}: {pixels.reason}"] += 1
            elif isinstance(pixels, Failed):
                failures.append(_failure(pictures[place], pixels, device))
            else:
                _write(folder, decoded[place]["file"], pixels)
                files.add(decoded[place]["file"])
        report(Progress(len(files) - before + len(failures) + absent.total(), len(failures)))
    shown = [place for place, entry in enumerate(decoded) if entry["file"] in files]
    for entry in originals if shown else ():
        if entry["file"] not in files:
            path = sources[entry["sha256"]].file.path
            _write(folder, entry["file"], read_image(path, flatten=True).pixels)
            files.add(entry["file"])

    entries = tuple(entry for entry in (*decoded, *originals) if entry["file"] in files)
    listed |= {entry["file"]: entry for entry in entries}
    if listed:
        fullest = sorted(listed.values(), key=len, reverse=True)  # sources have few columns
        blank = dict.fromkeys((name for entry in fullest for name in entry), "")
        text = csv_text([{**blank, **listed[name]} for name in sorted(listed)])
        write_files(folder, {TABLE: text}, what="pictures")
    chosen = tuple(pictures[place] for place in shown)
    return ExportedPictures(chosen, entries, len(files) - before, before, tuple(failures), absent)


def picture_names(pictures: Sequence[StoredPicture]) -> list[str]:
    """Return the pictures' file names, valid on every system and distinct where case is ignored.

    kodim03__ours_beta=3.84__q=2__0.384bpp.png: image, codec variant, setting, rate.
    """
    names = [
        "__".join([*map(_part, (it.image, it.label, str(it.setting))), f"{it.row['bpp']:.3f}bpp"])
        for it in pictures
    ]
    return _distinct(names, [picture.row["cell"] for picture in pictures])


def for_json(entry: Entry) -> Entry:
    """Return an entry with infinite numbers as text, which JSON lacks."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in entry.items()
    }


def _part(text: str) -> str:
    """Return a text as a part of a file name, with its end where it is long.

    >>> _part("ours:beta=3.84"), _part("mobile/a:b")
    ('ours_beta=3.84', 'mobile_a_b')
    """
    safe = UNSAFE.sub("_", text).strip(". ")
    while len(utf8(safe)) > LONGEST_PART:
        safe = safe[1:]
    return safe


def _distinct(names: Sequence[str], identities: Sequence[str]) -> list[str]:
    """Add a hash of its identity to each name that another one equals but for the case."""
    counts = Counter(name.casefold() for name in names)
    result = []
    for name, identity in zip(names, identities, strict=True):
        digest = sha256(utf8(identity)).hexdigest()[:8]
        result.append(f"{name}__{digest}.png" if counts[name.casefold()] > 1 else f"{name}.png")
    return result


def _is_there(folder: Path, entry: Entry, force: bool) -> bool:
    path = folder / entry["file"]
    if not path.exists():
        return False
    with suppress(ImageRefused):
        pixels = read_image(path).pixels
        same_size = pixels.shape[:2] == (entry["height_px"], entry["width_px"])
        if same_size and pixels_sha256(pixels) == entry["sha256"]:
            return True
    if not force:
        raise UsageError(f"{path} is there with another content: --force replaces it")
    return False


def _failure(picture: StoredPicture, failed: Failed, device: Device) -> Failure:
    reason, made_on = failed.reason, picture.row["device"]
    if failed.stage == "verify" and made_on != device:
        reason += f" on {made_on}, which this machine does not use"
    cell = f"{picture.label} {picture.setting} {picture.row['image']}"
    return Failure(cell, failed.stage, reason)


def _write(folder: Path, name: str, pixels: Pixels) -> None:
    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    write_files(folder, {name: png.getvalue()}, what="pictures")


def _entry(name: str, picture: StoredPicture) -> Entry:
    row = picture.row
    entry = {
        "file": name,
        "dataset": row["dataset"],
        "image": row["image"],
        "codec": picture.label,
        "spec": picture.spec.text,
        "setting": str(picture.setting),
        "sha256": row["decoded_sha256"],
        "origin": "recorded" if row["recorded"] else "measured",
        **{column: row[column] for column in COPIED},
    }
    for metric in METRICS:
        value, protocol, _ = metric_columns(metric_named(metric).column)
        if row[value] is not None:
            entry |= {value: row[value], protocol: row[protocol]}
    return entry


def _source_entry(name: str, source: Source) -> Entry:
    return {
        "file": name,
        "image": source.file.name,
        "codec": SOURCE,
        "sha256": source.sha256,
        "width_px": source.width_px,
        "height_px": source.height_px,
        "image_sha256": source.sha256,
    }


def _earlier_entries(folder: Path, force: bool) -> dict[str, Entry]:
    path = folder / TABLE
    if not path.exists():
        return {}
    try:
        table = parse_sheet(read_regular(path, LARGEST_FILE_BYTES))
        if not {"file", "codec", "sha256", "image_sha256"} <= {*table.names}:
            raise BadFile("it lacks a column")
        return {name: line for line in table.records()
                if (name := line["file"]) and (folder / name).exists()}  # fmt: skip
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except BadFile:
        if not force:
            raise UsageError(f"{path} is no table of pictures: --force replaces it") from None
        return {}
