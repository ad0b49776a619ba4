"""`bench doctor` and `bench list` name everything, also where a codec is broken."""

import json
from importlib.metadata import PackageNotFoundError
from unittest.mock import Mock

import PIL
import pytest
from PIL import features

from benchmark.commands import inventory as doctor
from benchmark.registry import ALIASES, CODECS, DATASETS, DISTRIBUTION_METRICS, METRICS
from benchmark.system import settings as device
from support.bench.command import bench


def by_name(findings):
    return {finding["name"]: finding for finding in findings}


def test_what_is_named_is_described_with_its_options_and_settings():
    descriptions = json.loads(bench("list", "avif:speed=2", "ms_ssim", "sample", "--json").stdout)
    avif, metric, dataset = descriptions
    assert avif["options"] == {"tune": "psnr", "speed": "2", "subsampling": 444, "depth": 10}
    assert avif["settings"][0] == "crf=60"
    assert (metric["options"], dataset["options"]) == ({}, {})
    assert all(description["text"] for description in descriptions)
    result = bench("list", "avfi")
    assert (result.returncode, "'avif'" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", [*CODECS, *ALIASES, *DATASETS, *METRICS])
def test_whatever_is_listed_can_be_described(name):
    assert doctor.describe(name).facts["name"] == name


def test_a_codec_with_recorded_streams_alone_says_which_and_what_others_need(monkeypatch, tmp_path):
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("benchmark.registry.CODECS", {"vtm": CODECS["vtm"]})
    monkeypatch.setattr("benchmark.registry.ALIASES", {})
    vtm = by_name(doctor.examine("codecs"))["vtm"]
    assert (vtm["state"], vtm["licence"]) == ("pack", "BSD-3-Clause")
    assert vtm["what"].startswith("VTM 23.13, 28 images from ")
    assert "$VTM_DIR" in vtm["what"]
    assert "vvenc" in vtm["what"]
    monkeypatch.setattr("benchmark.rows.packs.pack.SHIPPED", tmp_path)
    vtm = by_name(doctor.examine("codecs"))["vtm"]
    assert vtm["state"] == "missing"
    assert "'EncoderAppStatic'" in vtm["what"]


def test_a_broken_codec_is_reported_and_the_others_are_examined(monkeypatch):
    faulty_codecs = {"raw": "baselines.raster:Raw", "webp": "no_such_wheel:Codec"}
    faulty_codecs["jpeg"] = "support.codecs.fakes:NoSuchClass"
    monkeypatch.setattr("benchmark.registry.CODECS", faulty_codecs)
    monkeypatch.setattr("benchmark.spec.CODECS", faulty_codecs)
    codecs = by_name(doctor.examine("codecs"))
    assert codecs["raw"]["state"] == "ready"
    assert "NoSuchClass" in codecs["jpeg"]["what"]
    assert "no_such_wheel" in codecs["webp"]["what"]


def test_the_list_has_a_title_for_each_name_and_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    listing = json.loads(bench("list", "--json").stdout)
    result = {group["kind"]: by_name(group["records"]) for group in listing}
    assert result["codecs"].keys() >= {*CODECS, *ALIASES}
    assert result["metrics"].keys() >= {*METRICS, *DISTRIBUTION_METRICS}
    assert result["datasets"].keys() >= set(DATASETS)
    assert all(len(facts["title"]) > 4 for names in result.values() for facts in names.values())
    states = {name: facts["state"] for names in result.values() for name, facts in names.items()}
    codecs = result["codecs"]
    wheels = "raw, jpeg, webp, avif, jpegxl, jpeg2000, x264, x265, vvenc, jpegli, mozjpeg"
    for name in wheels.split(", "):
        assert (states[name], bool(codecs[name]["licence"])) == ("ready", True), codecs[name]
    assert codecs["jpeg"]["what"].startswith("libjpeg-turbo ")
    assert "encode=" in codecs["command"]["what"]
    assert states["hyperprior"] == "missing"
    assert states["sample"] == states["psnr"] == "ready"
    assert {states[name] for name in ("compressai", "folder", "command", "worker")} == {"options"}
    for kind, name, fetched in (
        ("metrics", "lpips", "alexnet"), ("metrics", "lpips_squeeze", "squeezenet"),
        ("datasets", "kodak", "kodak"),
    ):  # fmt: skip
        assert states[name] == "missing"
        assert result[kind][name]["lacks"] == f"bench fetch {fetched}"
    # Two headings and a line between each; a codec and a metric of one's own have one name.
    assert len(bench("list").stdout.splitlines()) == 3 * 2 + 2 + len(states) + 1


def test_the_imaging_library_is_named_with_its_jpeg(monkeypatch):
    jpeg = features.version("libjpeg_turbo")
    assert doctor.imaging_library() == f"Pillow {PIL.__version__} with libjpeg-turbo {jpeg}"
    monkeypatch.setattr(PIL, "__version__", "12.1.1.post0")
    monkeypatch.setattr(features, "version", {"libjpeg_turbo": None, "jpg": "9.6"}.get)
    assert doctor.imaging_library() == "pillow-simd 12.1.1.post0 with libjpeg 9.6"


@pytest.mark.parametrize(("build", "gpu", "expected"), [
    ("2.13.0+cpu", False, "2.13.0+cpu; no GPU"), (None, True, "not installed"),
    ("2.13.0+cpu", True, "build"),
    ("2.13.0", True, "training"),
])  # fmt: skip
def test_torch_and_the_gpu_are_described_together(monkeypatch, tmp_path, build, gpu, expected):
    (tmp_path / "gpu").touch()
    monkeypatch.setattr(device, "GPU_MARKS", (str(tmp_path / ("gpu" if gpu else "none")),))
    monkeypatch.setattr(doctor, "version", Mock(side_effect=[build or PackageNotFoundError]))
    assert expected in dict(doctor.examine_machine())["torch"]
