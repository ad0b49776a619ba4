"""`bench baseline` as a user runs it: what a baseline holds, and what is refused."""

import json

import pytest

from benchmark.check.row_sets import list_baselines, save_baseline
from benchmark.errors import StoreError, UsageError
from benchmark.rows.store import Store
from support.bench.invoked import bench
from support.rows.measured import sweep


def test_the_record_of_a_baseline_is_readable_text_and_a_damaged_one_is_refused(tmp_path):
    Store(tmp_path / "set").append(sweep("jpeg"))
    bench("baseline", "save", "v1", "--results", tmp_path)
    path = tmp_path / "baselines" / "v1" / "origin.json"
    record = json.loads(path.read_text())
    assert (record["name"], record["rows"], record["codecs"]) == ("v1", {"set": 18}, ["jpeg"])
    for damaged in ("{", json.dumps({**record, "rows": {"set": "many"}}), '{"name": "v1"}'):
        path.write_text(damaged)
        with pytest.raises(StoreError, match="is no record of a baseline"):
            bench("baseline", "list", "--results", tmp_path)


def test_a_baseline_of_some_codecs_has_these_alone_and_a_draft_is_none(tmp_path):
    Store(tmp_path / "set").append([*sweep("jpeg"), *sweep("webp")])
    bench("baseline", "save", "some", "--codecs", "webp", "--results", tmp_path)
    rows = Store(tmp_path / "baselines" / "some" / "set").table()
    assert set(rows["codec"].to_list()) == {"webp"}
    (tmp_path / "baselines" / ".half.123.part").mkdir()
    assert "half" not in bench("baseline", "list", "--results", tmp_path)
    for name in ("z", "a"):
        bench("baseline", "save", name, "--results", tmp_path)
    assert [(baseline.name, baseline.codecs) for baseline in list_baselines(tmp_path)] == [
        ("a", ("jpeg", "webp")), ("some", ("webp",)), ("z", ("jpeg", "webp")),
    ]  # fmt: skip


def test_a_baseline_of_a_codec_with_options_is_asked_for_by_its_label(tmp_path):
    variants = ("", "optimize=1", "subsampling=444")
    Store(tmp_path / "set").append(
        [one for text in variants for one in sweep("jpeg", variant=text)]
    )
    bench("baseline", "save", "one", "--codecs", "jpeg:optimize=1", "--results", tmp_path)
    rows = Store(tmp_path / "baselines" / "one" / "set").table()
    assert set(rows["variant"].to_list()) == {"optimize=1"}
    assert [baseline.codecs for baseline in list_baselines(tmp_path)] == [("jpeg:optimize=1",)]


def test_a_baseline_has_the_newest_rows_of_each_codec_and_the_records_of_their_runs(tmp_path):
    store = Store(tmp_path / "set")
    runs = ("20250101T000000-aa", "20250201T000000-aa")
    for run, codec in zip(runs, ("jpeg", "webp"), strict=True):
        store.begin(run, {"machine": codec})
        store.append(sweep(codec, run=run))
    older = sweep("jpeg", fingerprint="0" * 64, run="20240101T000000-aa")
    store.append(older)
    record = save_baseline(tmp_path, "v1", ["set"])
    folder = tmp_path / "baselines" / "v1"
    kept = Store(folder / "set")
    assert (record.rows, kept.table().height) == ({"set": 36}, 36)
    assert [record["machine"] for record in kept.records()] == ["jpeg", "webp"]
    assert (folder / "origin.json").read_text().startswith('{\n "name": "v1"')
    with pytest.raises(UsageError, match="nothing has no rows of nothing"):
        save_baseline(tmp_path, "v2", ["nothing"])


def test_a_baseline_is_written_below_its_results_alone(tmp_path):
    Store(tmp_path / "set").append(sweep("jpeg"))
    (tmp_path / "elsewhere").mkdir()
    for name in ("linked", "taken"):
        Store(tmp_path / name / "set").append(sweep("jpeg"))
    (tmp_path / "linked" / "baselines").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "taken" / "baselines").write_text("no folder")
    for name, message in (
        ("linked", "leads out of"),
        ("taken", "cannot be written: Not a directory"),
    ):
        with pytest.raises(StoreError, match=message):
            save_baseline(tmp_path / name, "v1", ["set"])
    assert not list((tmp_path / "elsewhere").iterdir())
