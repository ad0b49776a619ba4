"""Rows of packs: beside the rows and streams of a dataset's store, or imported into it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars import col

from benchmark.codec import bits_per_pixel
from benchmark.errors import BadPack
from benchmark.rows.codecs import EVERY, NamedCodecs
from benchmark.rows.packs.export_pack import LEFT_OUT
from benchmark.rows.packs.pack import ROWS, Pack, RecordedStream, packs_in, shipped_packs
from benchmark.rows.runs import NAME, new_run_id, run_record
from benchmark.rows.schema import cell_key, info_columns, table_columns
from benchmark.rows.shard import LARGEST_WHOLE, REFUSALS, alike, refuse_values, table_of
from benchmark.rows.store import Store
from benchmark.rows.valid import merge_versions

Row = dict[str, Any]

EARLIEST_RUN = "00000000T000000-pack"  # where a codec was run here as well, its own rows are valid


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


def why_no_stream(recorded: bool, codecs: Iterable[str], dataset: str, options: str = "") -> str:
    """Return a sentence on why rows have no stream and what makes one, without its full stop.

    recorded: whether they were measured elsewhere. options: further ones of `bench run`.

    >>> why_no_stream(True, ["webp"], "kodak")
    'no stream came with the numbers; `bench run --codecs webp --dataset kodak` makes it here'
    """
    again = f"`bench run --codecs {','.join(codecs)} --dataset {dataset}{options}"
    if recorded:
        return f"no stream came with the numbers; {again}` makes it here"
    return f"the stream was not kept; {again} --results OTHER` makes it again"


def verified_rows(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that an independent decode has verified."""
    return table.filter(col("attested"))


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
        texts = {name: text for name, text in recorded.fields.items() if name in kinds}
        row: Row = {name: _value(text, kinds[name]) for name, text in texts.items()}
        bpp = bits_per_pixel(recorded.num_bytes, recorded.width_px * row["height_px"])
        source = recorded.image_sha256, recorded.width_px, row["coding_protocol"]
    except (ValueError, TypeError, KeyError, OverflowError, ZeroDivisionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadPack(pack.path, f"a line of {recorded.image} cannot be read ({reason})") from error
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


def _value(text: str | None, kind: type) -> Any:
    if not text:
        return None
    if kind is int and abs(int(text)) > LARGEST_WHOLE:
        raise OverflowError(f"{text} is beyond 2^53")
    return {"True": True, "False": False}[text] if kind is bool else kind(text)


def _dataset(recorded: RecordedStream) -> str:
    return (recorded.fields.get("dataset") or "").partition(":")[0]
