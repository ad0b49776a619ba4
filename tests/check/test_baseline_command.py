"""`bench baseline` as a user runs it: what a baseline holds, and what is refused."""

import pytest

from benchmark.check.row_sets import list_baselines, save_baseline
from benchmark.errors import StoreError, UsageError
from benchmark.rows.store import Store
from support.bench.command import output_of
from support.rows.measured import sweep


def test_a_baseline_of_some_codecs_has_these_alone_and_a_draft_is_none(tmp_path):
    Store(tmp_path / "set").append([*sweep("jpeg"), *sweep("webp")])
    output_of("baseline", "save", "some", "--codecs", "webp", "--results", tmp_path)
    rows = Store(tmp_path / "baselines" / "some" / "set").table()
    assert set(rows["codec"].to_list()) == {"webp"}
    (tmp_path / "baselines" / ".half.123.part").mkdir()
    assert "half" not in output_of("baseline", "list", "--results", tmp_path)
    for name in ("z", "a"):
        output_of("baseline", "save", name, "--results", tmp_path)
    both = {"rows": {"set": 36}, "codecs": ["jpeg", "webp"]}
    assert list_baselines(tmp_path) == [
        {"name": "a", **both}, {"name": "some", "rows": {"set": 18}, "codecs": ["webp"]},
        {"name": "z", **both},
    ]  # fmt: skip


def test_a_baseline_of_a_codec_with_options_is_asked_for_by_its_label(tmp_path):
    variants = ("", "optimize=1", "subsampling=444")
    Store(tmp_path / "set").append(
        [one for text in variants for one in sweep("jpeg", variant=text)]
    )
    output_of("baseline", "save", "one", "--codecs", "jpeg:optimize=1", "--results", tmp_path)
    rows = Store(tmp_path / "baselines" / "one" / "set").table()
    assert set(rows["variant"].to_list()) == {"optimize=1"}
    assert [baseline["codecs"] for baseline in list_baselines(tmp_path)] == [["jpeg:optimize=1"]]


def test_a_baseline_has_the_newest_rows_of_each_codec_and_the_records_of_their_runs(tmp_path):
    store = Store(tmp_path / "set")
    runs = ("20250101T000000-aa", "20250201T000000-aa")
    for run, codec in zip(runs, ("jpeg", "webp"), strict=True):
        store.begin(run, {"machine": codec})
        store.append(sweep(codec, run=run))
    older = sweep("jpeg", fingerprint="0" * 64, run="20240101T000000-aa")
    store.append(older)
    save_baseline(tmp_path, "v1", ["set"])
    kept = Store(tmp_path / "baselines" / "v1" / "set")
    assert kept.table().height == 36
    assert [record["machine"] for record in kept.records()] == ["jpeg", "webp"]
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
