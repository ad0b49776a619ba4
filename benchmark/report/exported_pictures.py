"""Decoded pictures as PNG files under readable names, and a table of them: images.csv.

Only the pixels that were scored are written: their sha256 is that of the row, or there is no file.
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL.Image import fromarray

from benchmark.codec import Pixels
from benchmark.datasets.dataset import Source
from benchmark.datasets.image import read_image
from benchmark.errors import ImageRefused, StoreError, UsageError
from benchmark.measure.execute import Failed
from benchmark.measure.outcome import Failure, Progress
from benchmark.measure.reconstruct import reconstruct_all
from benchmark.metrics.metric import metric_columns
from benchmark.packs.contents import DatasetContents
from benchmark.registry import METRICS, metric_class
from benchmark.report.chosen_pictures import StoredPicture, stem
from benchmark.system.atomic import write_files
from benchmark.system.digest import pixels_sha256
from benchmark.system.settings import Device
from benchmark.system.text import csv_cells

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
    there = {one["file"] for one in (*decoded, *originals) if _is_there(folder, one, force)}
    listed = _earlier_entries(folder, force)
    count = len(there)

    missing = [place for place, one in enumerate(decoded) if one["file"] not in there]
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
                there.add(decoded[place]["file"])
        finished = len(there) - count + len(failures) + absent.total()
        report(Progress(finished, len(failures)))
    for one in originals if any(one["file"] in there for one in decoded) else ():
        if one["file"] not in there:
            path = sources[one["sha256"]].file.path
            _write(folder, one["file"], read_image(path, flatten=True).pixels)
            there.add(one["file"])

    entries = tuple(one for one in (*decoded, *originals) if one["file"] in there)
    listed |= {entry["file"]: entry for entry in entries}
    if listed:
        write_files(folder, {TABLE: _csv(listed)}, what="pictures")
    shown = [one for one, file in zip(pictures, decoded, strict=True) if file["file"] in there]
    written = len(there) - count
    return ExportedPictures(tuple(shown), entries, written, count, tuple(failures), absent)


def picture_names(pictures: Sequence[StoredPicture]) -> list[str]:
    """Return the pictures' file names, valid on every system and distinct where case is ignored.

    kodim03__ours_beta=3.84__q=2__0.384bpp.png: image, codec variant, setting, rate.
    """
    names = [
        f"{_part(picture.image)}__{_part(picture.label)}__{_part(str(picture.setting))}__{picture.row['bpp']:.3f}bpp"
        for picture in pictures
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
    while len(safe.encode()) > LONGEST_PART:
        safe = safe[1:]
    return safe


def _distinct(names: Sequence[str], identities: Sequence[str]) -> list[str]:
    """Add a hash of its identity to each name that another one equals but for the case."""
    counts = Counter(name.casefold() for name in names)
    result = []
    for name, identity in zip(names, identities, strict=True):
        digest = sha256(identity.encode()).hexdigest()[:8]
        result.append(f"{name}__{digest}.png" if counts[name.casefold()] > 1 else f"{name}.png")
    return result


def _is_there(folder: Path, entry: Entry, force: bool) -> bool:
    path = folder / entry["file"]
    if not path.exists():
        return False
    try:
        pixels = read_image(path).pixels
        same_size = pixels.shape[:2] == (entry["height_px"], entry["width_px"])
        if same_size and pixels_sha256(pixels) == entry["sha256"]:
            return True
    except ImageRefused:
        pass
    if not force:
        raise UsageError(f"{path} is there with another content: --force replaces it")
    return False


def _failure(one: StoredPicture, failed: Failed, device: Device) -> Failure:
    reason, made_on = failed.reason, one.row["device"]
    if failed.stage == "verify" and made_on != device:
        reason += f" on {made_on}, which this machine does not use"
    return Failure(f"{one.label} {one.setting} {one.row['image']}", failed.stage, reason)


def _write(folder: Path, name: str, pixels: Pixels) -> None:
    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    write_files(folder, {name: png.getvalue()}, what="pictures")


def _entry(name: str, one: StoredPicture) -> Entry:
    row = one.row
    entry = {
        "file": name,
        "dataset": row["dataset"],
        "image": row["image"],
        "codec": one.label,
        "spec": one.spec.text,
        "setting": str(one.setting),
        "sha256": row["decoded_sha256"],
        "origin": "recorded" if row["recorded"] else "measured",
        **{column: row[column] for column in COPIED},
    }
    for metric in METRICS:
        value, protocol, _ = metric_columns(metric_class(metric).column)
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
        lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        result = {line["file"]: dict(line) for line in lines}
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, csv.Error):
        if not force:
            raise UsageError(f"{path} is no table of pictures: --force replaces it") from None
        return {}
    return {name: line for name, line in result.items() if name and (folder / name).exists()}


def _csv(entries: Mapping[str, Entry]) -> str:
    fullest = sorted(entries.values(), key=len, reverse=True)  # sources have few columns
    columns = dict.fromkeys(name for entry in fullest for name in entry)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_cells(entries[name]) for name in sorted(entries))
    return text.getvalue()
