"""`bench encode` and `bench decode` with any codec: the codec's streams and pixels, or an error."""

import numpy as np
import pytest
from PIL import Image

import benchmark
from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.rows.packs.pack import find_pack, shipped_packs
from benchmark.spec import CodecSpec
from support.bench.command import output_of
from support.codecs.files import FAKES


@pytest.fixture
def place(tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("in.png")
    return tmp_path


def pixels_of(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize(("codec", "point", "recognised"), [
    ("jpeg:subsampling=444", "quality=30", "jpeg"), ("jpegli", "quality=55", "jpeg"),
    ("mozjpeg", "quality=50", "jpeg"), ("webp", "quality=15", "webp"),
    ("jpeg2000", "ratio=48", "jpeg2000"), ("jpegxl", "distance=3", "jpegxl"),
    ("avif", "crf=42", "avif"),
])  # fmt: skip
def test_a_standard_format_is_recognised(place, photo, codec, point, recognised):
    message = output_of("encode", "in.png", "out.bin", "--codec", codec, "--point", point)
    stream = (place / "out.bin").read_bytes()
    (name, _, value), bound = point.partition("="), benchmark.open_codec(codec)
    assert stream == bound.encode(photo, **{name: float(value)})
    bpp = 8 * len(stream) / (181 * 203)
    assert message == f"out.bin: {len(stream)} bytes, {bpp:.4f} bpp at {point}\n"
    message = output_of("decode", "out.bin", "out.png")
    assert message.startswith("out.png: 203 x 181 ")
    assert message.endswith(f" {recognised}\n")
    assert np.array_equal(pixels_of("out.png"), bound.decode(stream))


def test_other_streams_are_decoded_by_the_codec_that_is_named_also_without_an_encoder(place, photo):
    for codec in ("raw", f"{FAKES}:Honest"):
        assert " at " in output_of("encode", "in.png", "out.bin", "--codec", codec), "which setting"
        stream = (place / "out.bin").read_bytes()
        assert stream == benchmark.open_codec(codec).encode(photo), "the middle setting by default"
        output_of("decode", "out.bin", "out.png", "--codec", codec)
        assert np.array_equal(pixels_of("out.png"), benchmark.open_codec(codec).decode(stream))
    pack = find_pack(shipped_packs(), CodecSpec("vtm", ()))
    smallest_row = min(pack.rows.values(), key=lambda row: row["num_bytes"])
    (place / "kept").write_bytes(pack.read(smallest_row))
    output_of("decode", "kept", "out.png", "--codec", "vtm")
    assert pixels_of("out.png").shape[1] == smallest_row["width_px"]
    with pytest.raises(UsageError, match="--codec"):
        output_of("decode", "kept", "out.png")


# Command, where {} is the file of fakes -> type of the error, and a part of it.
MISTAKES = {
    "decode in.png out.png": (UsageError, "in.png "),
    "decode a.jpg out.png --beta 1": (UsageError, "--beta "),
    "decode cut.jpg out.png": (UsageError, "cut.jpg "),
    "decode a.jpg out.png --codec webp": (UsageError, " webp: "),
    "decode a.jpg out.png --codec raw": (UsageError, " raw: "),
    "decode honest out.png --codec {}:ReturnsFloats": (UsageError, "RGB"),
    "decode a.jpg out.png --codec {}:Missing": (Unavailable, ""),
    "encode in.png x --codec jpeg --q-map m": (UsageError, "--q-map"),
    "encode in.png x --codec jpeg --point quality": (UsageError, "quality=30"),
    "encode in.png x --codec jpeg --point q=3": (UsageError, "'q'"),
    "encode in.png x --codec jpeg --point quality=300": (UsageError, "quality=300"),
    "encode in.png no/x --codec raw": (UsageError, "no/x"),
    "encode in.png x --codec {}:CrashesOnEncode": (BenchError, "RuntimeError: no rate control"),
}


@pytest.mark.parametrize("command", MISTAKES)
def test_what_cannot_be_is_one_sentence_and_no_file(place, photo, command):
    error, message = MISTAKES[command]
    jpeg = benchmark.open_codec("jpeg").encode(photo, quality=50)
    (place / "a.jpg").write_bytes(jpeg)
    (place / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (place / "honest").write_bytes(benchmark.open_codec(f"{FAKES}:Honest").encode(photo))
    with pytest.raises(error) as reported:
        output_of(*(word.format(FAKES) for word in command.split()))
    assert message in str(reported.value)
    assert "\n" not in str(reported.value)
    assert not (place / "out.png").exists()
    assert not (place / "x").exists()
