"""Rows of packs beside the rows of a store, or imported into it; stores as packs.

A pack that is exported is a folder, or a tar with reproducible bytes.
"""

import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars import col

from benchmark.codec import Pixels
from benchmark.errors import StoreError, UsageError, without_setting
from benchmark.rows.comparable import newest_rows
from benchmark.rows.packs.merge import Merged, merge_folders
from benchmark.rows.packs.pack import (
    ABOUT,
    CONTENT,
    PICTURES,
    ROWS,
    RUN,
    STREAMS,
    Pack,
    Row,
    packs_in,
    shipped_packs,
    with_rate,
)
from benchmark.rows.place import Place
from benchmark.rows.remedies import command_on_rows
from benchmark.rows.schema import INFO_COLUMNS, WHERE_READ, is_declared
from benchmark.rows.shard import alike, table_of, to_parquet
from benchmark.rows.store import Store, finished
from benchmark.rows.stored import rows_of, specs_in
from benchmark.rows.streams import png_bytes
from benchmark.rows.versions import BUNDLED, OK, VARIANT, merge_versions
from benchmark.spec import CodecSpec
from benchmark.system.atomic import private_folder, replacing
from benchmark.system.digest import pixels_sha256
from benchmark.system.text import bench_command, by_key, counted, json_bytes

DECLARED = col("bytes_origin") == "declared"
ORDER = ("dataset", "image", "codec", "variant", "setting_name", "setting_value")
PACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Returns the pixels of rows of a store that are of declared sizes, in their order; raises
# `UsageError` for a picture that cannot be read.
ReadPictures = Callable[[Store, Sequence[Row]], Iterable[Pixels]]


class Exported(NamedTuple):
    """Content of a pack that was written, and the rows that it lacks."""

    num_streams: int
    num_pictures: int  # of rows whose sizes are declared
    left_out: tuple[str, ...]  # a sentence per dataset on bundled rows without a stream


def kept_pictures(store: Store, rows: Sequence[Row]) -> Iterator[Pixels]:
    """Yield the pictures of rows that a store has kept; raise `UsageError` for another."""
    for row in rows:
        if (pixels := store.picture(row["decoded_sha256"])) is None:
            raise UsageError(f"the picture of {_name_of_cell(row)} was not kept in {store.folder}")
        yield pixels


def export_pack(
    out: Path,
    stores: Sequence[Store],
    codecs: Sequence[CodecSpec],
    notes: Sequence[str],
    read: ReadPictures = kept_pictures,
) -> Exported:
    """Write a pack of all finished cells of codec variants.

    Of each variant, the version that its latest run measured is taken. Rows that are bundled with
    the project without their streams are left out. read: of the pictures of declared sizes. Raises
    `UsageError` if a variant has no finished cell or rows of several versions, if the stream or the
    picture of a cell that was measured here cannot be had, or if nothing is left.
    """
    tables: list[pl.DataFrame] = []
    streams: dict[str, bytes | None] = {}
    declared: list[tuple[Store, list[Row]]] = []
    licences: dict[str, str] = {}
    left_out: list[str] = []
    finished: set[CodecSpec] = set()
    for store in stores:
        latest = newest_rows(store.table()).filter(OK)
        finished |= {*specs_in(latest)}
        rows = rows_of(latest, codecs)
        # The picture of a declared size is read where it was not kept.
        can_be_had = [
            store.keeps(row) or (is_declared(row) and not row["bundled"])
            for row in rows.select(*CONTENT.values(), "bytes_origin", "bundled").rows(named=True)
        ]
        is_kept = pl.Series(can_be_had, dtype=pl.Boolean)
        kept, bare = rows.filter(is_kept), rows.filter(~is_kept)
        for row in bare.filter(~BUNDLED).rows(named=True):
            raise UsageError(
                f"the stream of {_name_of_cell(row)} was not kept in {store.folder}: "
                "it cannot be in a pack"
            )
        if bare.height:
            specs = ",".join(sorted(spec.text for spec in specs_in(bare)))
            name = store.folder.name
            left_out.append(
                f"{counted(bare.height, 'bundled row')} of {name} without a bundled stream; "
                f"`{bench_command('run', codecs=specs, dataset=name)}` makes them here"
            )
        tables.append(kept)
        streams |= {digest: store.stream(digest) for digest in kept["stream_sha256"].drop_nulls()}
        distinct = kept.filter(DECLARED).unique("decoded_sha256").sort("decoded_sha256")
        declared.append((store, distinct.rows(named=True)))
        for run in kept["run"].drop_nulls().unique():
            infos = store.record(run).get("codecs", {})
            licences |= {text: info["licence"] for text, info in infos.items()}
    for spec in codecs:
        if spec not in finished:
            where = ", ".join(str(store.folder) for store in stores)
            whole = without_setting(spec.text, {of.text for of in finished})
            hint = f": name {whole}, which has every setting" if whole else ""
            raise UsageError(f"{where} has no finished cell of {spec.text}{hint}")
    table = pl.concat(alike(tables))
    if not table.height:
        raise UsageError(f"nothing is left for a pack: {'; '.join(left_out)}")
    builds = table.select(*VARIANT, *INFO_COLUMNS.values()).unique().rows(named=True)
    for spec, several in by_key((CodecSpec.of_row(row), row) for row in builds).items():
        if len(several) > 1:
            results = stores[0].folder.parent
            known = sorted({*rows_of(table, [spec])["dataset"]})
            places = ",".join(Place(name).measured(results).text for name in known)
            again = command_on_rows("run", results, places, codecs=spec.text)
            raise UsageError(
                f"rows of {spec.text} are of several versions: `{again}` adds the newest"
            )
    kept_streams = {digest: data for digest, data in streams.items() if data}
    pictures = (pixels for store, rows in declared for pixels in read(store, rows))
    write_pack(out, table, kept_streams, licences, notes, pictures)
    num_pictures = table.filter(DECLARED).height
    return Exported(table.height - num_pictures, num_pictures, tuple(left_out))


def _name_of_cell(row: Row) -> str:
    return f"{row['codec']} {row['setting_name']}={row['setting_value']:g} of {row['image']}"


def write_pack(
    out: Path,
    rows: pl.DataFrame,
    streams: Mapping[str, bytes],
    licences: Mapping[str, str],
    notes: Sequence[str],
    pictures: Iterable[Pixels] = (),
) -> None:
    """Write a pack (*.tar: a tar), whole or not at all.

    streams: by sha256. licences: by spec. pictures: of the rows without a stream, read while they
    are written. Raises `UsageError`, `StoreError`.
    """
    name = out.name.removesuffix(".tar")
    if not PACK_NAME.fullmatch(name):
        raise UsageError(f"{out}: a pack's name is of letters, digits, dots, - and _")
    if out.exists():
        raise UsageError(f"{out} is there already: remove it, or give another name")
    specs = {spec.text for spec in specs_in(rows)}
    known = {text: licences[text] for text in sorted(specs & licences.keys())}
    about = json_bytes({"notes": list(notes), "licences": known}).decode()
    names = [of.name for of in rows if of.name not in ("run", *WHERE_READ)
            and of.null_count() < rows.height]  # fmt: skip

    def files() -> Iterator[tuple[str, bytes]]:
        yield ROWS, to_parquet(rows.select(names).sort(ORDER), **{ABOUT: about})
        for digest in sorted(streams):
            yield f"{STREAMS}/{digest}", streams[digest]
        written = set[str]()
        for pixels in pictures:
            if (digest := pixels_sha256(pixels)) not in written:
                written.add(digest)
                yield f"{PICTURES}/{digest}.png", png_bytes(pixels)

    try:
        with replacing(out) as draft:
            if out.suffix == ".tar":
                _write_tar(draft, name, files())
            else:
                for path, content in files():
                    (draft / path).parent.mkdir(parents=True, exist_ok=True)
                    (draft / path).write_bytes(content)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}") from error


def _write_tar(draft: Path, root: str, files: Iterable[tuple[str, bytes]]) -> None:
    with tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            member = tarfile.TarInfo(f"{root}/{name}")
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))


class DatasetContents(NamedTuple):
    """The rows of a dataset, as `Store.table` returns them, with their streams and pictures."""

    table: pl.DataFrame  # all columns of `rows.schema`
    store: Store
    from_packs: Mapping[str, tuple[Pack, Row]]  # by cell: what the store has not

    def stream(self, row: Mapping[str, Any]) -> bytes | None:
        """Return a row's stream, None if it was not kept; `StoreError`, `BadPack` if damaged."""
        if row["stream_sha256"] is not None and row["cell"] in self.from_packs:
            pack, recorded = self.from_packs[row["cell"]]
            return pack.read(recorded)
        return self.store.stream(row["stream_sha256"])

    def has_stream(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row's stream was kept, without reading it."""
        from_pack = row["stream_sha256"] is not None and row["cell"] in self.from_packs
        return from_pack or self.store.has_stream(row["stream_sha256"])

    def picture(self, row: Mapping[str, Any]) -> Pixels | None:
        """Return the kept picture of a row of declared size; None without, errors as `stream`."""
        if not is_declared(row):
            return None
        if row["cell"] in self.from_packs:
            pack, recorded = self.from_packs[row["cell"]]
            return pack.picture(recorded)
        return self.store.picture(row["decoded_sha256"])

    def has_picture(self, row: Mapping[str, Any]) -> bool:
        """Return whether `picture` has one, without reading it."""
        is_kept = row["cell"] in self.from_packs or self.store.has_picture(row["decoded_sha256"])
        return is_declared(row) and is_kept


def dataset_contents(
    results: Path,
    dataset: str,
    packs: Sequence[Pack],
    known: pl.DataFrame | None = None,
) -> DatasetContents:
    """Read all rows of a dataset's store and of packs.

    known: rows of the store that were read before. They are taken as they are, without those of
    packs, and no others are read.
    """
    store = Store(results / dataset)
    packed = [(pack, row) for pack in packs for row in pack.rows.values()
              if name_of(row) == dataset]  # fmt: skip
    if known is None:
        table, versions = store.read()
        done = {*finished(versions)["cell"]}
    else:
        table, done = known, store.done() if packed else set[str]()
    from_packs: dict[str, tuple[Pack, Row]] = {}
    for pack, row in packed:
        if row["cell"] not in done:
            from_packs.setdefault(row["cell"], (pack, row))
    if from_packs and known is None:
        rows = [with_rate(row) | {"bundled": True} for _, row in from_packs.values()]
        table = merge_versions(pl.concat(alike([table, table_of(rows)])))
    return DatasetContents(table, store, from_packs)


def packs_beside(results: Path) -> list[Pack]:
    """Open the packs in `results`/packs; without that folder, those bundled with the project."""
    folder = results / "packs"
    return packs_in(folder) if folder.is_dir() else shipped_packs()


def import_pack(pack: Pack, results: Path) -> list[Merged]:
    """Merge a pack's rows, streams and pictures, all checked, into results. Raises `BadPack`."""
    run = f"{RUN}-{pack.sha256[:8]}"  # of a record that each import writes alike
    record = {
        "imported": pack.sha256,
        "notes": list(pack.notes),
        "codecs": {spec.text: asdict(info) for spec, info in pack.infos.items()},
    }
    with private_folder() as folder:
        for name, rows in by_key((name_of(row), row) for row in pack.rows.values()).items():
            store = Store(folder / name)
            store.begin(run, record)
            store.keep(*(pack.read(row) for row in rows if not is_declared(row)))
            store.keep_pictures(p for row in rows if (p := pack.picture(row)) is not None)
            store.append([with_rate(row) | {"run": run} for row in rows])
        return [*merge_folders([folder], results)]


def name_of(row: Row) -> str:
    """Return the name of the dataset that a row's results are stored under."""
    return str(row["dataset"]).partition(":")[0]
