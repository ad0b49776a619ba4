"""VTM and BPG: published numbers, and how files and programs are handled, with stubs."""

import csv
import json
import os
import re
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.bpg import BPG
from baselines.formats.ffmpeg import decode_to_y4m, read_y4m
from baselines.formats.ycbcr import Planes, rgb_to_ycbcr, ycbcr_to_rgb
from baselines.video import VVenC
from baselines.vtm import VTM
from benchmark.codec import Pixels, Setting
from benchmark.datasets.kodak import open_sample
from benchmark.errors import BadOption, CorruptStream, ProgramFailed, Unavailable, UsageError
from benchmark.rows.packs.pack import SHIPPED, open_pack
from benchmark.spec import CodecSpec
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


def sample(name: str) -> Pixels:
    (path,) = (file.path for file in open_sample().images if file.name == f"{name}.png")
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def recorded(image: str, qp: float) -> bytes:
    pack, cell = open_pack(PACK), {"image": f"{image}.png", "setting_value": qp}
    return pack.read(next(row for row in pack.rows.values() if cell.items() <= row.items()))


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point[0]}-{point[3]}")
def test_the_shipped_streams_decode_to_the_published_numbers(point):
    name, width, height, qp = point
    num_bytes, via_8_bits, via_10_bits = POINTS[point]
    data, source = recorded(name, qp), sample(name)
    assert len(data) == num_bytes
    decoded = VTM().decode(data)
    assert decoded.shape == (height, width, 3)
    assert psnr(source, decoded) == pytest.approx(via_8_bits, abs=LAST_DIGIT)
    planes = read_y4m(decode_to_y4m(VTM()._decoder, "vvc", data)).planes
    rounded_once = ycbcr_to_rgb(Planes(*(plane / 4 for plane in planes)), 8)  # of 10-bit samples
    assert psnr(source, rounded_once) == pytest.approx(via_10_bits, abs=LAST_DIGIT)


@pytest.mark.skipif(not ANCHORS.exists(), reason="needs ../shared/data/anchors")
def test_the_shipped_pack_equals_the_anchors_stream_by_stream_and_digit_by_digit():
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


STUB = """#!{python}
import json, sys
if "--help" in sys.argv:
    print("\\nVVCSoftware: VTM Encoder Version 23.13 [Linux][GCC 12.2.0][64 bit] [SIMD=AVX2] \\n")
    sys.exit(1)
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
open({log!r}, "w").write(json.dumps(sys.argv[1:]))
{act}
"""


class Folder:
    def __init__(self, root: Path) -> None:
        self.log, self.program = root / "called.json", root / "bin" / "EncoderAppStatic"
        self.configuration = root / "cfg" / "encoder_intra_vtm.cfg"
        for path in (self.program, self.configuration):
            path.parent.mkdir(parents=True)
        self.configuration.write_text("InternalBitDepth : 10\n")
        self.stub('open(words["-b"], "wb").write(open(words["-i"], "rb").read())')

    def stub(self, act: str) -> None:
        self.program.write_text(STUB.format(python=sys.executable, log=str(self.log), act=act))
        self.program.chmod(0o755)

    def called(self) -> list[str]:
        return json.loads(self.log.read_text())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VTM_DIR", str(tmp_path / "VTM"))
    return Folder(tmp_path / "VTM")


def test_the_call_is_the_published_one_on_planes_of_the_depth(folder, photo):
    VTM().encode(photo, Setting("qp", 27))
    words = folder.called()
    source, stream = words[1], words[9]
    assert words == [
        *("-i", source, "-c", str(folder.configuration), "-q", "27"),
        *("-o", "/dev/null", "-b", stream, "-wdt", "203", "-hgt", "181", "-fr", "1", "-f", "1"),
        *("--InputChromaFormat=444", "--InputBitDepth=8", "--ConformanceWindowMode=1"),
    ]
    assert not Path(source).exists(), "the file is deleted"
    reported = re.sub(r"\{\w+\}|\S+\.(cfg|yuv|vvc)", "*", VTM().command_text().partition(";")[0])
    paths = (source, stream, words[3])
    run = ["*" if word in (*paths, "27", "203", "181") else word for word in words]
    assert reported.split()[1:] == run, "what describe() says is what is run"
    for depth, sample_type in ((8, np.uint8), (10, np.dtype("<u2"))):
        samples = np.frombuffer(VTM(depth=depth).encode(photo, Setting("qp", 27)), sample_type)
        assert np.array_equal(samples, np.stack(rgb_to_ycbcr(photo, depth)).ravel())
        assert f"--InputBitDepth={depth}" in folder.called()


def test_version_and_fingerprint_are_of_the_program_and_its_configuration(folder):
    infos = [VTM().describe()]
    assert re.fullmatch(r"VTM 23\.13, .* ffmpeg \S+", infos[0].version)
    folder.configuration.write_text("InternalBitDepth : 8\n")
    infos.append(VTM().describe())
    folder.stub("pass")
    infos.append(VTM().describe())
    assert len({info.fingerprint for info in infos}) == 3
    folder.configuration.unlink()
    with pytest.raises(Unavailable, match=r"encoder_intra_vtm\.cfg"):
        VTM().describe()


def test_without_the_encoder_streams_are_decoded(tmp_path, monkeypatch, photo):
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    codec = VTM()
    assert codec.decode(recorded("coffee", 47)).shape == (400, 600, 3)
    for call in (codec.describe, lambda: codec.encode(photo, Setting("qp", 27))):
        with pytest.raises(Unavailable, match=r"'EncoderAppStatic' .*\$VTM_DIR"):
            call()


def test_streams_that_are_cut_repeated_or_of_another_format_are_refused(photo):
    data = recorded("chelsea", 37)
    for spoilt in (data[:-1], data + data):
        with pytest.raises((CorruptStream, ProgramFailed)):
            VTM().decode(spoilt)
    stream = VVenC(preset="faster").encode(photo, Setting("qp", 37))
    with pytest.raises(CorruptStream, match="10-bit 4:4:4"):
        VTM().decode(stream[1:])


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_the_real_encoder_gives_the_streams_of_the_pack(name):
    try:
        version = VTM().describe().version
    except Unavailable as missing:
        version = str(missing)
    if not version.startswith("VTM 23.13,"):
        pytest.skip(f"needs VTM's EncoderAppStatic of version 23.13: {version}")
    assert VTM().encode(sample(name), Setting("qp", 47)) == recorded(name, 47)


QP = Setting("qp", 32)
HEADER = bytes.fromhex("425047fb 6000 8133 8149 00")  # 4:4:4, 8 bits; 179 and 201; no length
ENCODER = """#!{python}
import json, sys
from pathlib import Path
if sys.argv[1:] == ["-h"]:
    print("BPG Image Encoder version 0.9.8")
    sys.exit(1)
picture = Path(sys.argv[-1]).read_bytes()
Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(bytes.fromhex("{header}") + picture)
Path("{log}").write_text(json.dumps(sys.argv[1:]))
"""
DECODER = """#!{python}
import sys
from pathlib import Path
data = Path(sys.argv[-1]).read_bytes()
Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(data[data.index(b"\\x89PNG"):])
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of stubs, set as $BPG_DIR; log.json has the encoder's last call."""
    values = {"python": sys.executable, "header": HEADER.hex(), "log": tmp_path / "log.json"}
    for name, text in {"bpgenc": ENCODER, "bpgdec": DECODER}.items():
        (tmp_path / name).write_text(text.format(**values))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("BPG_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def crop(photo):
    return np.ascontiguousarray(photo[:179, :201])


def test_the_length_of_the_picture_is_filled_in_and_nothing_else_changes(programs, crop):
    data = BPG().encode(crop, QP)
    start = data.index(b"\x89PNG")
    *_, last = digits = data[len(HEADER) - 1 : start]
    assert data[: len(HEADER) - 1] == HEADER[:-1]
    length = "".join(f"{digit % 128:07b}" for digit in digits)  # seven bits a byte
    assert int(length, 2) == len(data) - start
    assert min(digits[:-1]) >= 128 > last
    assert BPG().container_bytes(data) == start
    with Image.open(BytesIO(data[start:])) as image:
        assert np.array_equal(np.asarray(image), crop)
    assert np.array_equal(BPG().decode(data), crop)


def test_the_options_are_those_of_published_curves(programs, crop):
    for options, words in (
        ({}, "-f 444 -c ycbcr -b 8 -e x265 -m 8 -q 32"),
        ({"subsampling": 420, "depth": 10, "level": 9}, "-f 420 -c ycbcr -b 10 -e x265 -m 9 -q 32"),
    ):
        BPG(**options).encode(crop, QP)
        assert json.loads((programs / "log.json").read_text())[:12] == words.split()
    info = BPG(subsampling=420).describe()
    assert (info.version, info.chroma) == ("libbpg 0.9.8", "4:2:0")
    with pytest.raises(BadOption, match=r"51.* qp=52"):
        BPG().encode(crop, Setting("qp", 52))


def test_a_truncated_file_or_an_endless_number_is_refused_before_bpgdec_runs(programs, crop):
    data = BPG().encode(crop, QP)
    bare = HEADER + data[data.index(b"\x89PNG") :]
    for spoilt in (data[:-1], data + b"\0", data[:9], data[:4], bare, b"GIF" + data):
        with pytest.raises(CorruptStream, match="BPG"):
            BPG().decode(spoilt)
    data = HEADER[:6] + b"\xff" * (1 << 24)
    with pytest.raises(CorruptStream, match="BPG"):
        BPG().container_bytes(data)


def test_a_program_that_is_missing_or_wrong_is_named(programs, crop, monkeypatch):
    (programs / "bpgenc").write_text("#!/bin/sh\necho HM\n")
    with pytest.raises(Unavailable, match=r"bpgenc .*libbpg"):
        BPG().describe()
    with pytest.raises(ProgramFailed, match=r"bpgenc .*stream"):
        BPG().encode(crop, QP)
    (programs / "bpgdec").unlink()
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UsageError, match=r"'bpgdec': .*libbpg"):
        BPG()
