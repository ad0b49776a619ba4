"""VMAF against ffmpeg's value of files whose colours ffmpeg converts itself, and PyTorch's."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics import jpeg_ai as module
from benchmark.metrics.jpeg_ai import VMAF, find_libvmaf, limited_luma
from benchmark.system.programs import packaged_ffmpeg, run_program
from support.metrics.cases import value


@pytest.fixture(autouse=True)
def _asked_anew():
    find_libvmaf.cache_clear()
    yield
    find_libvmaf.cache_clear()


def of_files(reference, decoded, folder):
    """VMAF of PNG files, decoded and converted to BT.709 of the limited range by ffmpeg."""
    for name, pixels in (("source.png", reference), ("decoded.png", decoded)):
        Image.fromarray(pixels).save(folder / name)
    convert = "scale=flags=accurate_rnd+full_chroma_int:out_color_matrix=bt709:out_range=tv"
    graph = (
        f"[0:v]{convert},format=yuv444p[a];[1:v]{convert},format=yuv444p[b];"
        "[a][b]libvmaf=log_fmt=json:log_path=log.json"
    )
    run_program(
        [packaged_ffmpeg("a test"), "-nostdin", "-i", "decoded.png", "-i", "source.png",
         "-lavfi", graph, "-f", "null", "-"],
        timeout_seconds=120, folder=folder,
    )  # fmt: skip
    return json.loads((folder / "log.json").read_text())["pooled_metrics"]["vmaf"]["mean"]


# Of vmaf-torch 1.1.0 (class VMAF, scores clipped), in PyTorch, of luma as here
@pytest.mark.parametrize(("step", "in_torch"), [(10, 94.67198), (24, 86.01846), (60, 8.76974)])
def test_ffmpegs_conversion_and_another_program_nearly_agree(coffee, tmp_path, step, in_torch):
    decoded = np.minimum(coffee // step * step + step // 2, 255).astype(np.uint8)
    expected = of_files(coffee, decoded, tmp_path)
    result = value(VMAF(), coffee, decoded)
    assert result == pytest.approx(expected, abs=0.1)
    assert result == pytest.approx(in_torch, abs=0.02)  # libvmaf computes in integers
    assert abs(value(VMAF(), decoded, coffee) - expected) > 0.3, "the source is the second input"


def test_luma_is_that_of_bt709_in_the_limited_range():
    colours = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]])
    # 16 + 219 Y: ITU-R BT.709-6, items 3.2 and 4.6
    assert limited_luma(colours).tolist() == [[63, 173, 32, 126]]


def test_colours_of_equal_luma_do_not_count(coffee):
    grey = np.repeat(coffee[..., 1:2], 3, axis=2)
    turned = grey.copy()
    turned[..., 0], turned[..., 2] = grey[..., 0], np.clip(grey[..., 2].astype(int) + 3, 0, 255)
    equal_luma = limited_luma(grey) == limited_luma(turned)
    turned[~equal_luma] = grey[~equal_luma]
    assert (turned != grey).any()
    assert value(VMAF(), grey, turned) == value(VMAF(), grey, grey)


def test_what_ffmpeg_refuses_is_a_reason(monkeypatch, coffee):
    metric = VMAF()
    monkeypatch.setattr(module, "MODEL", "vmaf_none")
    with pytest.raises(NotMeasurable, match=r" VMAF.* ffmpeg"):
        metric.compare(metric.prepare(coffee), coffee)
    with pytest.raises(NotMeasurable, match=" 17 px"):
        metric.prepare(coffee[:16])
    # White has the VMAF of identical pictures against a black source.
    with pytest.raises(NotMeasurable, match=r"VMAF .*flat"):
        metric.prepare(np.zeros((64, 64, 3), np.uint8))


def test_an_ffmpeg_on_the_path_does_where_the_packaged_one_lacks_the_filter(tmp_path, monkeypatch):
    plain_ffmpeg, having = tmp_path / "lacking", tmp_path / "ffmpeg"
    plain_ffmpeg.write_text("#!/bin/sh\necho Unknown filter\n")
    having.write_text("#!/bin/sh\necho Filter libvmaf\n")
    for program in (plain_ffmpeg, having):
        program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(plain_ffmpeg))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_libvmaf() == having
    find_libvmaf.cache_clear()
    monkeypatch.setenv("PATH", "/bin")
    with pytest.raises(Unavailable, match="libvmaf"):
        VMAF()
