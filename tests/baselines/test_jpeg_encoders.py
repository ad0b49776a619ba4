"""jpegli and mozjpeg: the structure of their streams, and comparisons with libjpeg-turbo."""

import re
import sys
from io import BytesIO
from types import SimpleNamespace

import pytest
from PIL import Image

from baselines import jpeg
from baselines.jpeg import JPEG, Jpegli, MozJPEG
from benchmark.codec import Setting
from benchmark.errors import Unavailable
from support.psnr import psnr

BASELINE, PROGRESSIVE = b"\xff\xc0", b"\xff\xc2"
ROBIDOUX = 16  # the smallest entry of ImageMagick's table, which is mozjpeg's third


def quality(value: float) -> Setting:
    return Setting("quality", value)


def luma_table(data: bytes) -> list[int]:
    with Image.open(BytesIO(data)) as image:
        table: list[int] = image.quantization[0]  # type: ignore[attr-defined]
        return list(table)


@pytest.mark.parametrize(
    ("codec", "frame", "sampling"),
    [
        (Jpegli(), BASELINE, 0x22),
        (MozJPEG(), PROGRESSIVE, 0x22),
        (MozJPEG(subsampling=444), PROGRESSIVE, 0x11),
    ],
    ids=["jpegli", "mozjpeg", "mozjpeg 4:4:4"],
)
def test_the_stream_has_the_stated_format(photo, codec, frame, sampling):
    data = codec.encode(photo, quality(50))
    position = data.index(frame)
    assert data[position + 4] == 8  # bits per sample; ITU-T T.81, B.2.2
    assert data[position + 11] == sampling
    assert b"JFIF" not in data
    chroma = codec.describe().chroma
    assert chroma == ("4:2:0" if sampling == 0x22 else "4:4:4")


def test_mozjpeg_takes_the_table_asked_for(photo):
    flat = luma_table(MozJPEG(table=1).encode(photo, quality(50)))
    assert set(flat) == {16}
    assert min(luma_table(MozJPEG().encode(photo, quality(50)))) == ROBIDOUX
    standard = luma_table(MozJPEG(table=0).encode(photo, quality(50)))
    assert standard == luma_table(JPEG().encode(photo, quality(50)))


def test_the_trellis_drops_what_no_lossless_recompression_could(photo):
    """This shows that mozjpeg encodes, and not a libvips that only has libjpeg-turbo."""
    lossless = BytesIO()
    Image.fromarray(photo).save(lossless, "JPEG", quality=50, progressive=True, optimize=True)
    data = MozJPEG(table=0).encode(photo, quality(50))
    assert luma_table(data) == luma_table(lossless.getvalue())
    assert len(data) < 0.95 * len(lossless.getvalue())
    assert MozJPEG().describe().version.startswith("mozjpeg 5.")


def test_jpegli_has_tables_of_its_own_and_no_application_segment(photo):
    data = Jpegli().encode(photo, quality(75))
    assert luma_table(data) != luma_table(JPEG().encode(photo, quality(75)))
    assert Jpegli().container_bytes(data) == MozJPEG().container_bytes(data) == 0
    assert psnr(photo, Jpegli().decode(data)) > 30
    assert re.match(r"pyjpegli \d+\.\d+\S*, decoded by libjpeg", Jpegli().describe().version)


@pytest.mark.parametrize(
    ("codec", "package"), [(Jpegli, "pyjpegli"), (MozJPEG, "_libvips"), (MozJPEG, "pyvips")]
)
def test_a_missing_package_makes_the_codec_unavailable(monkeypatch, codec, package):
    monkeypatch.setitem(sys.modules, package, None)
    jpeg._load_libvips.cache_clear()
    with pytest.raises(Unavailable, match=f"^{codec.name} .*package"):
        codec()


@pytest.mark.parametrize("present", [False, True])
def test_a_libvips_of_the_system_is_not_taken_for_one_with_mozjpeg(monkeypatch, tmp_path, present):
    """Neither if pyvips-binary is absent, nor if pyvips has loaded another library."""
    elsewhere = SimpleNamespace(origin=str(tmp_path / "_libvips.so"))
    if present:
        (tmp_path / "pyvips_binary.libs").mkdir()
        (tmp_path / "pyvips_binary.libs" / "libvips-1.so").touch()
    monkeypatch.setattr(jpeg, "find_spec", lambda name: elsewhere)
    jpeg._load_libvips.cache_clear()
    with pytest.raises(Unavailable, match="pyvips-binary"):
        MozJPEG()


def test_a_large_jpeg_is_decoded_without_a_warning(monkeypatch, photo):
    """Pillow warns above `MAX_IMAGE_PIXELS`, and refuses above twice that."""
    data = JPEG().encode(photo, Setting("quality", 50))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", photo.shape[0] * photo.shape[1] - 1)
    assert JPEG().decode(data).shape == photo.shape
    assert JPEG().setting_of(data) == Setting("quality", 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", photo.shape[0] * photo.shape[1] // 3)
    with pytest.raises(Image.DecompressionBombError):
        JPEG().decode(data)
