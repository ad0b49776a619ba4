"""Supplements of papers: files are copied to a private folder, within limits, and never run."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmark.answer import Absent
from benchmark.errors import BadPack, UsageError
from benchmark.published.curve_file import CURVE_FILES, NamedCurve, read_curves
from benchmark.rows.packs.pack import ROWS, Pack, open_pack
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import csv_delimiter
from benchmark.system.unpacked import unpack

SIZES = {"image", "setting", "num_bytes"}  # columns of a csv file next to reconstructions
RESULTS_REASON = "rows of results must be in a pack: `bench pack export` makes a pack"


class Supplement(NamedTuple):
    """Contents of a supplement; paths are below the folder to which it was copied."""

    packs: tuple[Pack, ...]
    reconstructions: tuple[Path, ...]  # csv files of sizes, each next to its pictures
    curves: tuple[NamedCurve, ...]
    left_out: tuple[Absent, ...]


def open_supplement(path: Path, folder: Path) -> Supplement:
    """Copy a folder, archive or curve file to an empty folder, and read it; `UsageError`."""
    left_out: list[Absent] = []
    folder /= re.sub(r"\W", "_", path.resolve().stem) or "sent"
    folder.mkdir(parents=True)
    try:
        unpack(path, folder, lambda *reason: left_out.append(Absent(*reason)), CURVE_FILES)
    except BadFile as error:
        raise UsageError(f"{path} cannot be reviewed: {error}") from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror or error}): give another path"
        ) from error

    def leave_out(name: object, reason: object) -> None:
        left_out.append(Absent(str(name), str(reason).replace(f"{folder}/", "")))

    files = sorted(file for file in folder.rglob("*") if file.is_file())
    packs: list[Pack] = []
    pack_folders = [file.parent for file in files if file.name == ROWS]
    for pack in [*pack_folders, *_select_suffixes(files, ".tar")]:
        try:
            packs.append(open_pack(pack))
        except BadPack as error:
            leave_out(pack.relative_to(folder), error)
    row_folders = [file.parent for file in files if file.parent.name == "per_image"]
    for result_folder in dict.fromkeys(row_folders):
        leave_out(result_folder.relative_to(folder), RESULTS_REASON)
    sizes = tuple(file for file in _select_suffixes(files, ".csv") if _is_size_list(file))
    curves: list[NamedCurve] = []
    for file in _select_suffixes((file for file in files if file not in sizes), *CURVE_FILES):
        try:
            curves += read_curves(file)
        except UsageError as error:
            if file.suffix == ".csv":
                leave_out(file.relative_to(folder), error)
    if not (packs or sizes or curves):
        reasons = "".join(f"; {entry.what}: {entry.why}" for entry in left_out[:3])
        raise UsageError(
            f"{path} holds nothing to review: no pack, no sizes.csv next to reconstructions, no "
            f"curve (csv or json with bpp and a metric){reasons}"
        )
    return Supplement(tuple(packs), sizes, tuple(curves), tuple(left_out))


def _select_suffixes(files: Iterable[Path], *suffixes: str) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes]


def _is_size_list(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        lines = (stream.readline(1 << 16) for _ in range(20))
        header = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return {cell.strip().lower() for cell in header.split(csv_delimiter(header) or ",")} >= SIZES
