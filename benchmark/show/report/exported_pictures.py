"""Decoded pictures of stored rows as PNG files under readable names.

Only the pixels that were scored are written: their sha256 is that of the row, or there is no file.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from PIL.Image import fromarray
from polars import col

from benchmark.answer import Absent, Answer, Column
from benchmark.codec import Setting
from benchmark.compare.pictures import distance, nearest_setting
from benchmark.datasets.image import read_image
from benchmark.errors import ImageRefused, UnknownName, UsageError
from benchmark.facts import facts_of
from benchmark.measure.cells import Failed
from benchmark.measure.pictures import ABSENT, Pictures
from benchmark.measure.record import Progress
from benchmark.measure.request import parse_points
from benchmark.registry import CODECS
from benchmark.rows.comparable import shown_rows
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.names import find_editions
from benchmark.rows.stored import named_images, rows_of_codecs
from benchmark.spec import CodecSpec
from benchmark.system.atomic import write_files
from benchmark.system.digest import pixels_sha256
from benchmark.system.settings import Device
from benchmark.system.text import by_key, counted, utf8

UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')  # in names of Windows' files; / anywhere
FARTHEST = 1.6  # a codec whose nearest setting has a rate further off, by ratio, is left out
LONGEST_PART = 80  # bytes of an image's or codec's part in a name; a name has 255 at most

Row = Mapping[str, Any]


def choose_pictures(
    pictures: Pictures,
    name: str,
    codecs: str = "all",
    *,
    images: Sequence[str] = (),
    limit: int | None = None,
    points: Sequence[str] = (),
    bpp: float | None = None,
) -> tuple[list[Row], list[Absent]]:
    """Choose rows of each codec variant's edition, ordered by image, codec and setting.

    name: of the dataset, or of a part of it such as clic2020:mobile. codecs: "all" leaves out those
    that code nothing. images:
    patterns, with or without their files' suffix. limit: only the first images by name. points:
    `parse_points`, of which only those are kept. bpp: of each codec and image, the
    setting of the nearest rate alone. Raises `UsageError` for what no row has: another codec,
    image, setting or value. Returns rows that can be decoded, and the others with reasons.
    """
    rows = _rows(pictures, name, codecs)
    names = list(dict.fromkeys(row["image"] for row in rows))
    wanted = named_images(names, images) if images else names
    wanted = [name for name in names if name in wanted][:limit]
    rows = [row for row in rows if row["image"] in wanted]
    absent: Counter[str] = Counter()
    kept = _at_points(rows, points)
    if bpp is not None:
        kept, far = _of_rate(kept, pictures, bpp)
        if far:
            labels = ", ".join(sorted({_label(row) for row in far}))
            reason = f"no stored rate within a factor of {FARTHEST:g} of {bpp:g} bpp"
            absent[f"{reason} ({labels})"] = len(far)
    there = []
    for row in kept:
        if why := pictures.why_none(row, points):
            absent[why] += 1
        else:
            there.append(row)
    return there, _absent(absent)


def export_pictures(
    folder: Path,
    rows: Sequence[Row],
    pictures: Pictures,
    device: Device,
    jobs: int,
    report: Callable[[Progress], None],
) -> Answer:
    """Write the pictures that are not in the folder yet, in place of files of other content.

    device and jobs: see `Pictures.decoded`. `report` is called with the state while streams are
    decoded. The answer's code is 1 if a stream decodes to other pixels than the scored, or none.
    Raises `StoreError` if the folder cannot be written.
    """
    names = picture_names(rows)
    pairs = zip(names, rows, strict=True)
    files = {name: row for name, row in pairs if _is_there(folder / name, row)}
    before, missing = len(files), [n for n, name in enumerate(names) if name not in files]
    wrong = list[Absent]()
    unable = Counter[str]()
    for result in pictures.decoded([rows[n] for n in missing], device, jobs):
        if result is not None:
            row, name = rows[missing[result[0]]], names[missing[result[0]]]
            if not isinstance(pixels := result[1], Failed):
                fromarray(pixels).save(png := BytesIO(), "PNG")
                write_files(folder, {name: png.getvalue()}, what="pictures")
                files[name] = row
            elif pixels.stage == ABSENT:
                unable[f"{_label(row)}: {pixels.reason}"] += 1
            else:
                cell, on = f"{_label(row)} {_setting(row)} {row['image']}", row["device"]
                elsewhere = pixels.stage == "verify" and on != device
                where = f" on {on}, which this machine does not use" if elsewhere else ""
                wrong.append(Absent(cell, f"not written: {pixels.reason}{where}"))
        report(Progress(len(files) - before + len(wrong) + unable.total(), len(wrong)))
    there = [files[name] for name in names if name in files]
    return Answer(
        [{"codec": label, "rates": of} for label, of in _rates(there).items()],
        [Column("codec"), Column("rates")],
        f"{folder}: {len(files) - before} pictures written, {before} were there before",
        [*wrong, *_absent(unable)],
        {"folder": str(folder), "images": [name for name in names if name in files]},
        int(bool(wrong)),
    )


def picture_names(rows: Sequence[Row]) -> list[str]:
    """Return the pictures' file names, valid on every system and distinct where case is ignored.

    kodim03__ours_beta=3.84__q=2__0.384bpp.png: image, codec variant, setting, rate.
    """
    names = []
    for row in rows:
        texts = str(PurePosixPath(row["image"]).with_suffix("")), _label(row), str(_setting(row))
        names.append("__".join([*map(_part, texts), f"{row['bpp']:.3f}bpp"]))
    counts = Counter(name.casefold() for name in names)
    cells = [sha256(utf8(row["cell"])).hexdigest()[:8] for row in rows]
    return [
        f"{name}__{cell}.png" if counts[name.casefold()] > 1 else f"{name}.png"
        for name, cell in zip(names, cells, strict=True)
    ]


def _label(row: Row) -> str:
    return label_of(CodecSpec.of_row(row))


def _setting(row: Row) -> Setting:
    return Setting(row["setting_name"], row["setting_value"])


def _absent(counts: Mapping[str, int]) -> list[Absent]:
    return [Absent(counted(count, "picture"), reason) for reason, count in counts.items()]


def _part(text: str) -> str:
    """Return a text as a part of a file name, with its end where it is long.

    >>> _part("ours:beta=3.84"), _part("mobile/a:b")
    ('ours_beta=3.84', 'mobile_a_b')
    """
    safe = UNSAFE.sub("_", text).strip(". ")
    while len(utf8(safe)) > LONGEST_PART:
        safe = safe[1:]
    return safe


def _is_there(path: Path, row: Row) -> bool:
    with suppress(ImageRefused):
        return path.exists() and pixels_sha256(read_image(path).pixels) == row["decoded_sha256"]
    return False


def _rates(rows: Sequence[Row]) -> dict[str, str]:
    """Return the settings and rates of rows by codec variant, in words."""
    result = {}
    for label, alike in by_key((_label(row), row) for row in rows).items():
        bpp = [row["bpp"] for row in alike]
        span = f"{min(bpp):.3f}" + (f" to {max(bpp):.3f}" if len(bpp) > 1 else "")
        settings = ", ".join(map(str, sorted({*map(_setting, alike)})))
        result[label] = f"{span} bpp at {settings}"
    return result


def _rows(pictures: Pictures, name: str, codecs: str) -> list[Row]:
    table = pictures.table
    if codecs == "all":
        null = [name for name in CODECS if facts_of(CodecSpec(name, ())).null]
        table = table.filter(~col("codec").is_in(null))
    table = shown_rows(rows_of_codecs(table, codecs, name.partition(":")[2]))
    if table.height == 0:
        raise UsageError(
            f"{pictures.contents.store.folder} has no rows of {name}: measure some with `bench run`"
        )
    rows = table.rows(named=True)
    return sorted(rows, key=lambda row: (row["image"], _label(row), *_setting(row), row["cell"]))


def _at_points(rows: Sequence[Row], asked: Sequence[str]) -> list[Row]:
    """Return the rows at these points, or all without any."""
    editions = [*map(Edition.parse_row, rows)]
    cells: set[str] = set()
    for (codec, setting), values in parse_points(asked).items():
        of_name = {*find_editions([codec], dict.fromkeys(editions))}
        of_codec = [row for row, of in zip(rows, editions, strict=True) if of in of_name]
        at = by_key((_setting(row), row["cell"]) for row in of_codec)
        stored = {of.value: of_setting for of, of_setting in at.items() if of.name == setting}
        if not stored:
            raise UnknownName(f"setting of {codec}", setting, {of.name for of in at})
        for value in values:
            if value not in stored:
                known = ", ".join(f"{of:g}" for of in sorted(stored))
                raise UsageError(f"{codec} has no results at {setting}={value:g}, but at {known}")
            cells |= {*stored[value]}
    return [row for row in rows if row["cell"] in cells or not asked]


def _of_rate(rows: Sequence[Row], pictures: Pictures, bpp: float) -> tuple[list[Row], list[Row]]:
    """Return the nearest rows of each image and codec, and those whose nearest is far off.

    Rows without a picture count only where the codec and image have none near the rate that has.
    """
    rated = [row for row in rows if row["status"] == "ok"]
    close, far = list[Row](), list[Row]()
    for group in by_key(
        ((row["image"], CodecSpec.of_row(row).text), row) for row in rated
    ).values():
        candidates = [row for row in group if not pictures.why_none(row)]
        if (
            place := nearest_setting(bpp, [row["bpp"] for row in candidates], FARTHEST)
        ) is not None:
            close.append(candidates[place])
            continue
        nearest = min(group, key=lambda row: distance(row["bpp"], bpp))
        is_close = nearest_setting(bpp, [nearest["bpp"]], FARTHEST) is not None
        (close if is_close else far).append(nearest)
    return close, far
