"""Reduced distribution metrics on disk: kept one after another, whole or not at all."""

import os

import numpy as np

from benchmark.metrics.distribution_metric import Reduced
from benchmark.rows.features import MOST_SHARDS, Pair, Reduction, Reductions, reduction_key


def reduction(number):
    key = reduction_key("fid256/1", [Pair("source", str(number))])
    return Reduction(key, "fid256", "fid256/1", Reduced(float(number), np.array([0.5, -0.5])))


def test_what_is_added_to_an_existing_folder_is_kept_beside_what_was_there(tmp_path):
    for number in range(MOST_SHARDS + 2):
        Reductions(tmp_path).add([reduction(number)])
    found = Reductions(tmp_path)
    for number in range(MOST_SHARDS + 2):
        assert found.get(reduction(number).key).value == number
    assert len(list(found.folder.iterdir())) <= MOST_SHARDS


def test_a_seventeenth_file_puts_all_together(tmp_path):
    kept = Reductions(tmp_path)
    counts = []
    for number in range(18):
        kept.add([reduction(number)])
        counts.append(len(list(kept.folder.iterdir())))
    assert counts == [*range(1, 17), 1, 2]


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
