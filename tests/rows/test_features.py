"""Features and reduced distribution metrics on disk: whole or not at all, within a size."""

import os

import numpy as np

from benchmark.metrics.distribution_metric import Reduced
from benchmark.rows.features import (
    MOST_SHARDS,
    FeatureFolder,
    ImageFeatures,
    Pair,
    Reduction,
    Reductions,
    reduction_key,
)


def reduction(number):
    key = reduction_key("fid256/1", [Pair("source", str(number))])
    return Reduction(key, "fid256", "fid256/1", Reduced(float(number), np.array([0.5, -0.5])))


def test_what_is_added_is_kept_and_a_seventeenth_file_puts_all_together(tmp_path):
    counts = []
    for number in range(MOST_SHARDS + 2):
        Reductions(tmp_path).add([reduction(number)])
        counts.append(len(list((tmp_path / "sets").iterdir())))
    assert counts == [*range(1, 17), 1, 2]
    kept = Reductions(tmp_path)
    for number in range(MOST_SHARDS + 2):
        assert kept.get(reduction(number).key).value == number


def test_the_key_of_a_set_does_not_depend_on_the_order_of_its_pairs():
    pairs = [Pair("a", "b"), Pair("c", "d")]
    assert reduction_key("p", pairs) == reduction_key("p", pairs[::-1])
    assert reduction_key("p", pairs) != reduction_key("q", pairs)
    assert reduction_key("p", pairs) != reduction_key("p", [Pair("b", "a"), Pair("c", "d")])


def test_a_folder_that_cannot_be_written_costs_nothing_but_what_was_new(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    kept = Reductions(tmp_path)
    kept.add([reduction(1)])
    monkeypatch.setattr(os, "replace", full)
    kept.add([reduction(2)])
    monkeypatch.undo()
    assert kept.get(reduction(2).key).value == 2.0, "known to this process all the same"
    assert [path.suffix for path in kept.folder.iterdir()] == [".parquet"], "no draft is left"
    again = Reductions(tmp_path)
    assert again.get(reduction(1).key).value == 1.0
    assert again.get(reduction(2).key) is None


def test_features_stay_below_their_size_and_those_read_longest_ago_go_first(tmp_path):
    kept, digests = FeatureFolder(tmp_path), [f"{number:064x}" for number in range(4)]
    for number, digest in enumerate(digests):
        kept.keep(ImageFeatures("colours/1", digest, np.full((2, 3), number, np.float32)))
        path = next((tmp_path / "features").glob(f"*/*/{digest}.npy"))
        os.utime(path, (number, number))
    assert np.array_equal(kept.read("colours/1", digests[0]), np.zeros((2, 3), np.float32))
    assert kept.prune(2.5 * path.stat().st_size) == 2
    assert [kept.has("colours/1", digest) for digest in digests] == [True, False, False, True]
