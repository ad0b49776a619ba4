"""Export packs as a folder or a reproducible tar, import packs, and read packs with results."""

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
from benchmark.errors import StoreError, UsageError, shorten_spec
from benchmark.rows.comparable import newest_rows
from benchmark.rows.packs.merge import MergeResult, merge_folders
from benchmark.rows.packs.pack import (
    ABOUT,
    CONTENT_COLUMNS,
    PICTURES,
    ROWS,
    RUN,
    STREAMS,
    Pack,
    Row,
    packs_in,
    recompute_rate,
    shipped_packs,
)
from benchmark.rows.place import Place
from benchmark.rows.remedies import command_on_rows
from benchmark.rows.schema import INFO_COLUMNS, READER_COLUMNS, is_declared
from benchmark.rows.shard import align_columns, parquet_bytes, table_of
from benchmark.rows.store import Store, finished_rows
from benchmark.rows.stored import rows_of, specs_in
from benchmark.rows.streams import png_bytes
from benchmark.rows.versions import BUNDLED, OK, VARIANT, merge_versions
from benchmark.spec import CodecSpec
from benchmark.system.atomic import private_folder, replacing
from benchmark.system.digest import pixels_sha256
from benchmark.system.text import bench_command, counted, group_by_key, json_bytes

DECLARED = col("bytes_origin") == "declared"
ORDER = ("dataset", "image", "codec", "variant", "setting_name", "setting_value")
PACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Takes a store and rows with declared sizes; returns their pictures in order. Raises
# `UsageError` for a picture that cannot be read.
ReadPictures = Callable[[Store, Sequence[Row]], Iterable[Pixels]]


class ExportResult(NamedTuple):
    """Contents of a written pack, and the rows that it lacks."""

    num_streams: int
    num_pictures: int  # pictures of declared sizes
    left_out: tuple[str, ...]  # one sentence per dataset, on bundled rows without a stream


def kept_pictures(store: Store, rows: Sequence[Row]) -> Iterator[Pixels]:
    """Yield the stored pictures of rows; raise `UsageError` if one is missing."""
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
) -> ExportResult:
    """Write a pack of all finished cells of codec variants, with the versions of the latest run.

    Bundled rows without streams are skipped. read: function for pictures of declared sizes. Raises
    `UsageError` if a variant has no finished cell or rows of several versions, if the stream or
    picture of a cell measured here is missing, or if nothing is left.
    """
    tables: list[pl.DataFrame] = []
    streams: dict[str, bytes | None] = {}
    declared: list[tuple[Store, list[Row]]] = []
    licences: dict[str, str] = {}
    left_out: list[str] = []
    finished_specs, content_columns = set[CodecSpec](), CONTENT_COLUMNS.values()
    for store in stores:
        latest = newest_rows(store.table()).filter(OK)
        finished_specs |= {*specs_in(latest)}
        rows = rows_of(latest, codecs)
        # A picture of declared size that was not kept will be read from its file.
        is_available = [
            store.has_output(row) or (is_declared(row) and not row["bundled"])
            for row in rows.select(*content_columns, "bytes_origin", "bundled").rows(named=True)
        ]
        is_kept = pl.Series(is_available, dtype=pl.Boolean)
        with_content, without_content = rows.filter(is_kept), rows.filter(~is_kept)
        for row in without_content.filter(~BUNDLED).rows(named=True):
            raise UsageError(
                f"the stream of {_name_of_cell(row)} was not kept in {store.folder}: "
                "it cannot be in a pack"
            )
        if without_content.height:
            specs = ",".join(sorted(spec.text for spec in specs_in(without_content)))
            name = store.folder.name
            left_out.append(
                f"{counted(without_content.height, 'bundled row')} of {name} "
                "without a bundled stream; "
                f"`{bench_command('run', codecs=specs, dataset=name)}` makes the streams"
            )
        tables.append(with_content)
        streams |= {
            digest: store.stream(digest) for digest in with_content["stream_sha256"].drop_nulls()
        }
        distinct_rows = (
            with_content.filter(DECLARED).unique("decoded_sha256").sort("decoded_sha256")
        )
        declared.append((store, distinct_rows.rows(named=True)))
        for run in with_content["run"].drop_nulls().unique():
            infos = store.record(run).get("codecs", {})
            licences |= {text: info["licence"] for text, info in infos.items()}
    for spec in codecs:
        if spec not in finished_specs:
            folders = ", ".join(str(store.folder) for store in stores)
            suggestion = shorten_spec(spec.text, {variant.text for variant in finished_specs})
            hint = f": name {suggestion}, which has every setting" if suggestion else ""
            raise UsageError(f"{folders} has no finished cell of {spec.text}{hint}")
    table = pl.concat(align_columns(tables))
    if not table.height:
        raise UsageError(f"the pack would be empty: {'; '.join(left_out)}")
    builds = table.select(*VARIANT, *INFO_COLUMNS.values()).unique().rows(named=True)
    for spec, group in group_by_key((CodecSpec.parse_row(row), row) for row in builds).items():
        if len(group) > 1:
            results = stores[0].folder.parent
            datasets = sorted({*rows_of(table, [spec])["dataset"]})
            places = ",".join(Place(name).find_measured(results).text for name in datasets)
            command = command_on_rows("run", results, places, codecs=spec.text)
            raise UsageError(
                f"rows of {spec.text} come from several versions of the codec: measure it again "
                f"with `{command}`"
            )
    kept_streams = {digest: data for digest, data in streams.items() if data}
    pictures = (pixels for store, rows in declared for pixels in read(store, rows))
    write_pack(out, table, kept_streams, licences, notes, pictures)
    num_pictures = table.filter(DECLARED).height
    return ExportResult(table.height - num_pictures, num_pictures, tuple(left_out))


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
    """Write a pack (*.tar: a tar) completely or not at all; raise `UsageError`, `StoreError`.

    streams: by sha256. licences: by spec. pictures: of rows without a stream, read while
    writing.
    """
    name = out.name.removesuffix(".tar")
    if not PACK_NAME.fullmatch(name):
        raise UsageError(f"{out}: a pack's name may contain only letters, digits, dots, - and _")
    if out.exists():
        raise UsageError(f"{out} already exists: remove it, or give another name")
    specs = {spec.text for spec in specs_in(rows)}
    named_licences = {text: licences[text] for text in sorted(specs & licences.keys())}
    about = json_bytes({"notes": list(notes), "licences": named_licences}).decode()
    names = [series.name for series in rows if series.name not in ("run", *READER_COLUMNS)
            and series.null_count() < rows.height]  # fmt: skip

    def files() -> Iterator[tuple[str, bytes]]:
        yield ROWS, parquet_bytes(rows.select(names).sort(ORDER), **{ABOUT: about})
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
    """Rows of a dataset as in `Store.table`, with streams and pictures."""

    table: pl.DataFrame  # all columns of `rows.schema`
    store: Store
    pack_rows: Mapping[str, tuple[Pack, Row]]  # rows that the store lacks, by cell

    def stream(self, row: Mapping[str, Any]) -> bytes | None:
        """Return a row's stream, or None; raise `StoreError` or `BadPack` if damaged."""
        if row["stream_sha256"] is not None and row["cell"] in self.pack_rows:
            pack, recorded = self.pack_rows[row["cell"]]
            return pack.read(recorded)
        return self.store.stream(row["stream_sha256"])

    def has_stream(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row's stream is stored, without reading it."""
        from_pack = row["stream_sha256"] is not None and row["cell"] in self.pack_rows
        return from_pack or self.store.has_stream(row["stream_sha256"])

    def picture(self, row: Mapping[str, Any]) -> Pixels | None:
        """Return the picture of a row of declared size, or None; errors as in `stream`."""
        if not is_declared(row):
            return None
        if row["cell"] in self.pack_rows:
            pack, recorded = self.pack_rows[row["cell"]]
            return pack.picture(recorded)
        return self.store.picture(row["decoded_sha256"])

    def has_picture(self, row: Mapping[str, Any]) -> bool:
        """Return whether `picture` returns a picture, without reading it."""
        is_kept = row["cell"] in self.pack_rows or self.store.has_picture(row["decoded_sha256"])
        return is_declared(row) and is_kept


def dataset_contents(
    results: Path,
    dataset: str,
    packs: Sequence[Pack],
    stored_rows: pl.DataFrame | None = None,
) -> DatasetContents:
    """Read a dataset's rows and those of packs; with `stored_rows`, packs add only files."""
    store = Store(results / dataset)
    packed = [(pack, row) for pack in packs for row in pack.rows.values()
              if name_of(row) == dataset]  # fmt: skip
    if stored_rows is None:
        table, versions = store.read()
        finished_cells = {*finished_rows(versions)["cell"]}
    else:
        table, finished_cells = stored_rows, store.finished_cells() if packed else set[str]()
    pack_rows: dict[str, tuple[Pack, Row]] = {}
    for pack, row in packed:
        if row["cell"] not in finished_cells:
            pack_rows.setdefault(row["cell"], (pack, row))
    if pack_rows and stored_rows is None:
        packed_rows = [recompute_rate(row) | {"bundled": True} for _, row in pack_rows.values()]
        table = merge_versions(pl.concat(align_columns([table, table_of(packed_rows)])))
    return DatasetContents(table, store, pack_rows)


def packs_with_results(results: Path) -> list[Pack]:
    """Open the packs in `results`/packs; without that folder, the bundled packs."""
    folder = results / "packs"
    return packs_in(folder) if folder.is_dir() else shipped_packs()


def import_pack(pack: Pack, results: Path) -> list[MergeResult]:
    """Check a pack's rows, streams and pictures and merge them into results; raise `BadPack`."""
    run = f"{RUN}-{pack.sha256[:8]}"  # the same run for each import of a pack
    record = {
        "imported": pack.sha256,
        "notes": list(pack.notes),
        "codecs": {spec.text: asdict(info) for spec, info in pack.infos.items()},
    }
    with private_folder() as folder:
        for name, rows in group_by_key((name_of(row), row) for row in pack.rows.values()).items():
            store = Store(folder / name)
            store.write_record(run, record)
            store.keep(*(pack.read(row) for row in rows if not is_declared(row)))
            store.keep_pictures(p for row in rows if (p := pack.picture(row)) is not None)
            store.append([recompute_rate(row) | {"run": run} for row in rows])
        return [*merge_folders([folder], results)]


def name_of(row: Row) -> str:
    """Return the stored name of a row's dataset."""
    return str(row["dataset"]).partition(":")[0]
