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
from benchmark.spec import CodecSpec
from benchmark.system.machine import commit

MINE = ["mine", "mine_protocol", "mine_reason"]


def test_a_cells_key_is_a_sha256_of_all_that_decides_its_stream():
    info = CodecInfo("1", "enc", "MIT", "f" * 64, 3, "all")
    spec = CodecSpec.parse("jpeg", "optimize=1")
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
    first_table = pl.DataFrame({"cell": ["a"]})
    second_table = pl.DataFrame({"cell": ["a"], "mine": [2.0], MINE[1]: ["x"], MINE[2]: ["y"]})
    tables = align_columns([first_table, second_table])
    names = [*columns, *MINE]
    assert [table.columns for table in tables] == [names, names]
    assert [table["mine"].to_list() for table in tables] == [[None], [2.0]]
    assert fill_columns(first_table).schema == schema_of()


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


def begin(folder, run):
    (folder / "runs").mkdir(exist_ok=True)
    (folder / "runs" / f"{run}.json").write_text("{}")
    return run


def test_the_ids_of_runs_ascend_from_the_present_time(tmp_path):
    runs = [begin(tmp_path, new_run_id(tmp_path)) for _ in range(3)]
    assert runs == sorted(set(runs))
    assert [run.partition("-")[0] for run in runs] == sorted({r.partition("-")[0] for r in runs})
    run_time = datetime.strptime(runs[0].partition("-")[0], RUN_TIME)
    assert abs((datetime.now(UTC) - run_time.replace(tzinfo=UTC)).total_seconds()) < 60


def test_an_id_comes_after_runs_that_a_clock_ahead_of_ours_has_named(tmp_path):
    for ahead in ("29990101T000000-aaaaaaaa", "29991231T235959-00000000", "2999-no-time"):
        begin(tmp_path, ahead)
    result = new_run_id(tmp_path)
    assert result.startswith("30000101T000000-")


def test_a_record_names_the_commit_the_arguments_the_versions_and_what_else_is_given():
    record = run_record(["run", "--codecs", "jpeg"], dataset="kodak")
    assert record["commit"] == commit()
    assert (record["arguments"], record["dataset"]) == (["run", "--codecs", "jpeg"], "kodak")
    assert record["packages"]["numpy"]
    assert record["python"] == platform.python_version()
