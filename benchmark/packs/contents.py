"""The contents of a dataset's results: the store's rows and streams, completed from packs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from benchmark.packs.import_pack import row_of
from benchmark.packs.pack import Pack, RecordedStream, packs_in, shipped_packs
from benchmark.rows.named_code import EVERY, NamedCodecs
from benchmark.rows.schema import table_schema
from benchmark.rows.store import Store
from benchmark.rows.versions import merge_versions

EARLIEST_RUN = "00000000T000000-pack"  # where a codec was run here as well, its own rows stand


class DatasetContents(NamedTuple):
    """The rows of a dataset, as `Store.table` returns them, and where their streams are."""

    table: pa.Table  # columns of `schema.table_schema`
    store: Store
    from_packs: Mapping[str, tuple[Pack, RecordedStream]]  # by cell: what the store has not
    codecs: NamedCodecs = EVERY  # that the command names

    def stream(self, row: Mapping[str, Any]) -> bytes | None:
        """Return the bytes of a row's stream; None if they were not kept.

        Raises `StoreError` or `BadPack` if they are damaged.
        """
        if row["cell"] in self.from_packs:
            pack, recorded = self.from_packs[row["cell"]]
            return pack.read(recorded)
        return self.store.stream(row["stream_sha256"])

    def has_stream(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row's stream was kept, without reading it."""
        return row["cell"] in self.from_packs or self.store.has_stream(row["stream_sha256"])

    def has_picture(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row's pixels can be had: from its stream, or where they are declared."""
        return row["bytes_origin"] == "declared" or self.has_stream(row)


def packs_beside(results: Path) -> list[Pack]:
    """Open the packs in `results`/packs; without that folder, those bundled with the project."""
    folder = results / "packs"
    return packs_in(folder) if folder.is_dir() else shipped_packs()


def why_no_stream(recorded: bool, codecs: Iterable[str], dataset: str, options: str = "") -> str:
    """Return a sentence on why rows have no stream and what makes one, without its full stop.

    recorded: whether they were measured elsewhere. codecs: their specs as text. options: further
    ones of `bench run`.

    >>> why_no_stream(True, ["webp"], "kodak")
    'no stream came with the numbers; `bench run --codecs webp --dataset kodak` makes it here'
    """
    again = f"`bench run --codecs {','.join(codecs)} --dataset {dataset}{options}"
    if recorded:
        return f"no stream came with the numbers; {again}` makes it here"
    return f"the stream was not kept; {again} --results OTHER` makes it again"


def verified_rows(table: pa.Table) -> pa.Table:
    """Return the rows that an independent decode has verified."""
    return table.filter(table["attested"].fill_null(False))


def dataset_contents(
    results: Path, dataset: str, packs: Sequence[Pack], codecs: NamedCodecs = EVERY
) -> DatasetContents:
    """Read all rows of a dataset, given by the name of its store; without any, an empty table.

    codecs: those that the command names, of which programs and Python files may run.
    """
    store = Store(results / dataset)
    table = store.table()
    done = store.done()
    found: dict[str, tuple[Pack, RecordedStream]] = {}
    rows = []
    for pack in packs:
        for one in pack.streams.values():
            if (one.fields.get("dataset") or "").partition(":")[0] == dataset:
                row = row_of(pack, one, EARLIEST_RUN) | {"bundled": True}
                if row["cell"] not in done and row["cell"] not in found:
                    found[row["cell"]] = pack, one
                    rows.append(row)
    if rows:
        added = pa.Table.from_pylist(rows, schema=table_schema())
        table = merge_versions(pa.concat_tables([table, added], promote_options="default"))
    return DatasetContents(table, store, found, codecs)
