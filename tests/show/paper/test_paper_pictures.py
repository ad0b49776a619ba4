"""The part and the rows that crops are of."""

import hashlib

import numpy as np
import pytest

from benchmark.rows.packs.contents import dataset_contents
from benchmark.rows.store import Store
from benchmark.show.figures.picture_sheet import most_different
from benchmark.show.paper.crops import rows_with_streams
from support.rows.measured import row


def test_the_part_shown_is_where_the_codecs_disagree():
    chance = np.random.default_rng(1)
    same = chance.integers(0, 255, (96, 128, 3), dtype=np.uint8)  # detail alone does not count
    other = same.copy()
    other[40:72, 64:96] = 255 - same[40:72, 64:96]
    assert most_different([same, same, other], 32) == (64, 40, 32, 32)
    assert most_different([same, other], 500)[2:] == (96, 96)


def kept(store, name, **columns):
    """A row of jpeg with a kept stream of its own."""
    stream = name.encode()
    store.keep(stream)
    digest = hashlib.sha256(stream).hexdigest()
    columns = {"codec_version": name, "decoded_sha256": "0" * 64, **columns}
    cell = {"cell": name, "stream_sha256": digest}
    return row("jpeg", 20, "a.png", bytes_origin="measured", **columns) | cell


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "garden")


def versions(store):
    result = rows_with_streams(dataset_contents(store.folder.parent, "garden", []))
    return [one["codec_version"] for one in result["a.png"]["jpeg"]]


def test_rows_of_an_earlier_adapter_revision_are_not_shown(store):
    old, new = "20250101T000000-aa", "20260101T000000-aa"
    store.append([kept(store, "new", revision=2, run=new), kept(store, "old", revision=1, run=old)])
    assert versions(store) == ["new"]


def test_rows_without_a_stream_at_hand_and_failed_ones_are_not_shown(store):
    lost = kept(store, "lost", setting_value=40.0) | {"stream_sha256": "1" * 64}
    store.append(
        [kept(store, "kept"), lost, kept(store, "failed", setting_value=60.0, status="failed")]
    )
    assert versions(store) == ["kept"]
