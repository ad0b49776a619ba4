"""JPEG 2000: what its headers say, the rate and the PSNR that it is asked for, bundled rows."""

import hashlib
import struct
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import features

from baselines import raster
from baselines.raster import JPEG2000
from benchmark.codec import Setting
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.errors import Unavailable
from benchmark.rows.schema import cell_key
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from support.psnr import psnr
from support.rows.bundled_results import bundled_results

OPJ_COMPRESS = "57224187261032a3f037772fb0d551f5b9e1f1e18ea197ca22039f92f4e32e39"


def bundled(dataset: str) -> list[dict[str, Any]]:
    """Return the bundled rows of JPEG 2000."""
    rows = Store(bundled_results() / dataset).versions(bundled=True)
    return [row for row in rows.rows(named=True) if row["codec"] == "jpeg2000"]


def codestream_segments(data: bytes) -> dict[bytes, bytes]:
    """Marker to content in a JPEG 2000 main header; ISO/IEC 15444-1, annex A."""
    assert data[:2] == b"\xff\x4f"
    result, start = {}, 2
    while (marker := data[start : start + 2]) != b"\xff\x90":
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        result[marker] = data[start + 4 : end]
        start = end
    return result


@pytest.mark.parametrize(("control", "progression", "levels"), [("ratio", 0, 5), ("psnr", 2, 4)])
def test_jpeg2000_states_the_wavelet_and_carries_no_comment(photo, control, progression, levels):
    codec = JPEG2000(control=control)
    segments = codestream_segments(codec.encode(photo, codec.sweep[4]))
    assert segments.keys() == {b"\xff\x51", b"\xff\x52", b"\xff\x5c"}  # SIZ, COD, QCD
    assert struct.unpack_from(">BBHBB", segments[b"\xff\x52"])[1:] == (progression, 1, 1, levels)
    assert segments[b"\xff\x52"][9] == 0  # 9/7 irreversible


def test_jpeg2000_without_its_comment_decodes_to_the_same_pixels(photo):
    signed = imagecodecs.jpeg2k_encode(photo, 34, codecformat="j2k", reversible=False)
    data = JPEG2000(control="psnr").encode(photo, Setting("psnr", 34))
    assert b"OpenJPEG" in signed
    assert len(signed) > len(data)
    assert np.array_equal(JPEG2000().decode(data), imagecodecs.jpeg2k_decode(signed))


@pytest.mark.parametrize("target", [28, 33.5, 40])
def test_jpeg2000_meets_the_psnr_it_is_asked_for(coffee, target):
    data = JPEG2000(control="psnr").encode(coffee, Setting("psnr", target))
    assert psnr(coffee, JPEG2000().decode(data)) == pytest.approx(target, abs=0.4)


@pytest.mark.parametrize("ratio", [100, 48, 12.5])
def test_jpeg2000_meets_the_ratio_it_is_asked_for_and_wastes_nothing(coffee, ratio):
    """Another way to the same bytes, a target of PSNR, is no better at them."""
    data = JPEG2000().encode(coffee, Setting("ratio", ratio))
    comment = 39  # OpenJPEG counts it, and it is removed
    assert len(data) + comment == pytest.approx(coffee.size / ratio, rel=0.02)
    quality = psnr(coffee, JPEG2000().decode(data))
    psnr_stream = JPEG2000(control="psnr").encode(coffee, Setting("psnr", quality))
    assert len(data) <= 1.02 * len(psnr_stream)


def test_jpeg2000_makes_the_bytes_of_openjpeg_2_5_4_at_a_ratio(photo):
    if features.version("jpg_2000") != "2.5.4":
        pytest.skip("OpenJPEG is not 2.5.4")
    data = JPEG2000().encode(photo, Setting("ratio", 20))
    assert hashlib.sha256(data).hexdigest() == OPJ_COMPRESS


def test_bundled_rows_of_jpeg2000_are_of_the_streams_that_it_makes():
    codec, info = JPEG2000(), JPEG2000().describe()
    rows = [row for row in bundled("sample") if row["setting_value"] in (240, 48)]
    assert len(rows) == 2 * 4
    images = {image.name: image.path for image in open_sample().images}
    for row in rows:
        pixels = read_image(images[row["image"]]).pixels
        data = codec.encode(pixels, Setting("ratio", row["setting_value"]))
        assert len(data) == pytest.approx(row["num_bytes"], rel=0.01)
        if row["fingerprint"] == info.fingerprint:  # the same wheel
            assert hashlib.sha256(data).hexdigest() == row["stream_sha256"]


def test_bundled_rows_of_jpeg2000_are_two_variants_with_a_curve_each():
    result: dict[tuple[str, str, int], set[tuple[float, str]]] = {}
    for row in bundled("kodak"):
        kind = row["variant"], row["setting_name"], row["revision"]
        result.setdefault(kind, set()).add((row["setting_value"], row["image"]))
        info = replace(JPEG2000().describe(), fingerprint=row["fingerprint"], revision=kind[2])
        spec, setting = CodecSpec.parse("jpeg2000", kind[0]), Setting(kind[1], row["setting_value"])
        place = row["image_sha256"], row["width_px"], row["coding_protocol"]
        assert cell_key(spec, info, setting, *place) == row["cell"]
    assert {kind: len(cells) for kind, cells in result.items()} == {
        ("", "ratio", 2): 8 * 24,
        ("control=psnr", "psnr", 1): 8 * 24,
    }


def test_a_pillow_without_openjpeg_leaves_the_other_control(monkeypatch, photo):
    monkeypatch.setattr(features, "version", lambda name: None)
    for attempt in (JPEG2000().describe, lambda: JPEG2000().encode(photo, Setting("ratio", 20))):
        with pytest.raises(Unavailable, match="jpeg2000:control=psnr"):
            attempt()
    by_psnr = JPEG2000(control="psnr")
    assert by_psnr.describe().fingerprint
    assert by_psnr.encode(photo, Setting("psnr", 30))


def test_the_fingerprint_covers_the_encoder_of_pillow_and_the_decoder_of_imagecodecs(monkeypatch):
    monkeypatch.setattr(raster, "files_sha256", lambda paths: [*paths])
    folders = [path.parent.name for path in JPEG2000().describe().fingerprint]
    assert set(folders) == {"PIL", "pillow.libs", "imagecodecs", "imagecodecs.libs"}
