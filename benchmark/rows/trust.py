"""Permission to run programs and Python files that stored rows name, by the origin of the rows.

A row of the codec `command` names a program, one of `path.py:Class` a Python file. Rows come from
packs and other folders too, and whoever wrote them would run what they like on this machine. Such
rows are kept and shown; what they name runs where the user measured it himself, where he said
`--trust` when its origin was merged or imported, or for one command that has `--trust`.

What is trusted lies with the user, in `$XDG_STATE_HOME/rdrbench/trusted.jsonl`
(`~/.local/state/rdrbench`), and not with the results: a folder cannot say that it is trusted
itself. An entry is of one run, one codec variant and one working directory, to which relative paths
refer. A folder that took rows from others has `origins/*.json`, which say of which code the folder
is not the origin: who trusts that folder does not trust what it took from elsewhere.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec_spec import CodecSpec, names_code
from benchmark.errors import BadOption, StoreError
from benchmark.rows.foreign_rows import NAME
from benchmark.rows.result_file import write_result
from benchmark.rows.store import Store
from benchmark.system.foreign.regular_file import read_regular

ORIGINS = "origins"  # folder beside the rows of a dataset
LARGEST_ORIGIN_BYTES = 1 << 26
DIGITS = 12  # of a sha256, in the name of a file there
REFUSED = "its row names what would run, and comes from an origin that is not trusted: see --trust"


class Code(NamedTuple):
    """A codec variant that names a program or Python file, in the rows of one run."""

    run: str
    codec: str
    variant: str

    @property
    def text(self) -> str:
        """The codec variant as `--codecs` takes it."""
        return CodecSpec.of(self.codec, self.variant).text


class Trust(NamedTuple):
    """Decides whether what a row names may run."""

    granted: bool = False  # whatever rows name, as `--trust` of a command does

    def knows(self, code: Code) -> bool:
        """Return whether the user trusts the origin of this code, in this working directory."""
        return code in _entries()

    def allows(self, row: Mapping[str, Any]) -> bool:
        """Return whether the codec of a row (columns run, codec, variant) may be loaded and run."""
        spec = CodecSpec.of(row["codec"], row["variant"])
        return not names_code(spec) or self.granted or self.knows(Code(row["run"], *row_spec(row)))


def row_spec(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the columns `codec` and `variant` of a row."""
    return row["codec"], row["variant"]


def code_in(rows: pa.Table) -> dict[Code, int]:
    """Return the code that rows name, with its number of rows; columns run, codec and variant."""
    if not rows.num_rows:
        return {}
    variants = rows.group_by(["codec", "variant"]).aggregate([]).to_pylist()
    named = {row_spec(one) for one in variants if _is_code(*row_spec(one))}
    if not named:
        return {}
    some = rows.filter(pc.is_in(rows["codec"], pa.array(sorted({codec for codec, _ in named}))))
    counted = some.group_by(list(Code._fields)).aggregate([([], "count_all")]).to_pylist()
    found = {Code(*(one[name] for name in Code._fields)): one["count_all"] for one in counted}
    return {code: found[code] for code in sorted(found) if code[1:] in named}


def record_trust(codes: Iterable[Code], origin: str) -> None:
    """Add code to what the user trusts in this working directory; a home that is full adds none.

    origin: where the code is from, for a person who reads the file.
    """
    path, folder = _ledger(), str(Path.cwd())
    lines = [
        json.dumps({**code._asdict(), "folder": folder, "origin": origin}) + "\n"
        for code in sorted(set(codes) - _entries())
    ]
    with suppress(OSError):  # what is not trusted is asked for again
        if lines:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "ab") as file:
                file.write("".join(lines).encode())


def record_origin(store: Store, source: Path, codes: Collection[Code]) -> None:
    """Write beside a store's rows that this code is taken from `source`, before its rows are."""
    if codes:
        told = {"from": str(source), "code": [list(code) for code in sorted(codes)]}
        content = json.dumps(told, indent=1).encode()
        name = f"{sha256(content).hexdigest()[:DIGITS]}.json"
        if not (store.folder / ORIGINS / name).exists():
            write_result(store.folder / ORIGINS / name, content)


class Origins:
    """Origins of the code that the rows of a store name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._taken: dict[Code, str] = {}
        for path in sorted((store.folder / ORIGINS).glob("*.json")):
            try:
                told = json.loads(read_regular(path, LARGEST_ORIGIN_BYTES))
                found = {Code(*map(str, one)): str(told["from"]) for one in told["code"]}
            except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
                raise StoreError(f"{path} cannot be read: merge its origin again") from error
            self._taken |= found

    def of(self, code: Code) -> str:
        """Return the origin in words: "merged from ../b", "imported from vtm.tar", "stored"."""
        if code in self._taken:
            return f"merged from {self._taken[code]}"
        if pack := self._pack(code):
            return f"imported from {pack}"
        return f"of {self._store.folder}"

    def own(self, code: Code) -> bool:
        """Return whether the store's folder is itself the origin, and so who wrote it."""
        return code not in self._taken and not self._pack(code)

    def _pack(self, code: Code) -> str:
        if not NAME.fullmatch(code.run):
            return "elsewhere"
        imported = self._store.record(code.run).get("imported")
        return str(imported.get("path", "a pack")) if isinstance(imported, Mapping) else ""


def _is_code(codec: str | None, variant: str | None) -> bool:
    """Return whether a row of any origin names code; one that cannot be loaded does not."""
    try:
        return bool(codec and variant is not None and names_code(CodecSpec.of(codec, variant)))
    except BadOption:
        return False


def _ledger() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "rdrbench" / "trusted.jsonl"


def _entries() -> frozenset[Code]:
    """Return what is trusted in this working directory."""
    try:
        status = _ledger().stat()
    except OSError:
        return frozenset()
    return _read_entries(_ledger(), str(Path.cwd()), (status.st_mtime_ns, status.st_size))


@lru_cache(1)
def _read_entries(path: Path, folder: str, _version: tuple[int, int]) -> frozenset[Code]:
    """Return the entries of a file for a working directory; a line that cannot be read is none."""
    found = set()
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                told = json.loads(line)
                if told["folder"] == folder:
                    found.add(Code(*(str(told[name]) for name in Code._fields)))
    return frozenset(found)
