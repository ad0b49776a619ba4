"""Row sets found by folder, results folder or baseline."""

from pathlib import Path

import pytest
from PIL import Image

from benchmark.check.row_sets import dataset_folders, read_rows, save_baseline, two_row_sets
from benchmark.datasets.dataset import open_folder
from benchmark.errors import UsageError
from benchmark.rows.shard import SHIPPED
from benchmark.rows.store import Store
from benchmark.rows.stored import pixels_of
from support.rows.measured import row, sweep


def results(folder, *datasets):
    for name in datasets:
        Store(folder / name).append(sweep("jpeg", [f"{name}/a", f"other/{name}"], dataset=name))
    return folder


def test_a_folder_of_rows_is_found_by_itself_and_below_a_results_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results(tmp_path / "results", "kodak", "clic")
    kodak = tmp_path / "results" / "kodak"
    assert dataset_folders(str(kodak)) == {"kodak": kodak}
    found = {"clic": tmp_path / "results" / "clic", "kodak": kodak}
    assert [*dataset_folders(str(tmp_path / "results")).items()] == [*found.items()]
    save_baseline(tmp_path / "results", "kept", ["kodak"])
    for name in ("v2", str(tmp_path / "nothing")):
        with pytest.raises(UsageError, match="is no folder with results, nor a base"):
            dataset_folders(name)
    for place in (baselines := tmp_path / "results" / "baselines", Path("results/baselines")):
        assert dataset_folders(str(place / "kept")) == {"kodak": place / "kept" / "kodak"}
    assert dataset_folders("kept")["kodak"].resolve() == baselines / "kept" / "kodak"


def test_two_places_are_compared_on_the_one_dataset_that_is_meant(tmp_path):
    both = results(tmp_path / "both", "kodak", "clic")
    one = results(tmp_path / "one", "kodak")
    other = results(tmp_path / "other", "folder-x")
    places = [str(both), str(one), str(other), str(both)]
    result = two_row_sets(places[0], places[1], "")  # the one that they share
    assert [rows.folder for rows in result] == [both / "kodak", one / "kodak"]
    result = two_row_sets(places[1], places[2], "")  # each has one, by whatever name
    assert [rows.folder for rows in result] == [one / "kodak", other / "folder-x"]
    result = two_row_sets(places[0], places[0], "clic")  # asked for by name
    assert [rows.folder for rows in result] == [both / "clic"] * 2
    with pytest.raises(UsageError, match="say which with --dataset"):
        two_row_sets(places[0], places[3], "")
    Image.new("RGB", (8, 8), "teal").save(photos := tmp_path / "x.png")
    (tmp_path / "photos").mkdir()
    photos = photos.rename(tmp_path / "photos" / "x.png")
    (source,) = open_folder(photos.parent).images
    (sha256,) = pixels_of([source])
    for place in ("p", "q"):
        rows = [row("jpeg", 5, "x.png", image_sha256=sha256)]
        Store(tmp_path / place / "photos-1a2b3c").append(rows)
        Store(tmp_path / place / "kodak").append(sweep("jpeg"))
    result = two_row_sets(str(tmp_path / "p"), str(tmp_path / "q"), str(photos.parent))
    assert [rows.folder for rows in result] == [
        tmp_path / place / "photos-1a2b3c" for place in "pq"
    ]
    with pytest.raises(UsageError, match="has no rows of clic: it has kodak"):
        two_row_sets(places[0], places[1], "clic")


def test_bundled_rows_give_way_to_another_build_measured_here_and_no_others_do(tmp_path):
    def of(build, **columns):
        return row("jpeg", 10, "a", fingerprint=build * 64, **columns)

    def builds(name, bundled=(), measured=()):
        folder = tmp_path / name
        if bundled:
            Store(folder).append([*bundled])
            (shard,) = (folder / "per_image").glob("*.parquet")
            shard.rename(shard.with_name(f"{SHIPPED}set.parquet"))
        if measured:
            Store(folder).append([*measured])
        return sorted(one[0] for one in read_rows(folder).rows["fingerprint"].to_list())

    newer = of("b", finished_utc="2026-01-01T00:00:00.000+00:00")
    assert builds("alone", bundled=[of("a")]) == ["a"]
    assert builds("both", bundled=[of("a")], measured=[newer]) == ["b"]
    assert builds("measured", measured=[of("a"), newer]) == ["a", "b"]
    older = of("a", coding_protocol="coding/0")
    assert builds("rule", bundled=[older], measured=[newer]) == ["b"]


def test_a_part_of_a_dataset_has_the_images_in_its_folder_alone(tmp_path):
    folder = results(tmp_path / "r", "kodak") / "kodak"
    assert set(read_rows(folder, "kodak:other").rows["image"].to_list()) == {"other/kodak"}
    assert read_rows(folder).rows.height == 12
    with pytest.raises(UsageError, match="holds no rows: name a folder like results/kodak"):
        read_rows(tmp_path)
    Store(tmp_path / "kodak").begin("20250101T000000-aa", {})
    (tmp_path / "kodak" / "per_image").mkdir()
    with pytest.raises(UsageError, match="kodak holds no rows: measure some"):
        read_rows(tmp_path / "kodak")
