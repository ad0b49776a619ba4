"""Features and reduced distribution metrics on disk: complete or absent, within a size limit."""

import os
from io import BytesIO
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

from benchmark.errors import DamagedResults, StoreError, UsageError
from benchmark.rows.reduce import MAX_SHARDS, Reductions, reduction_key
from benchmark.rows.streams import FeatureFolder, ImageFeatures, features_budget_bytes
from support.files.hostile_files import MakesFolder


def reduction(number):
    key = reduction_key("fid256/1", [("source", str(number))])
    return key, "fid256", "fid256/1", float(number), [0.5, -0.5]


def test_what_is_added_is_kept_and_a_seventeenth_file_merges_all(tmp_path):
    counts, numbers = [], range(MAX_SHARDS + 2)
    for number in numbers:
        Reductions(tmp_path).add([reduction(number)])
        counts.append(len(list((tmp_path / "sets").iterdir())))
    assert counts == [*range(1, 17), 1, 2]
    reductions = Reductions(tmp_path)
    assert [reductions.get(reduction(number)[0]).value for number in numbers] == [*numbers]
    # Files that another run has merged are not missed.
    for number in range(MAX_SHARDS - 2):
        reductions.add([reduction(99 + number)])
    next((tmp_path / "sets").iterdir()).unlink()
    reductions.add([reduction(MAX_SHARDS + 99)])
    assert len(list((tmp_path / "sets").iterdir())) == 1


def test_the_key_of_a_set_does_not_depend_on_the_order_of_its_pairs():
    pairs = [("a", "b"), ("c", "d")]
    assert reduction_key("p", pairs) == reduction_key("p", pairs[::-1])
    assert reduction_key("p", pairs) != reduction_key("q", pairs)
    assert reduction_key("p", pairs) != reduction_key("p", [("b", "a"), ("c", "d")])


def test_a_folder_that_cannot_be_written_costs_nothing_but_what_was_new(tmp_path):
    reductions = Reductions(tmp_path)
    reductions.add([reduction(1)])
    with patch("os.replace", side_effect=OSError(28, "No space left on device")):
        reductions.add([reduction(2)])
    assert reductions.get(reduction(2)[0]).value == 2.0, "still known to this process"
    assert [path.suffix for path in reductions.folder.iterdir()] == [".parquet"], "no draft is left"
    new_reductions = Reductions(tmp_path)
    assert new_reductions.get(reduction(1)[0]).value == 1.0
    assert new_reductions.get(reduction(2)[0]) is None


def test_features_stay_below_their_size_and_those_read_longest_ago_go_first(tmp_path):
    features, digests = FeatureFolder(tmp_path), [f"{number:064x}" for number in range(4)]
    for number, digest in enumerate(digests):
        features.keep(ImageFeatures("colours/1", digest, np.full((2, 3), number, np.float32)))
        path = next((tmp_path / "features").glob(f"*/*/{digest}.npy"))
        os.utime(path, (number, number))
    assert np.array_equal(features.read("colours/1", digests[0]), np.zeros((2, 3), np.float32))
    assert features.prune(3.5 * path.stat().st_size) == 1
    assert features.prune(2 * path.stat().st_size) == 1
    assert features.prune(2 * path.stat().st_size) == 0, "they fit"
    assert [features.has("colours/1", digest) for digest in digests] == [True, False, False, True]


def as_npy(array):
    content = BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_a_damaged_file_of_features_is_removed_and_no_pickle_is_run(tmp_path):
    features, digest, trap = FeatureFolder(tmp_path), "ab" * 32, tmp_path / "trap"
    assert features.read("colours/1", digest) is None
    whole = as_npy(np.float32([[1, 2]]))
    arrays = (
        np.float32([1, 2]), np.float64([[1, 2]]), np.float32([[1, np.inf]]),
        np.float32([[np.nan, 2]]), np.array([[MakesFolder(trap)]], object),
    )  # fmt: skip
    for content in (whole, *map(as_npy, arrays), whole[:-1], b"no features", b""):
        features.keep(ImageFeatures("colours/1", digest, np.zeros((1, 2))))
        (path,) = tmp_path.glob("features/colours_1/ab/*.npy")
        path.write_bytes(content)
        result = features.read("colours/1", digest)
        assert (result is not None and result.tolist() == [[1, 2]]) is (content is whole)
        assert path.exists() == features.has("colours/1", digest) == (content is whole)
    assert not trap.exists()


def test_reductions_are_bundled_in_the_order_of_their_keys_and_no_folder_is_one(tmp_path):
    source, bundled = Reductions(tmp_path / "mine"), Reductions(tmp_path / "bundled")
    entries = [reduction(number) for number in range(9)]
    entries.append(("x", "mine", "mine/1", 2.0, None))
    source.add(entries)
    path = bundled.write_bundled("field", source)
    assert path.name == "shipped-field.parquet"
    assert pl.read_parquet(path)["key"].to_list() == sorted(entry[0] for entry in entries)
    new_reductions = Reductions(tmp_path / "bundled")
    assert new_reductions.get("x").influence is None
    assert new_reductions.get(entries[3][0]).influence.tolist() == [0.5, -0.5]
    (tmp_path / "bundled" / "sets" / "folder.parquet").mkdir()
    with pytest.raises(StoreError, match=r"folder\.parquet"):
        Reductions(tmp_path / "bundled")


def test_the_size_of_features_is_that_of_the_variable_or_refused(monkeypatch):
    for text, gib in (("", 20), ("0", 0), ("1.5", 1.5)):
        monkeypatch.setenv("BENCH_FEATURES_GIB", text)
        assert features_budget_bytes() == gib * 2**30
    for text in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv("BENCH_FEATURES_GIB", text)
        with pytest.raises(UsageError, match="BENCH_FEATURES_GIB"):
            features_budget_bytes()


def test_a_file_with_other_columns_is_left_out_with_a_warning(tmp_path):
    Reductions(tmp_path).add([reduction(1)])
    foreign = tmp_path / "sets" / f"{'0' * 32}.parquet"
    pl.DataFrame({"key": ["a"]}).write_parquet(foreign)
    with pytest.warns(DamagedResults) as caught:
        reductions = Reductions(tmp_path)
    assert (caught[0].message.file, reductions.get(reduction(1)[0]).value) == (foreign, 1.0)
    for number in range(MAX_SHARDS + 1):
        reductions.add([reduction(number + 2)])
    assert foreign.exists(), "another version may read it"
    assert len(list(reductions.folder.iterdir())) < MAX_SHARDS
