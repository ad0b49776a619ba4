"""AVIF, x264, x265 and VVenC: headers of their streams, and what decoders make of them."""

import re
import struct
from collections import Counter

import imagecodecs
import numpy as np
import pytest

from baselines.formats.ffmpeg import find_ffmpeg, read_y4m
from baselines.video import AVIF, VVENC_PARAMETERS, X264, X265, X265_PARAMETERS, VVenC
from benchmark.codec import Codec, Setting
from benchmark.errors import CorruptStream, ProgramFailed, Unavailable
from benchmark.system.programs import run_program
from support.files.boxes import boxes
from support.psnr import psnr

UNITS = {  # besides parameter sets of the sequence and of the picture
    "h264": {"Slice Header"}, "hevc": {"Video Parameter Set", "Slice Segment Header"},
    "vvc": {"Slice Header", "Prefix Adaptation parameter set"},
}  # fmt: skip
HEADER_BYTES = {"h264": 3, "hevc": 3, "vvc": 1}  # before the elementary stream
CODECS = {
    "x264": X264(), "x264:8": X264(depth=8), "x264:420": X264(subsampling=420), "x265": X265(),
    "x265:10": X265(depth=10), "x265:420": X265(subsampling=420),
    "x265:420:10": X265(subsampling=420, depth=10), "vvenc": VVenC(preset="faster"),
}  # fmt: skip


@pytest.fixture(params=CODECS)
def codec(request):
    return CODECS[request.param]


@pytest.fixture
def crop(coffee):
    return np.ascontiguousarray(coffee[150:214, 250:346])


def headers(codec: Codec, data: bytes) -> tuple[Counter[str], dict[str, int]]:
    source = ["-hide_banner", "-nostdin", "-f", codec.stream, "-i", "pipe:0", "-map", "0:0"]
    trace = ["-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-"]
    words = [find_ffmpeg("a test"), *source, *trace]
    options = {"timeout_seconds": 60, "include_stderr": True}
    reported = run_program(words, stdin=data[HEADER_BYTES[codec.stream] :], **options).decode()
    lines = re.findall(r"\[trace_headers @ \w+\] (.*)", reported.partition("Packet: ")[2])
    fields = [re.fullmatch(r"\d+ +(\S+) .*= (-?\d+)", line) for line in lines]
    units = Counter(line for line, field in zip(lines, fields, strict=True) if not field)
    return units, {field[1]: int(field[2]) for field in fields if field}


@pytest.mark.parametrize("qp", [47, 22])
def test_a_stream_is_one_picture_of_the_stated_format_coded_with_the_qp_asked_for(codec, qp, crop):
    """No supplemental enhancement information, which is where x265 puts 2 kB of its settings."""
    data = codec.encode(crop, Setting("qp", qp))
    units, fields = headers(codec, data)
    stream = codec.stream
    assert {*units} - UNITS[stream] <= {"Sequence Parameter Set", "Picture Parameter Set"}
    assert units["Slice Segment Header"] + units["Slice Header"] == 1
    assert not re.search(rb"[ -~]{12,}", data[:100])
    timing = {value for name, value in fields.items() if "timing" in name}
    assert timing <= ({1} if stream == "h264" else {0})
    if stream == "vvc":
        assert 26 + fields["pps_init_qp_minus26"] + fields["sh_qp_delta"] == qp
        assert fields["pps_cu_qp_delta_enabled_flag"] == 0
        assert fields["vui_full_range_flag"] == fields["vui_matrix_coeffs"] == 1
        assert (fields["sps_bitdepth_minus8"], fields["sps_chroma_format_idc"]) == (2, 1)
        return
    initial = "pic_init_qp_minus26" if stream == "h264" else "init_qp_minus26"
    assert 26 + fields[initial] + fields["slice_qp_delta"] == qp
    assert stream == "h264" or fields["cu_qp_delta_enabled_flag"] == 0
    command = codec.describe().command
    depth = 10 if "10 bits" in command else 8
    assert fields["video_full_range_flag"] == fields["matrix_coefficients"] == 1
    assert fields["bit_depth_luma_minus8"] == fields["bit_depth_chroma_minus8"] == depth - 8
    assert fields["chroma_format_idc"] == (1 if "YCbCr 420" in command else 3)


HASHES = {
    "hevc": ["-x265-params", f"{X265_PARAMETERS}:hash=1"],
    "vvc": ["-vvenc-params", f"{VVENC_PARAMETERS}:seidecodedpicturehash=md5"],
}


@pytest.mark.parametrize("codec", [
    X265(), X265(depth=10), VVenC(preset="faster"), VVenC(preset="fast"),
], ids=["x265", "x265:10", "vvenc:faster", "vvenc:fast"])  # fmt: skip
def test_ffmpeg_decodes_what_the_encoder_reconstructed(codec, photo, monkeypatch):
    """The encoder writes an MD5 of its reconstruction, which the decoder checks."""
    monkeypatch.setattr(codec, "_options", (*codec._options[:-2], *HASHES[codec.stream]))
    data = codec.encode(photo, Setting("qp", 32))[HEADER_BYTES[codec.stream] :]
    verify = ["-hide_banner", "-nostdin", "-loglevel", "debug", "-err_detect", "crccheck"]
    words = [find_ffmpeg("a test"), *verify, "-f", codec.stream, "-i", "pipe:0", "-f", "null", "-"]
    log = run_program(words, timeout_seconds=60, stdin=data, include_stderr=True).decode()
    verdicts = re.findall(r"Verifying checksum.*", log)
    assert verdicts
    assert all("correct" in verdict and "mismatch" not in verdict for verdict in verdicts)


@pytest.mark.parametrize("size", [(1, 40), (3, 2), (16, 17), (33, 18)])
def test_the_byte_in_front_holds_the_rows_and_columns_added(codec, size, coffee):
    height, width = size
    source = np.ascontiguousarray(coffee[200 : 200 + height, 200 : 200 + width])
    data = codec.encode(source, Setting("qp", 22))
    step = 2 if "YCbCr 420" in codec.describe().command else 1
    padded = [-(-max(side, 16) // step) * step for side in size]
    assert data[HEADER_BYTES[codec.stream] - 1] == (padded[1] - width) << 4 | (padded[0] - height)
    decoded = codec.decode(data)
    assert decoded.shape == source.shape
    assert psnr(source, decoded) > 30


def test_a_truncated_or_repeated_stream_is_refused(codec, crop):
    data = codec.encode(crop, Setting("qp", 27))
    again = data + data[HEADER_BYTES[codec.stream] :]
    for spoilt in (data[:-2], data[: len(data) * 9 // 10], data[:1], again):
        with pytest.raises((CorruptStream, ProgramFailed)):
            codec.decode(spoilt)


@pytest.mark.parametrize("case_made", [X264, X265])
def test_one_wrong_bit_in_a_stream_with_a_checksum_is_found(case_made, crop):
    """The decoder would make a slightly different picture of it, without an error."""
    data = bytearray(case_made().encode(crop, Setting("qp", 27)))
    data[-20] ^= 8
    with pytest.raises(CorruptStream, match="checksum"):
        case_made().decode(bytes(data))


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Return the path of a program that imageio-ffmpeg takes for ffmpeg."""
    program = tmp_path / "ffmpeg"
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    find_ffmpeg.cache_clear()
    yield program
    find_ffmpeg.cache_clear()


def test_an_ffmpeg_that_does_not_run_or_lacks_the_codec_is_unavailable(pretend):
    with pytest.raises(Unavailable, match=r"libx265 .*ffmpeg"):
        X265()
    pretend.write_text("#!/bin/sh\necho \"Codec '${3#*=}' is not recognized by FFmpeg.\"\n")
    pretend.chmod(0o755)
    with pytest.raises(Unavailable, match=r"libvvenc.*imageio-ffmpeg"):
        VVenC()
    only_encoders = "case $* in *encoder=*) echo Encoder libx265 [x265]: ;; esac"
    pretend.write_text(f"#!/bin/sh\n{only_encoders}\n")
    with pytest.raises(Unavailable, match=r"hevc.*imageio-ffmpeg"):
        X265()


def test_the_planes_of_a_picture_come_back_and_a_header_without_two_sides_is_refused():
    planes = np.arange(5 * 3 + 2 * 3 * 2, dtype=np.uint8).tobytes()
    picture = read_y4m(b"YUV4MPEG2 W5 H3 C420jpeg XCOLORRANGE=FULL\nFRAME\n" + planes)
    assert picture.planes.luma.shape == (3, 5)
    assert picture.planes.luma.tobytes() == planes[:15]
    assert (picture.depth, picture.full_range) == (8, True)
    wrong = ["W5", "H3", "W5 H", "W5 Hthree", "W0 H3", "W5 H-3", "W5 H+3", f"W5 H{'9' * 5000}"]
    for words in wrong:
        with pytest.raises(CorruptStream, match="4:4:4"):
            read_y4m(f"YUV4MPEG2 {words} C444\nFRAME\n".encode() + bytes(45))


CRF = Setting("crf", 34)


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize(("subsampling", "profile", "shift"), [(420, 0, 3), (444, 1, 0)])
def test_avif_is_coded_as_stated_and_holds_one_bare_item(photo, subsampling, profile, shift, depth):
    data = AVIF(subsampling=subsampling, depth=depth, speed=6).encode(photo, CRF)
    assert boxes(data).keys() == {b"ftyp", b"meta", b"mdat"}
    assert boxes(boxes(data)[b"meta"][4:]).keys() == {b"hdlr", b"pitm", b"iloc", b"iinf", b"iprp"}
    # ISO/IEC 23008-12, 9.3; `meta` is a full box
    properties = boxes(boxes(boxes(boxes(data)[b"meta"][4:])[b"iprp"])[b"ipco"])
    assert properties.keys() == {b"ispe", b"pixi", b"av1C", b"colr"}
    assert struct.unpack(">4xII", properties[b"ispe"]) == (203, 181)
    assert properties[b"pixi"][4:] == bytes((3, depth, depth, depth))
    # BT.709 primaries, sRGB transfer, BT.709 matrix, full range
    assert struct.unpack(">4sHHHB", properties[b"colr"]) == (b"nclx", 1, 13, 1, 0x80)
    assert properties[b"av1C"][1] >> 5 == profile
    assert properties[b"av1C"][2] >> 4 & 7 == (4 if depth == 10 else 0)  # not monochrome
    assert properties[b"av1C"][2] >> 2 & 3 == shift


@pytest.mark.parametrize(("chroma", "depth", "largest"), [(444, 8, 1), (444, 10, 2), (420, 8, 60)])
def test_another_decoder_agrees_on_avif(photo, chroma, depth, largest):
    """libavif reads the file's colour properties; in 4:2:0 it interpolates chroma differently."""
    codec = AVIF(subsampling=chroma, depth=depth, speed=6)
    data = codec.encode(photo[:180, :201], CRF)
    decoded_elsewhere = imagecodecs.avif_decode(data).astype(np.float64) / (2 ** (depth - 8))
    difference = np.abs(codec.decode(data) - decoded_elsewhere)
    assert difference.max() <= largest
    assert difference.mean() < (1 if chroma == 420 else 0.5)


@pytest.mark.parametrize("size", [(33, 17), (34, 17), (33, 18)], ids=str)
def test_odd_sides_keep_their_last_row_and_column_in_420(coffee, size):
    source = np.ascontiguousarray(coffee[100 : 100 + size[0], 200 : 200 + size[1]])
    codec = AVIF(subsampling=420, speed=6)
    decoded = codec.decode(codec.encode(source, Setting("crf", 5)))
    last = np.s_[-1], np.s_[:, -1]
    assert all(psnr(source[edge], decoded[edge]) > psnr(source, decoded) - 8 for edge in last)


def test_two_pictures_in_a_file_or_none_are_refused(photo):
    data = AVIF(speed=6).encode(photo, CRF)
    start = data.index(b"mdat") - 4
    for spoilt in (data + data[start:], data[:start]):
        with pytest.raises(CorruptStream, match="mdat"):
            AVIF(speed=6).decode(spoilt)
