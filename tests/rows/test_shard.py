"""Small parquet files that claim huge data are refused before they fill the memory."""

import errno
import os
import shutil
from contextlib import suppress
from io import BytesIO
from unittest.mock import patch

import polars as pl
import pytest

from benchmark.errors import StoreError
from benchmark.rows import shard
from benchmark.rows.schema import READER_COLUMNS, metric_columns, read_footer
from benchmark.rows.store import Store
from benchmark.system.machine import BUNDLED
from support.rows.bundled_results import bundled_results


def repeated(value, times, kind=None):
    return pl.repeat(value, times, dtype=kind, eager=True)


def write_parquet(path, columns, **options):
    pl.DataFrame(columns).write_parquet(path, **options)
    return path


BOMBS = {
    "rows": (lambda: {"status": repeated(None, 3_000_000, pl.String)}, " 24,"),
    "numbers": (lambda: {"psnr_db": repeated(0.0, 2_000_000)}, " 32,"),
    "text": (lambda: {"cell": repeated("x" * 2000, 20_000)}, " 40,"),
    "long text": (lambda: {"cell": repeated("x" * (1 << 18), 100)}, " 26,"),
    "one text": (lambda: {"cell": ["x" * (1 << 24)]}, " 16,"),
    "list": (lambda: {"influence": [repeated(0.0, 1 << 22)]}, " 67,"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_with_huge_contents_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "MIN_ALLOWED_BYTES", 1 << 20)
    columns, reason = BOMBS[name]
    path = write_parquet(tmp_path / "a.parquet", columns())
    assert path.stat().st_size < 200_000
    with pytest.raises(shard.BadShard, match=reason) as refusal:
        shard.read_parquet(path)
    assert not refusal.value.damaged


def test_nothing_is_read_of_a_file_that_claims_too_much(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "a.parquet", {"psnr_db": repeated(0.0, 10_000_000)})
    monkeypatch.setattr(pl, "read_parquet", lambda *_, **__: pytest.fail("a column was read"))
    size = path.stat().st_size
    with pytest.raises(
        shard.BadShard, match=rf" [\d,]+ .* {size:,} .* {(64 << 20) + 100 * size:,}$"
    ):
        shard.read_parquet(path)


@pytest.mark.parametrize(
    "columns", [None, ["cell"], ["cell", "status", "timing"], ["image_sha256"], ["nothing"]]
)
def test_real_rows_are_read_as_polars_reads_them(columns):
    for path in sorted((bundled_results() / "kodak" / "per_image").glob("*.parquet")):
        names = [n for n in pl.read_parquet_schema(path) if n not in shard.RETIRED_COLUMNS]
        selected = names if columns is None else [n for n in columns if n in names]
        assert shard.read_shard(path, columns).equals(pl.read_parquet(path, columns=selected))


def test_columns_without_a_value_are_skipped_unless_every_row_must_have_one(tmp_path):
    values = {"status": "ok", "cell": "a", "psnr_db": 1.0, "caveat": None, "bpp": None}
    columns = [pl.Series(name, [values[name]], shard.schema_of()[name]) for name in values]
    path = write_parquet(tmp_path / "a.parquet", columns[:4])
    assert shard.read_shard(path).columns == ["status", "cell", "psnr_db", "caveat"]
    assert shard.read_shard(path, skip_empty=True).columns == ["status", "cell", "psnr_db"]
    write_parquet(path, columns)
    with pytest.raises(shard.BadShard, match="'bpp'"):
        shard.read_shard(path, skip_empty=True)


@pytest.mark.parametrize("sets", [False, True])
def test_a_footer_says_what_the_rows_are(sets):
    for path in bundled_results().glob(f"*/{'sets' if sets else 'per_image'}/*.parquet"):
        footer, table = read_footer(path.read_bytes()), pl.read_parquet(path)
        assert (footer.rows, [*footer.names]) == (table.height, table.columns)
        assert footer.empty == {c.name for c in table if c.null_count() == table.height}
        elements = table["influence"].list.len().fill_null(1).sum() if sets else table.height
        assert footer.values == (table.width - 1) * table.height + elements
        assert 0 < footer.unpacked_bytes < 2 * table.estimated_size()


def test_a_footer_of_any_bytes_is_read_or_refused():
    table = pl.DataFrame({"cell": ["a", None], "lists": [[1], [2, 3]], "yes": [True, None]})
    table.write_parquet(sink := BytesIO())
    content = sink.getvalue()
    for offset in range(len(content)):
        changed = bytearray(content)
        changed[offset] ^= 1 << offset % 8
        with suppress(ValueError, RecursionError):
            read_footer(bytes(changed))
    for end in range(len(content)):
        with pytest.raises(ValueError, match="footer"):
            read_footer(content[:end])
    with pytest.raises(RecursionError):
        read_footer(b"PAR1" + b"\x1c" * 100_000 + (100_000).to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize("footer", [
    b"\x19\xf1" + b"\xff" * 8 + b"\x7f\0",  # a list of 2^63 - 1 booleans
    b"\x29\x1c\0\x17" + b"\0" * 8 + b"\x19\x0c\0",  # a real number of rows
    b"\x29\x1c\0\x18\x01a\x19\x0c\0",  # a text as the number of rows
])  # fmt: skip
def test_a_footer_in_another_form_is_damaged(footer, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(shard.BadShard, match="footer") as refusal:
        shard.read_parquet(path)
    assert refusal.value.damaged


@pytest.mark.parametrize("row_group_size", [None, 700])
@pytest.mark.parametrize("free", [shard.MIN_ALLOWED_BYTES, 1 << 20])
def test_texts_that_no_bound_rules_out_are_counted(row_group_size, free, tmp_path, monkeypatch):
    """One long text among many: as many rows of the longest would be too much, these are not."""
    monkeypatch.setattr(shard, "MIN_ALLOWED_BYTES", free)
    monkeypatch.setattr(shard, "ALLOWED_EXPANSION", 10)
    texts = [f"{number:064x}" for number in range(3000)] + ["y" * 30_000]
    lists = [[float(number)] * (number % 3) for number in range(3001)]
    table = pl.DataFrame({"cell": texts, "bpp": [float(n) for n in range(3001)], "lists": lists})
    path = write_parquet(tmp_path / "a.parquet", table, row_group_size=row_group_size)
    assert shard.read_parquet(path).equals(table)
    assert shard.read_parquet(path, ["bpp", "cell"]).height == 3001


def test_a_column_of_another_type_is_foreign_and_no_damage(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"cell": ["a"], "num_bytes": ["12"]})
    with pytest.raises(shard.BadShard, match="'num_bytes'") as caught:
        shard.read_shard(path)
    assert not caught.value.damaged


def test_memory_that_earlier_versions_measured_is_ignored(tmp_path, sound_row):
    rows = shard.table_of([sound_row])
    retired = rows.with_columns(decode_peak_bytes=pl.lit(2_149_000_000))
    assert shard.read_shard(write_parquet(tmp_path / "a.parquet", retired)).equals(rows)
    bundled = Store(BUNDLED / "seconds" / "results" / "kodak").table()
    assert bundled.height
    assert "encode_peak_bytes" not in bundled.columns


WHOLE, INF, NAN = 2**53, float("inf"), float("nan")


@pytest.mark.parametrize(("column", "sound", "odd"), [
    ("width_px", [1, 1 << 26, None], [0, (1 << 26) + 1]),
    ("num_bytes", [0, WHOLE], [-1, WHOLE + 1]),
    ("revision", [-WHOLE, 7, WHOLE], [-WHOLE - 1, WHOLE + 1]),
    ("encode_seconds", [0.0, 1e-30, 1e30, None], [-1.0, 9e-31, 1.1e30, INF, NAN]),
    ("setting_value", [-1e30, 0.0, 1e30], [-1.1e30, 1.1e30, INF, NAN, None]),
    ("psnr_db", [-1e30, None, 1e30, INF], [-1.1e30, 1.1e30, -INF, NAN]),
    ("image", ["a", "./b", ".c"], ["", ".", "../..", None]),
    ("status", ["ok", "failed"], ["done", None]), ("cell", ["", "a"], [None]),
    ("unheard_of", [], [1.0]),
])  # fmt: skip
def test_values_up_to_their_bounds_are_read_and_others_are_refused(column, sound, odd, tmp_path):
    kinds = shard.schema_of()

    def path_of(values):
        return write_parquet(tmp_path / "a.parquet", [pl.Series(column, values, kinds.get(column))])

    for values in (sound, sound[:1]) if column in kinds else ():
        assert len(shard.read_shard(path_of(values))[column]) == len(values)
    for value in odd:
        for values in ([value], [*sound, value], [value, *sound]):
            with pytest.raises(shard.BadShard, match=column) as bad:
                shard.read_shard(path_of(values))
            assert not bad.value.damaged


ODD = [
    -1, 0, 2**53, 2**53 + 1, 10**20, 10**400, -0.5, NAN, INF, -INF, 1e-300, 1e100, 1e300,
    True, "", "x", "a\nb", "\udcff.png", "y" * 100_000, b"x", [1], {"a": 1}, 1j, object(),
]  # fmt: skip
NOT_ODD = *READER_COLUMNS, *shard.NON_NULL_COLUMNS
WRITTEN = [name for name in shard.schema_of() if name not in NOT_ODD]


@pytest.fixture(scope="module")
def sound_row():
    row = Store(bundled_results() / "sample").versions(True).row(0, named=True)
    return {name: value for name, value in row.items() if name not in READER_COLUMNS}


@pytest.mark.parametrize("column", WRITTEN)
def test_whatever_a_row_is_given_is_written_so_that_it_is_read(column, sound_row, tmp_path):
    """An odd value becomes null with a remark; other values stay."""
    rows = [{**sound_row, "cell": f"{number}", column: value} for number, value in enumerate(ODD)]
    store = Store(tmp_path / "kodak")
    store.append([sound_row, *rows])
    read = {row["cell"]: row for row in store.versions().rows(named=True)}
    assert read.pop(sound_row["cell"]).items() >= sound_row.items()
    affected_columns = {column, metric_columns(column)[2]}
    affected_columns |= {"cell", "caveat", "status", "stage", "reason"}
    for row in rows:
        stored = read[row["cell"]]
        assert all(stored[name] == row[name] for name in row.keys() - affected_columns)
        remark = stored["caveat"] != sound_row["caveat"] or stored.get(f"{column}_reason")
        equal = isinstance(stored[column], str) or stored[column] == row[column]
        equal |= isinstance(stored[column], float) and stored[column] == float(row[column])
        assert equal or column == "caveat" or (stored[column] is None and remark)
    assert len(read) == len(ODD)


@pytest.mark.parametrize("column", shard.NON_NULL_COLUMNS)
def test_a_row_without_what_makes_it_one_is_not_written(column, sound_row, tmp_path):
    store = Store(tmp_path / "kodak")
    num_stored = 0
    for value in [None, *ODD]:
        with suppress(StoreError):
            store.append([{**sound_row, column: value}])
            num_stored += 1
    read = store.versions()[column].to_list()
    assert None not in read
    assert len(read) <= num_stored < len(ODD), "equal rows are one shard"


def test_long_and_broken_texts_are_cut_and_escaped(sound_row):
    texts = {"reason": "x" * 5000, "stage": "a\udcff", "cell": "\udcff" + "c" * 5000}
    table = shard.make_storable([{**sound_row, **texts}])
    assert table["reason"].to_list() == [f"{'x' * 4000}..."]
    assert table["stage"].to_list() == ["a\\xff"]
    assert table["cell"].to_list() == ["\\xff" + "c" * 5000], "an identity is kept whole"


@pytest.mark.parametrize("name", ["width_px", "height_px", "num_bytes", "bpp"])
def test_a_row_that_did_not_fail_has_its_measures(name, tmp_path):
    kind = shard.schema_of()[name]
    columns = {"status": ["failed", "ok"], name: pl.Series([None, 1], dtype=kind)}
    assert shard.read_shard(write_parquet(tmp_path / "a", columns)).height == 2
    columns["status"] = ["ok", "failed"]
    with pytest.raises(shard.BadShard, match=f"'{name}'"):
        shard.read_shard(write_parquet(tmp_path / "a", columns))


def test_what_cannot_be_read_is_damaged_and_what_may_not_be_is_an_error(tmp_path):
    whole_file = write_parquet(tmp_path / "whole.parquet", {"cell": ["a"]})
    cut_file, misnamed_file = tmp_path / "cut.parquet", tmp_path / f"{'0' * 64}.parquet"
    cut_file.write_bytes(whole_file.read_bytes()[:-9])
    shutil.copy(whole_file, misnamed_file)
    for path, reason in ((cut_file, "parquet"), (misnamed_file, "sha256")):
        with pytest.raises(shard.BadShard, match=reason) as bad:
            shard.read_parquet(path)
        assert bad.value.damaged
    twice = write_parquet(tmp_path / "twice.parquet", {"cell": ["a"], "call": ["b"]})
    twice.write_bytes(twice.read_bytes().replace(b"call", b"cell"))
    with pytest.raises(shard.BadShard, match="columns"):
        shard.read_parquet(twice)
    os.truncate(cut_file, 1 << 40)
    with pytest.raises(OSError, match=str(1 << 32)):
        shard.read_parquet(cut_file)
    for place, error, raised in (
        ("benchmark.rows.shard.read_regular", OSError(errno.EIO, "torn"), shard.BadShard),
        ("benchmark.rows.shard.read_regular", OSError(errno.EACCES, "no"), PermissionError),
        ("polars.read_parquet", MemoryError(), MemoryError),
    ):
        with patch(place, side_effect=error), pytest.raises(raised) as caught:
            shard.read_parquet(whole_file)
        assert raised is not shard.BadShard or caught.value.damaged
