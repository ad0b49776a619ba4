"""`benchmark.decoded`: the pixels of a stored stream as an array."""

import numpy as np
import pytest
from PIL import Image

import benchmark
from benchmark.errors import CorruptStream, Unavailable, UnknownName, UsageError
from benchmark.rows.store import Store


@pytest.fixture
def place(tmp_path, photo):
    """The results of a photograph, cup.png, coded by WebP at two settings."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "cup.png")
    points = {"webp.quality": [5, 60]}
    result = benchmark.run(
        "webp", str(tmp_path / "photos"), metrics="psnr", points=points,
        results=tmp_path / "results", jobs=1,
    )  # fmt: skip
    return result.matrix.store.folder


def test_it_has_the_pixels_that_were_scored(place):
    row = Store(place).table().rows(named=True)[0]
    pixels = benchmark.decoded(place, "webp", "cup", quality=row["setting_value"])
    assert pixels.dtype == np.uint8
    truth = benchmark.open_codec("webp").decode(Store(place).stream(row["stream_sha256"]))
    assert np.array_equal(pixels, truth)


def test_anything_but_a_single_stored_picture_is_refused(place):
    with pytest.raises(UsageError, match=r"quality=5, webp quality=60"):
        benchmark.decoded(place, "webp", "cup")
    with pytest.raises(UnknownName, match="'cop'"):
        benchmark.decoded(place, "webp", "cop", quality=5)
    with pytest.raises(UsageError, match="holds no rows"):
        benchmark.decoded(place.parent, "webp", "cup", quality=5)


def test_a_damaged_or_absent_stream_is_reported(place):
    row = Store(place).table().rows(named=True)[0]
    (stream,) = (place / "streams").rglob(row["stream_sha256"] + "*")
    stream.write_bytes(b"short")
    with pytest.raises(CorruptStream, match="is damaged"):
        benchmark.decoded(place, "webp", "cup.png", quality=row["setting_value"])
    stream.unlink()
    with pytest.raises(Unavailable, match="`bench run --codecs webp"):
        benchmark.decoded(place, "webp", "cup.png", quality=row["setting_value"])
