"""Rows and files of a results folder of any origin, as far as they may become part of another."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec_spec import CodecSpec
from benchmark.errors import BadOption, UsageError
from benchmark.system.digest import SHA256
from benchmark.system.foreign_files import open_regular, read_regular
from benchmark.system.text import counted
from benchmark.user_file import names_file

SHARDS = ("per_image/*.parquet", "sets/*.parquet")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # of a run or dataset: no path to elsewhere
_PATTERNS = {
    "run": f"^{NAME.pattern}$",
    "stream_sha256": f"^{SHA256.pattern}$",
    "decoded_sha256": f"^{SHA256.pattern}$",
    "image_sha256": f"^{SHA256.pattern}$",
}


def require_regular_shards(folder: Path) -> None:
    """Raise `UsageError` where a shard of a dataset's folder is a pipe, a device or a link away.

    Whoever reads it would wait for it without end.
    """
    for path in (path for pattern in SHARDS for path in sorted(folder.glob(pattern))):
        try:
            open_regular(path, within=folder).close()
        except OSError as error:
            why = error.strerror or error
            raise UsageError(f"{path} is not merged: {why}; remove it there") from error


def read_or_tell(path: Path, folder: Path, most_bytes: int, damaged: list[str]) -> bytes | None:
    """Return the bytes of a file of a stranger's folder; None, and a sentence, where it has none.

    damaged: takes the sentence.
    """
    try:
        return read_regular(path, most_bytes, within=folder)
    except OSError as error:
        damaged.append(f"{path} is left out: {error.strerror or error}")
        return None


def sound_rows(table: pa.Table, folder: Path, damaged: list[str]) -> pa.Table:
    """Return the rows whose run, hashes and codec variant are of the form that bench writes.

    folder: of the dataset, for the sentences on the others that `damaged` takes.
    """
    sound = pc.and_(pc.is_valid(table["cell"]), pc.is_valid(table["run"]))
    for name, pattern in _PATTERNS.items():
        matches = pc.match_substring_regex(table[name], pattern)
        sound = pc.and_(sound, pc.fill_null(matches, True))
    variants = table.group_by(["codec", "variant"]).aggregate([]).to_pylist()
    for one in variants:
        if not _is_variant(one["codec"], one["variant"]):
            same = [pc.equal(table[name], one[name] or "") for name in ("codec", "variant")]
            sound = pc.and_(sound, pc.invert(pc.fill_null(pc.and_(*same), True)))
    if wrong := table.num_rows - int(pc.sum(sound).as_py() or 0):
        rows = counted(wrong, "row is", "rows are")
        what = "a codec, run or sha256 that bench does not write"
        damaged.append(f"{folder}: {rows} left out, with {what}")
    return table.filter(sound)


def datasets_of(folder: Path, parts: Sequence[str]) -> Iterator[str]:
    """Iterate over the names of the datasets in a results folder; a Python file's is none.

    parts: folders of which a dataset has at least one.
    """
    for path in folder.glob("*"):
        hidden = path.name.startswith(".") or names_file(path.name)
        if not hidden and any((path / part).is_dir() for part in parts):
            yield path.name


def _is_variant(codec: str | None, variant: str | None) -> bool:
    if not codec or variant is None:
        return False
    try:
        CodecSpec.of(codec, variant)
    except BadOption:
        return False
    return True
