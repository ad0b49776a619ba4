"""Decoded pictures of stored rows as PNG files, with the pixels that were scored."""

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
from benchmark.system.text import counted, group_by_key, utf8

UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')  # invalid in file names on Windows
MAX_RATE_RATIO = 1.6  # maximum ratio of the requested and a codec's nearest rate
MAX_PART_BYTES = 80  # of image, codec or setting in a file name (limit: 255 bytes)

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

    name: a dataset, or a part such as clic2020:mobile. codecs: "all" omits codecs without
    compression. images: patterns, with or without suffix. limit: number of images, first by name.
    points: settings to keep (see `parse_points`). bpp: keep the setting with the nearest rate of
    each image and codec. Raises `UsageError` for an unknown codec, image, setting or value. Returns
    decodable rows, and reasons for the others.
    """
    rows = _sorted_rows(pictures, name, codecs)
    names = list(dict.fromkeys(row["image"] for row in rows))
    chosen_names = named_images(names, images) if images else names
    chosen_names = [name for name in names if name in chosen_names][:limit]
    rows = [row for row in rows if row["image"] in chosen_names]
    absence_counts: Counter[str] = Counter()
    chosen_rows = _rows_at_points(rows, points)
    if bpp is not None:
        chosen_rows, far_rows = _rows_near_rate(chosen_rows, pictures, bpp)
        if far_rows:
            labels = ", ".join(sorted({_label(row) for row in far_rows}))
            reason = f"no stored rate within a factor of {MAX_RATE_RATIO:g} of {bpp:g} bpp"
            absence_counts[f"{reason} ({labels})"] = len(far_rows)
    available_rows = []
    for row in chosen_rows:
        if reason := pictures.absence_reason(row, points):
            absence_counts[reason] += 1
        else:
            available_rows.append(row)
    return available_rows, _absent_pictures(absence_counts)


def export_pictures(
    folder: Path,
    rows: Sequence[Row],
    pictures: Pictures,
    device: Device,
    jobs: int,
    report: Callable[[Progress], None],
) -> Answer:
    """Write the missing pictures, and replace files with different content.

    device, jobs: see `Pictures.decode_rows`. report: called with the progress. The answer's
    code is 1 if a stream does not decode to the scored pixels. Raises `StoreError` for an
    unwritable folder.
    """
    names = picture_names(rows)
    named_rows = zip(names, rows, strict=True)
    files = {name: row for name, row in named_rows if _is_exported(folder / name, row)}
    num_present = len(files)
    missing_indices = [index for index, name in enumerate(names) if name not in files]
    mismatches = list[Absent]()
    undecodable = Counter[str]()
    for result in pictures.decode_rows([rows[index] for index in missing_indices], device, jobs):
        if result is not None:
            row, name = rows[missing_indices[result[0]]], names[missing_indices[result[0]]]
            if not isinstance(pixels := result[1], Failed):
                fromarray(pixels).save(png := BytesIO(), "PNG")
                write_files(folder, {name: png.getvalue()}, what="pictures")
                files[name] = row
            elif pixels.stage == ABSENT:
                undecodable[f"{_label(row)}: {pixels.reason}"] += 1
            else:
                cell = f"{_label(row)} {_row_setting(row)} {row['image']}"
                row_device = row["device"]
                is_other_device = pixels.stage == "verify" and row_device != device
                device_clause = (
                    f" on {row_device}, which this machine does not use" if is_other_device else ""
                )
                mismatches.append(Absent(cell, f"not written: {pixels.reason}{device_clause}"))
        report(
            Progress(
                len(files) - num_present + len(mismatches) + undecodable.total(), len(mismatches)
            )
        )
    present_rows = [files[name] for name in names if name in files]
    return Answer(
        [
            {"codec": label, "rates": rates}
            for label, rates in _describe_rates(present_rows).items()
        ],
        [Column("codec"), Column("rates")],
        f"{folder}: {len(files) - num_present} pictures written, {num_present} already present",
        [*mismatches, *_absent_pictures(undecodable)],
        {"folder": str(folder), "images": [name for name in names if name in files]},
        int(bool(mismatches)),
    )


def picture_names(rows: Sequence[Row]) -> list[str]:
    """Return distinct file names with rates, valid on every system, even if case is ignored."""
    names = []
    for row in rows:
        texts = (
            str(PurePosixPath(row["image"]).with_suffix("")),
            _label(row),
            str(_row_setting(row)),
        )
        names.append("__".join([*map(_name_part, texts), f"{row['bpp']:.3f}bpp"]))
    counts = Counter(name.casefold() for name in names)
    cells = [sha256(utf8(row["cell"])).hexdigest()[:8] for row in rows]
    return [
        f"{name}__{cell}.png" if counts[name.casefold()] > 1 else f"{name}.png"
        for name, cell in zip(names, cells, strict=True)
    ]


def _label(row: Row) -> str:
    return label_of(CodecSpec.parse_row(row))


def _row_setting(row: Row) -> Setting:
    return Setting(row["setting_name"], row["setting_value"])


def _absent_pictures(counts: Mapping[str, int]) -> list[Absent]:
    return [Absent(counted(count, "picture"), reason) for reason, count in counts.items()]


def _name_part(text: str) -> str:
    """Return a text for a file name; the beginning of a long text is removed."""
    safe_text = UNSAFE.sub("_", text).strip(". ")
    while len(utf8(safe_text)) > MAX_PART_BYTES:
        safe_text = safe_text[1:]
    return safe_text


def _is_exported(path: Path, row: Row) -> bool:
    with suppress(ImageRefused):
        return path.exists() and pixels_sha256(read_image(path).pixels) == row["decoded_sha256"]
    return False


def _describe_rates(rows: Sequence[Row]) -> dict[str, str]:
    descriptions = {}
    for label, codec_rows in group_by_key((_label(row), row) for row in rows).items():
        bpp = [row["bpp"] for row in codec_rows]
        span = f"{min(bpp):.3f}" + (f" to {max(bpp):.3f}" if len(bpp) > 1 else "")
        settings = ", ".join(map(str, sorted({*map(_row_setting, codec_rows)})))
        descriptions[label] = f"{span} bpp at {settings}"
    return descriptions


def _sorted_rows(pictures: Pictures, name: str, codecs: str) -> list[Row]:
    table = pictures.table
    if codecs == "all":
        null_codecs = [name for name in CODECS if facts_of(CodecSpec(name, ())).null]
        table = table.filter(~col("codec").is_in(null_codecs))
    table = shown_rows(rows_of_codecs(table, codecs, name.partition(":")[2]))
    if table.height == 0:
        raise UsageError(
            f"{pictures.contents.store.folder} has no rows of {name}: measure some with `bench run`"
        )
    rows = table.rows(named=True)
    return sorted(
        rows, key=lambda row: (row["image"], _label(row), *_row_setting(row), row["cell"])
    )


def _rows_at_points(rows: Sequence[Row], points: Sequence[str]) -> list[Row]:
    editions = [*map(Edition.parse_row, rows)]
    cells: set[str] = set()
    for (codec, setting), values in parse_points(points).items():
        named_editions = {*find_editions([codec], dict.fromkeys(editions))}
        codec_rows = [
            row for row, edition in zip(rows, editions, strict=True) if edition in named_editions
        ]
        cells_by_setting = group_by_key((_row_setting(row), row["cell"]) for row in codec_rows)
        cells_by_value = {
            row_setting.value: setting_cells
            for row_setting, setting_cells in cells_by_setting.items()
            if row_setting.name == setting
        }
        if not cells_by_value:
            raise UnknownName(
                f"setting of {codec}",
                setting,
                {row_setting.name for row_setting in cells_by_setting},
            )
        for value in values:
            if value not in cells_by_value:
                settings = ", ".join(f"{number:g}" for number in sorted(cells_by_value))
                raise UsageError(
                    f"{codec} has no results at {setting}={value:g}; it has {settings}"
                )
            cells |= {*cells_by_value[value]}
    return [row for row in rows if row["cell"] in cells or not points]


def _rows_near_rate(
    rows: Sequence[Row], pictures: Pictures, bpp: float
) -> tuple[list[Row], list[Row]]:
    """Return the nearest row of each image and codec, and rows that are too far from the rate.

    A row without a picture is used only if no picture of codec and image is near the rate.
    """
    ok_rows = [row for row in rows if row["status"] == "ok"]
    near_rows, far_rows = list[Row](), list[Row]()
    for group in group_by_key(
        ((row["image"], CodecSpec.parse_row(row).text), row) for row in ok_rows
    ).values():
        candidates = [row for row in group if not pictures.absence_reason(row)]
        if (
            index := nearest_setting(bpp, [row["bpp"] for row in candidates], MAX_RATE_RATIO)
        ) is not None:
            near_rows.append(candidates[index])
            continue
        nearest_row = min(group, key=lambda row: distance(row["bpp"], bpp))
        is_close = nearest_setting(bpp, [nearest_row["bpp"]], MAX_RATE_RATIO) is not None
        (near_rows if is_close else far_rows).append(nearest_row)
    return near_rows, far_rows
