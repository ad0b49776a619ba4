"""Rows of packs beside the rows and streams of a store, or imported into it; stores as packs.

A pack that is exported is a folder, or a tar with reproducible bytes.
"""

import csv
import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars import col

from benchmark.codec import CodecInfo, bits_per_pixel
from benchmark.errors import BadPack, StoreError, UsageError, without_setting
from benchmark.rows.codecs import EVERY, NAME, NamedCodecs, new_run_id, run_record
from benchmark.rows.comparable import newest
from benchmark.rows.experiment import measured_place
from benchmark.rows.packs.pack import (
    FORMAT,
    INDEX,
    ROWS,
    STREAMS,
    Pack,
    RecordedStream,
    packs_in,
    shipped_packs,
    value_of,
)
from benchmark.rows.schema import (
    INFO_COLUMNS,
    WHERE_READ,
    cell_key,
    info_columns,
    info_of,
    table_columns,
)
from benchmark.rows.shard import REFUSALS, alike, refuse_values, table_of
from benchmark.rows.store import Store
from benchmark.rows.summary import options_of
from benchmark.rows.versions import merge_versions
from benchmark.spec import CodecSpec
from benchmark.system.atomic import replacing
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import counted, json_bytes

Row = dict[str, Any]

EARLIEST_RUN = "00000000T000000-pack"  # where a codec was run here as well, its own rows are valid
# Columns on the codec are stored once, in pack.json; the others are unknown to a pack or constant.
LEFT_OUT = {
    *("cell", "run", "status", "stage", "reason", "bytes_origin", "recorded", "attested"),
    "generation",
    *(*WHERE_READ, *INFO_COLUMNS.values()),
}
ORDER = ("dataset", "image", "codec", "variant", "setting_name", "setting_value")
PACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
            finished.add(CodecSpec.of_row(row))
            if CodecSpec.of_row(row) not in codecs:
                continue
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
            specs = ",".join(sorted({CodecSpec.of_row(row).text for row in bare}))
            name = store.folder.name
            left_out.append(
                f"{counted(len(bare), 'bundled row')} of {name} without a bundled stream; "
                f"`bench run --codecs {specs} --dataset {name}` makes them here"
            )
    for spec in codecs:
        if spec not in finished:
            where = ", ".join(str(store.folder) for store in stores)
            whole = without_setting(spec.text, {of.text for of in finished})
            hint = f": name {whole}, which has every setting" if whole else ""
            raise UsageError(f"{where} has no finished cell of {spec.text}{hint}")
    if not rows:
        raise UsageError(f"nothing is left for a pack: {'; '.join(left_out)}")
    write_pack(out, rows, _infos_of(rows, licences, stores[0].folder.parent), streams, notes)
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
    if not PACK_NAME.fullmatch(name):
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
        INDEX: json_bytes(index),
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


def _infos_of(
    rows: Sequence[Row], licences: Mapping[str, str], results: Path
) -> dict[CodecSpec, CodecInfo]:
    """Return what rows say of codec variants; licences by spec. `UsageError` for two versions."""
    infos: dict[CodecSpec, CodecInfo] = {}
    for row in rows:
        spec = CodecSpec.of_row(row)
        info = info_of(row, licences.get(spec.text, "NOASSERTION"))
        if infos.setdefault(spec, info) != info:
            known = {of["dataset"] for of in rows if CodecSpec.of_row(of) == spec}
            places = ",".join(measured_place(results, name) for name in sorted(known))
            again = f"`bench run {options_of(results, places, codecs=spec.text)}` adds the newest"
            raise UsageError(f"rows of {spec.text} are of several versions: {again}")
    return infos


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


class Imported(NamedTuple):
    """Counts of the rows imported into one dataset's store."""

    folder: Path
    added: int
    there: int  # cells that had a row before


class DatasetContents(NamedTuple):
    """The rows of a dataset, as `Store.table` returns them, and where their streams are."""

    table: pl.DataFrame  # all columns of `rows.schema`
    store: Store
    from_packs: Mapping[str, tuple[Pack, RecordedStream]]  # by cell: what the store has not
    codecs: NamedCodecs = EVERY  # that the command names

    def stream(self, row: Mapping[str, Any]) -> bytes | None:
        """Return a row's stream, None if it was not kept; `StoreError`, `BadPack` if damaged."""
        if row["cell"] in self.from_packs:
            pack, recorded = self.from_packs[row["cell"]]
            return pack.read(recorded)
        return self.store.stream(row["stream_sha256"])

    def has_stream(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row's stream was kept, without reading it."""
        return row["cell"] in self.from_packs or self.store.has_stream(row["stream_sha256"])

    def has_picture(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row's pixels are available: from its stream, or where it declares."""
        return row["bytes_origin"] == "declared" or self.has_stream(row)


def dataset_contents(
    results: Path,
    dataset: str,
    packs: Sequence[Pack],
    codecs: NamedCodecs = EVERY,
    known: pl.DataFrame | None = None,
) -> DatasetContents:
    """Read all rows of a dataset's store and of packs; codecs: those that the command names.

    known: rows of the store that were read before. They are taken as they are, without those of
    packs, and no others are read.
    """
    store = Store(results / dataset)
    streams = [
        (pack, stream)
        for pack in packs
        for stream in pack.streams.values()
        if _dataset(stream) == dataset
    ]
    if known is None:
        stored = store.read()
        table, done = stored.table, stored.done()
    else:
        table, done = known, store.done() if streams else set[str]()
    from_packs: dict[str, tuple[Pack, RecordedStream]] = {}
    rows = []
    for pack, stream in streams:
        row = row_of(pack, stream, EARLIEST_RUN) | {"bundled": True}
        if row["cell"] not in done and row["cell"] not in from_packs:
            from_packs[row["cell"]] = pack, stream
            rows.append(row)
    for path in dict.fromkeys(pack.path for pack, _ in from_packs.values()):
        _require_storable(path, [row for row in rows if from_packs[row["cell"]][0].path == path])
    if rows and known is None:
        table = merge_versions(pl.concat(alike([table, table_of(rows)])))
    return DatasetContents(table, store, from_packs, codecs)


def packs_beside(results: Path) -> list[Pack]:
    """Open the packs in `results`/packs; without that folder, those bundled with the project."""
    folder = results / "packs"
    return packs_in(folder) if folder.is_dir() else shipped_packs()


def import_pack(pack: Pack, results: Path, arguments: list[str]) -> list[Imported]:
    """Add a pack's rows and streams, checked before, but for cells that have a row. `BadPack`."""
    by_store: dict[str, list[RecordedStream]] = {}
    for stream in pack.streams.values():
        name = _dataset(stream)
        if not NAME.fullmatch(name):
            raise BadPack(pack.path, f"{name!r} is no name of a dataset")
        by_store.setdefault(name, []).append(stream)
    return [
        _import_dataset(pack, by_store[name], Store(results / name), arguments)
        for name in sorted(by_store)
    ]


def row_of(pack: Pack, recorded: RecordedStream, run: str) -> Row:
    """Return a stream of the pack as a row of the store; raise `BadPack` for a malformed value."""
    kinds = {of.name: of.kind for of in table_columns() if of.name not in LEFT_OUT}
    info = pack.infos[recorded.spec]
    try:
        row: Row = {
            n: value_of(recorded.fields, n, kinds[n]) for n in kinds if n in recorded.fields
        }
    except BadFile as error:
        raise BadPack(pack.path, f"{ROWS}: line {recorded.line}: {error}") from error
    bpp = bits_per_pixel(recorded.num_bytes, recorded.width_px * row["height_px"])
    source = recorded.image_sha256, recorded.width_px, row["coding_protocol"]
    return row | {
        "cell": cell_key(recorded.spec, info, recorded.setting, *source),
        "run": run,
        "variant": recorded.spec.variant,
        "status": "ok",
        "bytes_origin": "measured",
        "bpp": bpp,
        "timing": False,  # a timed row is always of this machine
        **info_columns(info),
        "recorded": True,
    }


def _import_dataset(
    pack: Pack, recorded: Sequence[RecordedStream], store: Store, arguments: list[str]
) -> Imported:
    run = new_run_id(store.folder)
    rows = [row_of(pack, stream, run) for stream in recorded]
    _require_storable(pack.path, rows)
    streams = [pack.read(stream) for stream in recorded]
    stored = store.read()
    done = stored.done() & {row["cell"] for row in rows}
    done -= stored.without_stream(store, done)
    fresh = [row for row in rows if row["cell"] not in done]
    if fresh:
        of_pack = {"path": str(pack.path), "name": pack.name, "sha256": pack.sha256}
        codecs = {spec.text: asdict(info) for spec, info in pack.infos.items()}
        facts = {"imported": of_pack, "notes": list(pack.notes), "codecs": codecs}
        store.begin(run, run_record(arguments, **facts))
        store.keep(*streams)
        store.append(fresh)
        store.compact()
    return Imported(store.folder, len(fresh), len(rows) - len(fresh))


def _require_storable(pack: Path, rows: Sequence[Row]) -> None:
    """Raise `BadPack` for values that no shard may have."""
    try:
        refuse_values(table_of(rows))
    except REFUSALS as why:
        raise BadPack(pack, f"{ROWS}: {why}") from why


def _dataset(recorded: RecordedStream) -> str:
    return (recorded.fields.get("dataset") or "").partition(":")[0]
