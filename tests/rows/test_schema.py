"""Columns and keys of rows; ids and records of runs, which ascend whatever the clock says."""

import hashlib
import json
import platform
from datetime import UTC, datetime

import polars as pl
import pytest

from benchmark.codec import CodecInfo, Setting
from benchmark.rows.codecs import RUN_TIME, new_run_id, run_record
from benchmark.rows.schema import cell_key, table_columns, user_columns
from benchmark.rows.shard import align_columns, fill_columns, schema_of, table_of
from benchmark.rows.store import Store
from benchmark.spec import parse_codec
from benchmark.system.machine import commit

MINE = ["mine", "mine_protocol", "mine_reason"]


def test_a_cells_key_is_a_sha256_of_all_that_decides_its_stream():
    info, spec = CodecInfo("1", "enc", "MIT", "f" * 64, 3, "all"), parse_codec("jpeg:optimize=1")
    key = cell_key(spec, info, Setting("quality", 5), "s", 8, "coding/1")
    parts = ["jpeg", "optimize=1", "f" * 64, 3, "quality", 5.0, "s", 8, "coding/1"]
    assert key == hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def test_columns_of_a_metric_say_what_they_hold_and_those_of_a_user_come_last():
    columns = {column.name: column for column in table_columns()}
    assert columns["psnr_db"].meaning == "higher is better; null has a reason"
    assert columns["psnr_db_protocol"].meaning == "protocol id of psnr_db"
    count = "alex256_patches"
    assert columns[f"{count}_protocol"].meaning == f"protocol id of the features behind {count}"
    assert columns[count].kind is int
    assert user_columns(["psnr_db", *MINE, "other", "other_protocol"]) == ["mine"]
    assert user_columns(MINE) == ["mine"]
    cell = pl.DataFrame({"cell": ["a"]})
    mine = cell.with_columns(mine=2.0, mine_protocol=pl.lit("x"), mine_reason=pl.lit("y"))
    tables = align_columns([cell, mine])
    assert [table.columns for table in tables] == [[*columns, *MINE]] * 2
    assert [table["mine"].to_list() for table in tables] == [[None], [2.0]]
    assert fill_columns(cell).schema == schema_of()


def test_rows_become_a_table_whose_other_columns_are_null():
    rows = [{"cell": "a", "num_bytes": 3, "bpp": 1}, {"cell": "b", **dict.fromkeys(MINE)}]
    table = table_of(rows)
    assert table.columns == [*schema_of(), *MINE]
    assert table.select("cell", "num_bytes", "bpp").rows() == [("a", 3, 1.0), ("b", None, None)]
    for wrong_value in ({"width_px": 1.5}, {"codec": 7}, {"bpp": "much"}):
        with pytest.raises(TypeError):
            table_of([{"cell": "a", **wrong_value}])
    with pytest.raises(ValueError, match="'unheard'"):
        table_of([{"unheard": 1}])


def test_the_ids_of_runs_ascend_from_the_present_time_or_those_of_a_clock_ahead_of_ours(tmp_path):
    store, times = Store(tmp_path), []
    for _ in range(3):
        store.write_record(run := new_run_id(tmp_path), {})
        times.append(run.partition("-")[0])
    assert times == sorted({*times})
    run_time = datetime.strptime(times[0], RUN_TIME).replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - run_time).total_seconds()) < 60
    for ahead in ("29990101T000000-aaaaaaaa", "29991231T235959-00000000", "2999-no-time"):
        store.write_record(ahead, {})
    assert new_run_id(tmp_path).startswith("30000101T000000-")


def test_a_record_names_the_commit_the_arguments_the_versions_and_what_else_is_given():
    record = run_record(["run", "--codecs", "jpeg"], dataset="kodak")
    expected = {"commit": commit(), "arguments": ["run", "--codecs", "jpeg"], "dataset": "kodak"}
    assert record.items() >= (expected | {"python": platform.python_version()}).items()
    assert record["packages"]["numpy"]
