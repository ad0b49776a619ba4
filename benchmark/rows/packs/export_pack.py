"""Export stored rows and streams as a pack: a folder, or a tar with reproducible bytes."""

import csv
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from polars import col

from benchmark.codec import CodecInfo
from benchmark.errors import StoreError, UsageError
from benchmark.rows.comparable import newest
from benchmark.rows.packs.pack import FORMAT, INDEX, ROWS, STREAMS
from benchmark.rows.schema import INFO_COLUMNS, WHERE_READ, info_of, table_columns
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from benchmark.system.atomic import replacing
from benchmark.system.text import counted

Row = Mapping[str, Any]

# Columns on the codec are stored once, in pack.json; the others are unknown to a pack or constant.
LEFT_OUT = {
    *("cell", "run", "status", "stage", "reason", "bytes_origin", "recorded", "attested"),
    *(*WHERE_READ, *INFO_COLUMNS.values()),
}
ORDER = ("dataset", "image", "codec", "variant", "setting_name", "setting_value")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Exported(NamedTuple):
    """Content of a pack that was written, and the rows that it lacks."""

    num_streams: int
    left_out: tuple[str, ...]  # a sentence per dataset on bundled rows without a stream


def export_pack(
    out: Path, stores: Sequence[Store], codecs: Sequence[CodecSpec], notes: Sequence[str]
) -> Exported:
    """Write a pack of all finished cells of codec variants.

    Of each variant, the version that its latest run measured is taken. Rows that are bundled with
    the project without their streams are left out. Raises `UsageError` if a variant has no finished
    cell, if the stream of a cell that was measured here was not kept, or if nothing is left.
    """
    rows: list[Row] = []
    streams: dict[str, bytes] = {}
    licences: dict[str, str] = {}
    left_out: list[str] = []
    finished: set[CodecSpec] = set()
    for store in stores:
        latest = newest(store.table()).filter(col("status") == "ok")
        runs: set[str] = set()
        bare: list[Row] = []  # bundled with the project, without their streams
        for row in latest.rows(named=True):
            if _spec(row) not in codecs:
                continue
            finished.add(_spec(row))
            digest = row["stream_sha256"]
            data = store.stream(digest) if store.has_stream(digest) else None
            if data is not None:
                rows.append(row)
                streams[digest] = data
                runs.add(row["run"] or "")
            elif row["bundled"]:
                bare.append(row)
            else:
                raise UsageError(
                    f"the stream of {row['codec']} {row['setting_name']}={row['setting_value']:g} "
                    f"of {row['image']} was not kept in {store.folder}: it cannot be in a pack"
                )
        for run in runs:
            infos = store.record(run).get("codecs", {})
            licences |= {text: info["licence"] for text, info in infos.items()}
        if bare:
            specs = ",".join(sorted({_spec(row).text for row in bare}))
            name = store.folder.name
            left_out.append(
                f"{counted(len(bare), 'bundled row')} of {name} without a bundled stream; "
                f"`bench run --codecs {specs} --dataset {name}` makes them here"
            )
    for spec in codecs:
        if spec not in finished:
            where = ", ".join(str(store.folder) for store in stores)
            raise UsageError(f"{where} has no finished cell of {spec.text}")
    if not rows:
        raise UsageError(f"nothing is left for a pack: {'; '.join(left_out)}")
    write_pack(out, rows, infos_of(rows, licences), streams, notes)
    return Exported(len(rows), tuple(left_out))


def write_pack(
    out: Path,
    rows: Sequence[Row],
    infos: Mapping[CodecSpec, CodecInfo],
    streams: Mapping[str, bytes],
    notes: Sequence[str],
) -> None:
    """Write a pack (*.tar: a tar), whole or not at all; streams by sha256. Raises `UsageError`."""
    name = out.name.removesuffix(".tar")
    if not NAME.fullmatch(name):
        raise UsageError(f"{out}: a pack's name is of letters, digits, dots, - and _")
    if out.exists():
        raise UsageError(f"{out} is there already: remove it, or give another name")
    index = {
        "format": FORMAT,
        "name": name,
        "streams": len(rows),
        "notes": list(notes),
        "codecs": [
            {"codec": spec.name, "variant": spec.variant, "info": asdict(info)}
            for spec, info in sorted(infos.items())
        ],
    }
    files = {
        INDEX: (json.dumps(index, indent=1, ensure_ascii=False) + "\n").encode(),
        ROWS: _csv(rows),
        **{f"{STREAMS}/{digest}": streams[digest] for digest in sorted(streams)},
    }
    try:
        with replacing(out) as draft:
            if out.suffix == ".tar":
                _write_tar(draft, name, files)
            else:
                (draft / STREAMS).mkdir(parents=True)
                for path, content in files.items():
                    (draft / path).write_bytes(content)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}") from error


def infos_of(rows: Sequence[Row], licences: Mapping[str, str]) -> dict[CodecSpec, CodecInfo]:
    """Return what rows say of codec variants; licences by spec. `UsageError` for two versions."""
    infos: dict[CodecSpec, CodecInfo] = {}
    for row in rows:
        spec = _spec(row)
        info = info_of(row, licences.get(spec.text, "NOASSERTION"))
        if infos.setdefault(spec, info) != info:
            raise UsageError(f"rows of {spec.text} are of several versions: export one")
    return infos


def _spec(row: Row) -> CodecSpec:
    return CodecSpec.of(row["codec"], row["variant"])


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    names = [column.name for column in table_columns() if column.name not in LEFT_OUT]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: [row[name] for name in ORDER]))
    return text.getvalue().encode()


def _write_tar(draft: Path, root: str, files: Mapping[str, bytes]) -> None:
    with tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{root}/{name}")
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
