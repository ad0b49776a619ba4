"""A supplement of a paper: regular files, copied within limits to a folder of ours and not run."""

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

SIZES = {"image", "setting", "num_bytes"}  # columns of the list beside reconstructions
RESULTS = "rows of results are read from a pack: `bench pack export` makes one"


class Supplement(NamedTuple):
    """Parts of a supplement by what they are; paths are below the folder that it was copied to."""

    packs: tuple[Pack, ...]
    reconstructions: tuple[Path, ...]  # csv files of sizes, each beside its pictures
    curves: tuple[NamedCurve, ...]
    left_out: tuple[Absent, ...]


def open_supplement(path: Path, into: Path) -> Supplement:
    """Copy a supplement into an empty folder and look for its parts.

    path: folder, zip, tar, tar.gz, or a file of curves (csv, json, md). Raises `UsageError` if it
    cannot be read, exceeds the limits of `unpack`, or holds nothing.
    """
    left_out: list[Absent] = []
    into /= re.sub(r"\W", "_", path.resolve().stem) or "sent"
    into.mkdir(parents=True)
    try:
        unpack(path, into, lambda *why: left_out.append(Absent(*why)), CURVE_FILES)
    except BadFile as refused:
        raise UsageError(f"{path} cannot be reviewed: {refused}") from refused
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror or error}): name a supplement"
        ) from error

    def leave_out(name: object, why: object) -> None:
        left_out.append(Absent(str(name), str(why).replace(f"{into}/", "")))

    files = sorted(file for file in into.rglob("*") if file.is_file())
    packs: list[Pack] = []
    for place in [*(f.parent for f in files if f.name == ROWS), *_ending(files, ".tar")]:
        try:
            packs.append(open_pack(place))
        except BadPack as error:
            leave_out(place.relative_to(into), error)
    for folder in dict.fromkeys(f.parent for f in files if f.parent.name == "per_image"):
        leave_out(folder.relative_to(into), RESULTS)
    sizes = tuple(file for file in _ending(files, ".csv") if _is_list_of_sizes(file))
    curves: list[NamedCurve] = []
    for file in _ending((file for file in files if file not in sizes), *CURVE_FILES):
        try:
            curves += read_curves(file)
        except UsageError as error:
            if file.suffix == ".csv":
                leave_out(file.relative_to(into), error)
    if not (packs or sizes or curves):
        reasons = "".join(f"; {refused.what}: {refused.why}" for refused in left_out[:3])
        raise UsageError(
            f"{path} holds nothing to review: no pack, no sizes.csv beside reconstructions, no "
            f"curve (csv or json with bpp and a metric){reasons}"
        )
    return Supplement(tuple(packs), sizes, tuple(curves), tuple(left_out))


def _ending(files: Iterable[Path], *suffixes: str) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes]


def _is_list_of_sizes(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        lines = (text.readline(1 << 16) for _ in range(20))
        header = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return {cell.strip().lower() for cell in header.split(csv_delimiter(header) or ",")} >= SIZES
