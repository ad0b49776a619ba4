"""Parquet files that stand for much more than they hold are refused before they fill the memory."""

import errno
import os
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.errors import DamagedResults
from benchmark.rows import shard
from benchmark.rows.features import SCHEMA, Reductions
from benchmark.rows.schema import WHERE_READ, table_schema
from benchmark.rows.shard import BadShard, read_parquet, read_shard, to_parquet
from benchmark.rows.store import Store
from support.rows.bundled_results import ROOT

LONG = "x" * 500_000


def repeated(text, times):
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([text]))


def written(path, table, **options):
    pq.write_table(table, path, compression="zstd", store_schema=False, **options)
    return path


def zeros(count):
    return pa.array(np.zeros(count))


BOMBS = {
    "rows": (lambda: {"status": pa.nulls(30_000_000, pa.string())}, "claims 240,"),
    "numbers": (lambda: {"psnr_db": zeros(20_000_000)}, "claims 160,"),
    "text": (lambda: {"cell": repeated(LONG, 200_000)}, "reaches "),
    "dictionary": (lambda: {"codec": repeated(LONG, 100_000)}, r"reaches 50,\d{3},\d{3},\d{3} "),
    "long text": (lambda: {"cell": repeated("x" * (2 << 20), 2000)}, "reaches "),
    "list": (
        lambda: {"influence": pa.ListArray.from_arrays([0, 1 << 24], zeros(1 << 24))},
        "claim",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_of_very_much_is_refused_in_a_sentence(name, tmp_path):
    columns, why = BOMBS[name]
    path = written(tmp_path / "a.parquet", pa.table(columns()))
    assert path.stat().st_size < 200_000
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    with pytest.raises(BadShard, match=f"^unpacked, it {why}") as refusal:
        read_parquet(path, None, ["codec"])
    assert not refusal.value.damaged
    del refusal
    assert pool.bytes_allocated() - before < 64 << 20


def test_nothing_is_read_of_a_file_that_claims_too_much(tmp_path, monkeypatch):
    path = written(tmp_path / "a.parquet", pa.table({"psnr_db": zeros(20_000_000)}))

    def read(*_, **__):
        raise AssertionError("a column was read")

    monkeypatch.setattr(pq.ParquetFile, "read", read)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", read)
    size = path.stat().st_size
    most = f"{size:,} bytes may take {(64 << 20) + 100 * size:,}"
    with pytest.raises(BadShard, match=rf"claims 160,\d+,\d+ .* its {most}$"):
        read_parquet(path, None)


@pytest.mark.parametrize(
    "columns", [None, ["cell"], ["cell", "status", "timing"], ["image_sha256"], ["nothing"]]
)
def test_real_rows_are_read_as_arrow_reads_them(columns, monkeypatch):
    shards = sorted((ROOT / "results" / "kodak" / "per_image").glob("*.parquet"))
    for rows_at_most in (shard.FREE_BYTES, 0):  # 0: as if they were large
        monkeypatch.setattr(shard, "FREE_BYTES", rows_at_most)
        for path in shards:
            names = pq.read_schema(path).names
            wanted = None if columns is None else [name for name in columns if name in names]
            assert read_shard(path, columns, ()).equals(pq.ParquetFile(path).read(wanted))


@pytest.mark.parametrize("row_group_size", [None, 700])
@pytest.mark.parametrize("free", [shard.FREE_BYTES, 1 << 20])
def test_texts_that_no_bound_rules_out_are_counted_while_they_are_read(
    row_group_size, free, tmp_path, monkeypatch
):
    """One long text among many: as many rows of the longest would be too much, these are not."""
    monkeypatch.setattr(shard, "FREE_BYTES", free)
    monkeypatch.setattr(shard, "TIMES_PACKED", 10)
    texts = [f"{number:064x}" for number in range(3000)] + ["y" * 30_000]
    lists = [[float(number)] * (number % 3) for number in range(3001)]
    table = pa.table({"cell": texts, "bpp": np.arange(3001.0), "influence": lists})
    path = written(tmp_path / "a.parquet", table, row_group_size=row_group_size)
    assert read_parquet(path, None).equals(table)
    assert read_parquet(path, ["bpp", "cell"], ["cell"]).num_rows == 3001


def test_a_store_leaves_a_bomb_out_and_reads_the_other_rows(tmp_path, monkeypatch):
    """Bounds are set low, so that less than a gigabyte is a bomb."""
    monkeypatch.setattr(shard, "FREE_BYTES", 1 << 20)
    store, rows = Store(tmp_path / "kodak"), Store(ROOT / "results" / "kodak").versions(True)
    store.add(rows.slice(0, 5))
    schema = table_schema()
    columns = {
        field.name: pa.nulls(90_000, field.type) for field in schema if field.name not in WHERE_READ
    }
    columns |= {name: repeated("ok", 90_000).dictionary_decode() for name in ("cell", "status")}
    bomb = store.folder / "per_image" / "bomb.parquet"
    bomb.write_bytes(to_parquet(pa.table(columns)))
    with pytest.warns(DamagedResults, match=r"bomb\.parquet is left out: unpacked, it claims"):
        assert store.table().num_rows == 5
    sets = tmp_path / "kodak" / "sets"
    sets.mkdir()
    values = {entry.name: pa.nulls(90_000, entry.type) for entry in SCHEMA}
    (sets / "bomb.parquet").write_bytes(to_parquet(pa.table(values, SCHEMA)))
    with pytest.warns(DamagedResults, match=r"bomb\.parquet is left out: unpacked, it claims"):
        Reductions(store.folder)
    bomb.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.table().num_rows == 5


def test_a_column_of_another_type_is_foreign_and_no_damage(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table({"cell": ["a"], "num_bytes": ["12"]}))
    with pytest.raises(BadShard, match="'num_bytes' is of string") as caught:
        read_shard(path, None, ())
    assert not caught.value.damaged


WHOLE = 2**53


@pytest.mark.parametrize(
    ("column", "sound", "odd"),
    [
        ("width_px", [1, WHOLE, None], [0, WHOLE + 1]),
        ("num_bytes", [0, WHOLE], [-1, WHOLE + 1]),
        ("revision", [-WHOLE, 7, WHOLE], [-WHOLE - 1, WHOLE + 1]),
        ("encode_seconds", [0.0, 1e-30, 1e30, None], [-1.0, 9e-31, 1.1e30, np.inf, np.nan]),
        ("setting_value", [-1e30, 0.0, 1e30], [-1.1e30, 1.1e30, np.inf, np.nan, None]),
        ("psnr_db", [-1e30, None, 1e30, np.inf], [-1.1e30, 1.1e30, -np.inf, np.nan]),
        ("image", ["a", "./b", ".c"], ["", ".", "../..", None]),
        ("status", ["ok", "failed"], ["done", None]),
        ("cell", ["", "a"], [None]),
        ("unheard_of", [], [1.0]),
    ],
)
def test_values_up_to_their_bounds_are_read_and_others_are_refused(column, sound, odd, tmp_path):
    known = {field.name: field.type for field in table_schema()}

    def path_of(values):
        array = pa.array(values, known.get(column, pa.float64()))
        return written(tmp_path / "a.parquet", pa.table({column: array}))

    for values in (sound, sound[:1]):
        read = read_shard(path_of(values), None, ())[column] if column in known else sound
        assert len(read) == len(sound[: len(values)])
    for value in odd:
        for values in ([value], [*sound, value], [value, *sound]):
            with pytest.raises(BadShard, match=column) as bad:
                read_shard(path_of(values), None, ())
            assert not bad.value.damaged


@pytest.mark.parametrize("name", ["width_px", "height_px", "num_bytes", "bpp"])
def test_a_row_that_did_not_fail_has_its_measures(name, tmp_path):
    kind = table_schema().field(name).type
    columns = {"status": ["failed", "ok"], name: pa.array([None, 1], kind)}
    assert read_shard(written(tmp_path / "a", pa.table(columns)), None, ()).num_rows == 2
    columns["status"] = ["ok", "failed"]
    with pytest.raises(BadShard, match=f"measured rows without a value of '{name}'"):
        read_shard(written(tmp_path / "a", pa.table(columns)), None, ())


def test_what_cannot_be_read_is_damaged_and_what_may_not_be_is_an_error(tmp_path, monkeypatch):
    whole = written(tmp_path / "whole.parquet", pa.table({"cell": ["a"]}))
    cut, named = tmp_path / "cut.parquet", tmp_path / f"{'0' * 64}.parquet"
    cut.write_bytes(whole.read_bytes()[:-9])
    named.write_bytes(whole.read_bytes())
    for path, why in ((cut, "it is no whole parquet file"), (named, "do not match their recorded")):
        with pytest.raises(BadShard, match=why) as bad:
            read_parquet(path, None)
        assert bad.value.damaged
    twice = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["cell", "cell"])
    with pytest.raises(BadShard, match="several columns of one name"):
        read_parquet(written(tmp_path / "twice.parquet", twice), None)
    os.truncate(cut, 1 << 40)
    with pytest.raises(OSError, match=f"at most {1 << 32} are read"):
        read_parquet(cut, None)
    for place, error, raised in (
        ("benchmark.rows.shard.read_regular", OSError(errno.EIO, "torn"), BadShard),
        ("benchmark.rows.shard.read_regular", OSError(errno.EACCES, "no"), PermissionError),
        ("pyarrow.parquet.ParquetFile", MemoryError(), MemoryError),
    ):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(place, fail)
        with pytest.raises(raised) as caught:
            read_parquet(whole, None)
        assert raised is not BadShard or caught.value.damaged
        monkeypatch.undo()
