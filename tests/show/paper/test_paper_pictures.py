"""Distortions of one error, and the rate, part and rows that crops are of."""

import hashlib

import numpy as np
import pytest

from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.metrics.psnr import mean_squared_error, psnr
from benchmark.rows.packs.contents import dataset_contents
from benchmark.rows.store import Store
from benchmark.show.figures.pictures import most_different
from benchmark.show.paper.crops import rows_with_streams
from benchmark.show.paper.distortions import equal_distortions
from support.rows.measured import row


@pytest.fixture(scope="module")
def photograph():
    path = next(image.path for image in open_sample().images if image.name == "chelsea.png")
    return read_image(path).pixels[60:220, 60:260]


@pytest.mark.parametrize("psnr_db", [20.0, 24.0, 30.0])
def test_three_distortions_have_exactly_one_mean_squared_error(photograph, psnr_db):
    result = equal_distortions(photograph, psnr_db)
    assert list(result) == ["Less contrast", "Blur", "Noise"]
    errors = {mean_squared_error(photograph, pixels) for pixels in result.values()}
    assert len(errors) == 1
    differences = [pixels.astype(float) - photograph for pixels in result.values()]
    assert len({float((difference**2).sum()) for difference in differences}) == 1
    assert psnr(photograph, result["Blur"]) == pytest.approx(psnr_db, abs=1e-4)


def test_distortions_are_what_they_are_called(photograph):
    contrast, blur, noise = (
        pixels.astype(float) for pixels in equal_distortions(photograph, 26.0).values()
    )
    signal = photograph.astype(float)

    def detail(pixels):
        return np.abs(np.diff(pixels, axis=1)).mean()

    assert contrast.std() < signal.std()
    for channel in range(3):  # towards the mean of each, so all of it stays in place
        both = contrast[..., channel].ravel(), signal[..., channel].ravel()
        assert np.corrcoef(both)[0, 1] > 0.999
    assert detail(blur) < 0.6 * detail(signal)
    assert detail(noise) > 1.5 * detail(signal)
    again = equal_distortions(photograph, 26.0)
    assert np.array_equal(again["Noise"], noise)


def test_a_photograph_that_cannot_be_changed_by_as_much_is_refused():
    with pytest.raises(ValueError, match="cannot change this photograph"):
        equal_distortions(np.full((16, 16, 3), 128, np.uint8), 24.0)


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
