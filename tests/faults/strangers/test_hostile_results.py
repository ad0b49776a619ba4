"""A folder of results that is read where it lies: no pipe in it is waited for."""

import os

import numpy as np
import pytest

from benchmark.errors import StoreError
from benchmark.rows.store import Store
from benchmark.rows.streams import FeatureFolder, ImageFeatures


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def test_a_pipe_in_the_place_of_a_file_of_results_is_refused_by_name(work):
    results, store = work.parent, Store(work.parent)
    stream = next(iter(store.streams()))
    with pytest.raises(StoreError, match=f"{stream.name} cannot be read: it is no regular file"):
        Store(pipe(stream).parents[2]).stream(stream.name)
    pipe(results / "runs" / "x.json")
    with pytest.raises(StoreError, match=r"x\.json cannot be read: .*it is no regular file"):
        store.record("x")
    pipe(results / "per_image" / ".shipped-a.parquet.sha256")
    (shard,) = results.glob("per_image/*.parquet")
    shard.rename(shard.with_name("shipped-a.parquet"))
    with pytest.raises(StoreError, match="it is no regular file"):
        store.table()


def test_features_that_are_a_pipe_count_as_none(tmp_path):
    folder = FeatureFolder(tmp_path)
    one = ImageFeatures("space/1", "a" * 64, np.zeros((2, 3), np.float32))
    folder.keep(one)
    assert folder.read(one.protocol, one.pixels_sha256) is not None
    (path,) = folder.folder.glob("*/*/*.npy")
    pipe(path)
    assert folder.read(one.protocol, one.pixels_sha256) is None
    assert not path.exists()
