"""Pictures show the rows that means are taken over: one edition of a codec, the latest."""

import hashlib

import pytest

from benchmark.packs.contents import dataset_contents
from benchmark.paper.crops import rows_with_streams
from benchmark.rows.store import Store
from support.rows.measured import row


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
    found = rows_with_streams(dataset_contents(store.folder.parent, "garden", []))
    return [one["codec_version"] for one in found["a.png"]["JPEG"]]


def test_rows_of_an_earlier_adapter_revision_are_not_shown(store):
    old, new = "20250101T000000-aa", "20260101T000000-aa"
    store.append([kept(store, "new", revision=2, run=new), kept(store, "old", revision=1, run=old)])
    assert versions(store) == ["new"]


def test_rows_of_another_coding_protocol_are_not_shown_even_if_they_are_later(store):
    store.append(
        [
            kept(store, "now"),
            kept(store, "other", run="20990101T000000-aa", coding_protocol="coding/0",
                 fingerprint="e" * 64),
        ]
    )  # fmt: skip
    assert versions(store) == ["now"]


def test_rows_without_a_stream_at_hand_and_failed_ones_are_not_shown(store):
    lost = kept(store, "lost", setting_value=40.0) | {"stream_sha256": "1" * 64}
    store.append(
        [kept(store, "kept"), lost, kept(store, "failed", setting_value=60.0, status="failed")]
    )
    assert versions(store) == ["kept"]
