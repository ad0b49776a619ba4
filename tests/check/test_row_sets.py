"""Row sets found by folder, results folder or baseline."""

import pytest
from PIL import Image

from benchmark.check.row_sets import (
    dataset_folders,
    read_rows,
    refuse_unknown_codec,
    save_baseline,
    two_row_sets,
)
from benchmark.datasets.dataset import open_folder
from benchmark.errors import UnknownName, UsageError
from benchmark.rows.shard import SHIPPED
from benchmark.rows.store import Store
from benchmark.rows.stored import pixels_of
from support.rows.measured import row, sweep


def results(folder, *datasets):
    for name in datasets:
        Store(folder / name).append(sweep("jpeg", [f"{name}/a", f"other/{name}"], dataset=name))
    return folder


def test_a_folder_of_rows_is_found_by_itself_and_below_a_results_folder(tmp_path):
    results(tmp_path / "r", "kodak", "clic")
    kodak = tmp_path / "r" / "kodak"
    assert dataset_folders(str(kodak), tmp_path) == {"kodak": kodak}
    assert dataset_folders(str(tmp_path / "r"), tmp_path) == {
        "clic": tmp_path / "r" / "clic", "kodak": kodak,
    }  # fmt: skip
    assert list(dataset_folders(str(tmp_path / "r"), tmp_path)) == ["clic", "kodak"]
    nowhere = pytest.raises(UsageError, match="is no folder with results, nor a baseline")
    for name in ("v2", str(tmp_path / "nothing")):
        with nowhere:
            dataset_folders(name, tmp_path)
    save_baseline(tmp_path / "r", "kept", ["kodak"])
    with nowhere:
        dataset_folders(str(tmp_path / "nothing"), tmp_path / "r")
    with pytest.raises(UnknownName, match="No baseline 'v2'"):
        dataset_folders("v2", tmp_path / "r")
    kept = tmp_path / "r" / "baselines" / "kept" / "kodak"
    assert dataset_folders("kept", tmp_path / "r") == {"kodak": kept}


def test_two_places_are_compared_on_the_one_dataset_that_is_meant(tmp_path):
    both = results(tmp_path / "both", "kodak", "clic")
    one = results(tmp_path / "one", "kodak")
    other = results(tmp_path / "other", "folder-x")
    places = [str(both), str(one), str(other), str(both)]
    result = two_row_sets(places[0], places[1], "", tmp_path)  # the one that they share
    assert [rows.folder for rows in result] == [both / "kodak", one / "kodak"]
    result = two_row_sets(places[1], places[2], "", tmp_path)  # each has one, by whatever name
    assert [rows.folder for rows in result] == [one / "kodak", other / "folder-x"]
    result = two_row_sets(places[0], places[0], "clic", tmp_path)  # asked for by name
    assert [rows.folder for rows in result] == [both / "clic"] * 2
    with pytest.raises(UsageError, match="say which with --dataset"):
        two_row_sets(places[0], places[3], "", tmp_path)
    Image.new("RGB", (8, 8), "teal").save(photos := tmp_path / "x.png")
    (tmp_path / "photos").mkdir()
    photos = photos.rename(tmp_path / "photos" / "x.png")
    (source,) = open_folder(photos.parent).images
    (sha256,) = pixels_of([source])
    for place in ("p", "q"):
        rows = [row("jpeg", 5, "x.png", image_sha256=sha256)]
        Store(tmp_path / place / "photos-1a2b3c").append(rows)
        Store(tmp_path / place / "kodak").append(sweep("jpeg"))
    result = two_row_sets(str(tmp_path / "p"), str(tmp_path / "q"), str(photos.parent), tmp_path)
    assert [rows.folder for rows in result] == [
        tmp_path / place / "photos-1a2b3c" for place in "pq"
    ]
    with pytest.raises(UsageError, match="has no rows of clic: it has kodak"):
        two_row_sets(places[0], places[1], "clic", tmp_path)


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


def test_a_codec_of_a_file_is_once_among_the_known_ones(tmp_path):
    Store(tmp_path / "set").append([row("./mine.py:Mine", 10, "a"), row("jpeg", 10, "a")])
    rows = read_rows(tmp_path / "set", "set")
    with pytest.raises(UnknownName, match=r"Known: jpeg, mine\.py:Mine\.$"):
        refuse_unknown_codec("./other.py:Other", (rows, rows))
