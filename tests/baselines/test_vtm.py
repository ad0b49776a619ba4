"""VTM: its streams in the shipped pack against published numbers, its command line against a stub.

The streams, their PSNRs and the two ways of getting 8-bit RGB from them come from elsewhere: from
VTM's encoder and decoder, and from code that is not ours.
"""

import csv
import json
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.formats.ffmpeg import decode_to_y4m, read_y4m
from baselines.formats.ycbcr import Planes, rgb_to_ycbcr, ycbcr_to_rgb
from baselines.vtm import VTM
from benchmark.codec import Pixels, Setting
from benchmark.datasets.kodak import open_sample
from benchmark.errors import CorruptStream, ProgramFailed, Unavailable
from benchmark.rows.packs.pack import SHIPPED, open_pack
from benchmark.spec import CodecSpec
from benchmark.system.programs import find_program, run_program
from benchmark.system.settings import program_folders
from conftest import SHARED
from support.psnr import psnr

ANCHORS = SHARED / "data" / "anchors" / "vtm-23.13"
PACK = SHIPPED / "vtm-23.13.tar"
SPEC = CodecSpec("vtm", ())
LAST_DIGIT = 5.1e-6  # half a unit of the fifth decimal, the numbers' last
# Image, size, QP -> bytes, PSNR from 8 bits, PSNR from the internal 10 bits.
POINTS = {
    ("astronaut", 512, 512, 37): (7428, 32.1279, 32.1647),
    ("chelsea", 451, 300, 22): (19731, 40.74377, 40.98951),
    ("coffee", 600, 400, 47): (1408, 26.05244, 26.06585),
    ("motorcycle_left", 741, 500, 32): (25170, 33.88672, 33.94445),
}


@cache
def sample(name: str) -> Pixels:
    files = {file.name: file.path for file in open_sample().images}
    return read(files[f"{name}.png"])


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def convert_ten_bits(data: bytes) -> Pixels:
    """Return RGB of the decoder's 10-bit samples over 4, rounded once."""
    planes = read_y4m(decode_to_y4m(VTM()._decoder, "vvc", data)).planes
    return ycbcr_to_rgb(Planes(*(plane / 4 for plane in planes)), 8)


def recorded(image: str, qp: float) -> bytes:
    pack = open_pack(PACK)
    (result,) = (
        row
        for row in pack.rows.values()
        if (row["image"], row["setting_value"]) == (f"{image}.png", qp)
    )
    return pack.read(result)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point[0]}-{point[3]}")
def test_the_shipped_streams_decode_to_the_published_numbers(point):
    name, width, height, qp = point
    num_bytes, via_8_bits, via_10_bits = POINTS[point]
    data, source = recorded(name, qp), sample(name)
    assert len(data) == num_bytes
    decoded = VTM().decode(data)
    assert decoded.shape == source.shape == (height, width, 3)
    assert psnr(source, decoded) == pytest.approx(via_8_bits, abs=LAST_DIGIT)
    assert psnr(source, convert_ten_bits(data)) == pytest.approx(via_10_bits, abs=LAST_DIGIT)


@pytest.mark.skipif(not ANCHORS.exists(), reason="needs ../shared/data/anchors")
def test_the_shipped_pack_equals_the_anchors_stream_by_stream_and_digit_by_digit():
    """Each point agrees in hash, bytes, and the PSNR measured from the pack."""
    streams = open_pack(PACK).rows
    with (ANCHORS / "points.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert len(points) == len(streams) == 168
    for point in points:
        setting = Setting("qp", float(point["qp"]))
        stream = streams[SPEC, point["pixels_sha256"], int(point["width"]), setting]
        assert stream["stream_sha256"] == point["stream_sha256"]
        assert stream["num_bytes"] == int(point["bytes"])
        assert stream["encode_seconds"] == float(point["encode_seconds"])
        reported = float(point["psnr_rgb_db_via_8bit"])
        assert stream["psnr_db"] == pytest.approx(reported, abs=LAST_DIGIT)
        for metric in ("psnr_y_db", "ms_ssim", "lpips_alex", "lpips_squeeze"):
            assert stream[metric] > 0


def test_the_info_of_the_pack_is_that_of_the_adapter():
    info = open_pack(PACK).infos[SPEC]
    assert info.version == "VTM 23.13"
    assert info.command == VTM().command_text()
    assert "ffmpeg's native VVC decoder" in info.command


STUB = """#!{python}
import json, sys
if "--help" in sys.argv:
    print("\\nVVCSoftware: VTM Encoder Version 23.13 [Linux][GCC 12.2.0][64 bit] [SIMD=AVX2] \\n")
    sys.exit(1)
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
open({log!r}, "w").write(json.dumps(sys.argv[1:]))
{act}
"""
COPIES = 'open(words["-b"], "wb").write(open(words["-i"], "rb").read())'


class Folder:
    """VTM's source folder after a build: bin/EncoderAppStatic and cfg/encoder_intra_vtm.cfg."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, root / "called.json"
        (root / "bin").mkdir(parents=True)
        (root / "cfg").mkdir()
        (root / "cfg" / "encoder_intra_vtm.cfg").write_text("InternalBitDepth : 10\n")
        self.stub(COPIES)

    def stub(self, act: str) -> None:
        program = self.root / "bin" / "EncoderAppStatic"
        program.write_text(STUB.format(python=sys.executable, log=str(self.log), act=act))
        program.chmod(0o755)

    def called(self) -> list[str]:
        words: list[str] = json.loads(self.log.read_text())
        return words


@pytest.fixture
def folder(tmp_path, monkeypatch):
    result = Folder(tmp_path / "VTM")
    monkeypatch.setenv("VTM_DIR", str(result.root))
    return result


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(("depth", "sample_type"), [(8, np.uint8), (10, np.dtype("<u2"))])
def test_the_encoder_is_given_planes_of_its_depth_one_after_another(
    depth, sample_type, folder, photo
):
    samples_given = np.frombuffer(VTM(depth=depth).encode(photo, Setting("qp", 27)), sample_type)
    assert np.array_equal(samples_given, np.stack(rgb_to_ycbcr(photo, depth)).ravel())


def test_the_call_is_the_published_one(folder, photo):
    VTM().encode(photo, Setting("qp", 27))
    words = folder.called()
    source, stream = words[1], words[9]
    assert words == [
        *("-i", source, "-c", str(folder.root / "cfg" / "encoder_intra_vtm.cfg"), "-q", "27"),
        *("-o", "/dev/null", "-b", stream, "-wdt", "203", "-hgt", "181", "-fr", "1", "-f", "1"),
        *("--InputChromaFormat=444", "--InputBitDepth=8", "--ConformanceWindowMode=1"),
    ]
    assert not Path(source).exists(), "the file is deleted"
    reported = re.sub(r"\{\w+\}|\S+\.(cfg|yuv|vvc)", "*", VTM().command_text().partition(";")[0])
    paths = (source, stream, words[3])
    run = ["*" if word in (*paths, "27", "203", "181") else word for word in words]
    assert reported.split()[1:] == run, "what describe() says is what is run"
    VTM(depth=10).encode(photo, Setting("qp", 22))
    assert "--InputBitDepth=10" in folder.called()


def test_version_and_fingerprint_are_of_the_program_and_its_configuration(folder):
    info = VTM().describe()
    assert re.fullmatch(r"VTM 23\.13, decoded by ffmpeg \S+", info.version)
    (folder.root / "cfg" / "encoder_intra_vtm.cfg").write_text("InternalBitDepth : 8\n")
    other_fingerprint = VTM().describe().fingerprint
    assert other_fingerprint != info.fingerprint
    folder.stub("pass")
    assert VTM().describe().fingerprint not in (other_fingerprint, info.fingerprint)


def test_without_the_encoder_streams_are_decoded_and_other_calls_name_the_missing_program(
    nowhere, photo
):
    codec = VTM()
    assert codec.decode(recorded("coffee", 47)).shape == (400, 600, 3)
    remedy = r"'EncoderAppStatic' .*\$VTM_DIR"
    with pytest.raises(Unavailable, match=remedy):
        codec.describe()
    with pytest.raises(Unavailable, match=remedy):
        codec.encode(photo, Setting("qp", 27))


def test_a_program_without_its_configuration_is_unavailable(folder):
    (folder.root / "cfg" / "encoder_intra_vtm.cfg").unlink()
    with pytest.raises(Unavailable, match=r"encoder_intra_vtm\.cfg"):
        VTM().describe()


def test_streams_that_are_cut_repeated_or_of_another_format_are_refused(photo):
    data = recorded("chelsea", 37)
    for spoilt in (data[:-1], data + data):
        with pytest.raises((CorruptStream, ProgramFailed)):
            VTM().decode(spoilt)
    from baselines.video import VVenC

    vvenc = VVenC(preset="faster")
    with pytest.raises(CorruptStream, match="10-bit 4:4:4"):
        VTM().decode(vvenc.encode(photo, Setting("qp", 37))[1:])


def real_encoder() -> str:
    """Return why the encoder that made the pack is missing; empty if it is installed."""
    try:
        program = find_program("EncoderAppStatic", "build it", program_folders("VTM_DIR"))
        reported = run_program([program, "--help"], timeout_seconds=60, accepted_codes=(0, 1))
    except (Unavailable, ProgramFailed) as missing:
        return f"needs VTM's EncoderAppStatic: {missing}"
    return "" if b"Version 23.13 " in reported else "needs VTM's EncoderAppStatic of version 23.13"


@pytest.mark.skipif(bool(real_encoder()), reason=real_encoder() or "it is there")
@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_the_real_encoder_gives_the_streams_of_the_pack(name):
    assert VTM().encode(sample(name), Setting("qp", 47)) == recorded(name, 47)
