"""Row sets found by folder, results folder or baseline; what a baseline holds."""

from pathlib import Path

import pytest

from benchmark.check.row_sets import (
    dataset_folders,
    list_baselines,
    read_rows,
    read_two_row_sets,
    save_baseline,
)
from benchmark.datasets.dataset import open_folder
from benchmark.errors import StoreError, UsageError
from benchmark.rows.place import pixels_of
from benchmark.rows.store import Store
from support.bench.command import output_of
from support.files.noise import noise_images
from support.rows.measured import row, sweep, table


def results(folder, *datasets):
    for name in datasets:
        Store(folder / name).append(sweep("jpeg", [f"{name}/a", f"other/{name}"], dataset=name))
    return folder


def test_a_folder_of_rows_is_found_by_itself_and_below_a_results_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results(tmp_path / "results", "kodak", "clic")
    kodak = tmp_path / "results" / "kodak"
    assert dataset_folders(str(kodak)) == {"kodak": kodak}
    folders = {"clic": tmp_path / "results" / "clic", "kodak": kodak}
    assert [*dataset_folders(str(tmp_path / "results")).items()] == [*folders.items()]
    save_baseline(tmp_path / "results", "kept", ["kodak"])
    for name in ("v2", str(tmp_path / "nothing")):
        with pytest.raises(UsageError, match=name):
            dataset_folders(name)
    for place in (baselines := tmp_path / "results" / "baselines", Path("results/baselines")):
        assert dataset_folders(str(place / "kept")) == {"kodak": place / "kept" / "kodak"}
    assert dataset_folders("kept")["kodak"].resolve() == baselines / "kept" / "kodak"


def test_two_places_are_compared_on_a_single_dataset(tmp_path):
    def folders(first, second, dataset=""):
        return [rows.folder for rows in read_two_row_sets(str(first), str(second), str(dataset))]

    both = results(tmp_path / "both", "kodak", "clic")
    one, other = results(tmp_path / "one", "kodak"), results(tmp_path / "other", "folder-x")
    assert folders(both, one) == [both / "kodak", one / "kodak"]  # the one that they share
    assert folders(one, other) == [one / "kodak", other / "folder-x"]  # each has one
    assert folders(both, both, "clic") == [both / "clic"] * 2  # asked for by name
    with pytest.raises(UsageError, match="--dataset"):
        folders(both, both)
    with pytest.raises(UsageError, match="not of clic"):
        folders(both, one, "clic")
    photos = noise_images(tmp_path / "photos", [(8, 8)])
    (sha256,) = pixels_of(open_folder(photos).images)
    for place in ("p", "q"):
        rows = [row("jpeg", 5, "0.png", image_sha256=sha256)]
        Store(tmp_path / place / "photos-1a2b3c").append(rows)
        Store(tmp_path / place / "kodak").append(sweep("jpeg"))
    expected = [tmp_path / place / "photos-1a2b3c" for place in "pq"]
    assert folders(tmp_path / "p", tmp_path / "q", photos) == expected


def test_only_bundled_rows_are_replaced_by_another_build_measured_here(tmp_path):
    def build_row(build, **columns):
        return row("jpeg", 10, "a", fingerprint=build * 64, **columns)

    def builds(name, bundled=(), measured=()):
        store = Store(tmp_path / name)
        if bundled:
            store.write_bundled("set", table(bundled))
        store.append(measured)
        return sorted(build[0] for build in read_rows(store.folder).rows["fingerprint"])

    newer = build_row("b", finished_utc="2026-01-01T00:00:00.000+00:00")
    assert builds("alone", bundled=[build_row("a")]) == ["a"]
    assert builds("both", bundled=[build_row("a")], measured=[newer]) == ["b"]
    assert builds("measured", measured=[build_row("a"), newer]) == ["a", "b"]
    older = build_row("a", coding_protocol="coding/0")
    assert builds("rule", bundled=[older], measured=[newer]) == ["b"]


def test_a_part_of_a_dataset_has_only_the_images_of_its_folder(tmp_path):
    folder = results(tmp_path / "r", "kodak") / "kodak"
    assert set(read_rows(folder, "kodak:other").rows["image"].to_list()) == {"other/kodak"}
    assert read_rows(folder).rows.height == 12
    with pytest.raises(UsageError, match="results/kodak"):
        read_rows(tmp_path)
    Store(tmp_path / "kodak").write_record("20250101T000000-aa", {})
    (tmp_path / "kodak" / "per_image").mkdir()
    with pytest.raises(UsageError, match="kodak holds no rows"):
        read_rows(tmp_path / "kodak")


def test_a_baseline_of_some_codecs_has_only_these_and_drafts_are_not_listed(tmp_path):
    fine = sweep("jpeg", variant="optimize=1")
    Store(tmp_path / "set").append([*sweep("jpeg"), *fine, *sweep("webp")])
    words = ("baseline", "save", "some", "--codecs", "webp,jpeg:optimize=1")
    output_of(*words, "--results", tmp_path)
    rows = Store(tmp_path / "baselines" / "some" / "set").table()
    assert {*rows.select("codec", "variant").rows()} == {("webp", ""), ("jpeg", "optimize=1")}
    (tmp_path / "baselines" / ".half.123.part").mkdir()
    assert "half" not in output_of("baseline", "list", "--results", tmp_path)
    for name in ("z", "a"):
        save_baseline(tmp_path, name, ["set"])
    content = {"rows": {"set": 54}, "codecs": ["jpeg", "jpeg:optimize=1", "webp"]}
    some = {"name": "some", "rows": {"set": 36}, "codecs": ["jpeg:optimize=1", "webp"]}
    assert list_baselines(tmp_path) == [{"name": "a", **content}, some, {"name": "z", **content}]


def test_a_baseline_has_the_newest_rows_of_each_codec_and_the_records_of_their_runs(tmp_path):
    store = Store(tmp_path / "set")
    runs = ("20250101T000000-aa", "20250201T000000-aa")
    for run, codec in zip(runs, ("jpeg", "webp"), strict=True):
        store.write_record(run, {"machine": codec})
        store.append(sweep(codec, run=run))
    store.append(sweep("jpeg", fingerprint="0" * 64, run="20240101T000000-aa"))
    save_baseline(tmp_path, "v1", ["set"])
    baseline = Store(tmp_path / "baselines" / "v1" / "set")
    assert baseline.table().height == 36
    assert [record["machine"] for record in baseline.records()] == ["jpeg", "webp"]
    with pytest.raises(UsageError, match="nothing"):
        save_baseline(tmp_path, "v2", ["nothing"])


def test_a_baseline_is_written_only_inside_its_results(tmp_path):
    Store(tmp_path / "set").append(sweep("jpeg"))
    (tmp_path / "elsewhere").mkdir()
    for name in ("linked", "taken"):
        Store(tmp_path / name / "set").append(sweep("jpeg"))
    (tmp_path / "linked" / "baselines").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "taken" / "baselines").write_text("no folder")
    for name, message in (("linked", "link"), ("taken", ": Not a directory")):
        with pytest.raises(StoreError, match=message):
            save_baseline(tmp_path / name, "v1", ["set"])
    assert not list((tmp_path / "elsewhere").iterdir())
