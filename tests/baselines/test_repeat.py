"""A picture that is coded repeatedly, compared with the same calls one by one."""

import numpy as np
import pytest

from benchmark.codec import Setting
from benchmark.errors import BadOption
from benchmark.facts import facts_of
from benchmark.spec import load_codec, parse_codec, refers_to_code

PIXELS = np.random.default_rng(3).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_the_stream_is_the_last_one(times):
    setting, jpeg, pixels = Setting("quality", 30), load_codec(parse_codec("jpeg")), PIXELS
    repeat = load_codec(parse_codec(f"repeat:base=jpeg:times={times}"))
    for _ in range(times):
        stream = jpeg.encode(pixels, setting)
        pixels = jpeg.decode(stream)
    assert repeat.encode(PIXELS, setting) == stream
    assert np.array_equal(repeat.decode(stream), pixels)
    assert (repeat.sweep, repeat.accepts) == (jpeg.sweep, jpeg.accepts)
    assert repeat.describe().fingerprint == jpeg.describe().fingerprint


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("base=ours", "ours:beta=0, ours:beta=3.84"),
        ("base=repeat\\:base=jpeg", "times"),
        ("base=jpeg:times=0", "times=0"),
        ("times=3", "base"),
    ],
)
def test_an_invalid_base_is_refused(options, names):
    with pytest.raises(BadOption, match=names):
        load_codec(parse_codec(f"repeat:{options}"))


def test_published_pictures_cannot_be_coded_again(tmp_path):
    (tmp_path / "sizes.csv").write_text("image,bytes\n")
    with pytest.raises(BadOption):
        load_codec(parse_codec(f"repeat:base=folder\\:path={tmp_path}"))


def test_it_has_the_colour_of_its_base_a_name_of_its_own_and_runs_no_code_of_stored_rows():
    avif, twice = (facts_of(parse_codec(codec_spec)) for codec_spec in ("avif", "repeat:base=avif"))
    looks = twice.title, twice.family, twice.colour
    assert looks == ("AVIF speed 4, coded 2 times", "avif", avif.colour)
    assert twice.typical[0].seconds[0][1] == 2 * avif.typical[0].seconds[0][1]
    options = parse_codec("repeat:base=jpeg\\:optimize=1:times=5")
    assert facts_of(options).title == "JPEG (optimised), coded 5 times"
    bases = "mine.py\\:Mine", "avif"
    assert [refers_to_code(parse_codec(f"repeat:base={codec_spec}")) for codec_spec in bases] == [
        True,
        False,
    ]
