"""Run ids and records: ids ascend whatever the clock says, records name commit and arguments."""

import platform
from datetime import UTC, datetime

from benchmark.rows.codecs import RUN_TIME, new_run_id, run_record
from benchmark.system.machine import commit


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
