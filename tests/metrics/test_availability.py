"""What is absent for a metric, and reasons that last, against the metrics themselves."""

import numpy as np
import pytest

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.availability import (
    Absence,
    absence,
    by_kind,
    computable,
    lacking,
    lasting,
)
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class, scored_by_image

EVERY = (*METRICS, *DISTRIBUTION_METRICS)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No weight files on this machine."""
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def test_a_look_at_files_says_what_constructing_every_metric_says(nowhere):
    looked, constructed = lacking(EVERY), lacking(EVERY, loaded=True)
    assert looked == constructed
    assert {"lpips", "dists", "niqe", "fid256", "fd_squeeze"} <= looked.keys()
    assert not {"psnr", "ms_ssim", "ssimulacra2"} & looked.keys()
    for name in looked:
        with pytest.raises(Unavailable):
            metric_class(*scored_by_image([name]))("cpu")


def test_a_damaged_file_is_found_where_it_is_loaded(nowhere):
    folder = nowhere / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet_features.pth").write_bytes(b"no weights")
    assert "lpips" not in lacking(["lpips"])
    assert "cannot be read" in lacking(["lpips"], loaded=True)["lpips"]


def test_every_absent_weight_file_names_the_command_that_brings_it(nowhere):
    reasons = lacking(EVERY)
    weights = {name: absence(why) for name, why in reasons.items() if "no weight file" in why}
    assert {one.what for one in weights.values()} == {"weights absent"}
    commands = {name: one.command for name, one in weights.items()}
    assert commands["lpips_vgg"] == "`bench fetch vgg`"
    assert commands["dists"] == "`bench fetch dists`"
    assert commands["kid256"] == "`bench fetch inception`"
    assert absence("MUSIQ needs the Python package pyiqa: run `pip install pyiqa`") == Absence(
        "Python package pyiqa absent", "`pip install pyiqa`"
    )


def test_one_line_for_each_kind_names_each_command_once():
    file = "no weight file x.pth in torch's cache: run `bench fetch {}`, or put it there"
    reasons = [("A", file.format("n")), ("B", "the program is not here"), ("C", file.format("m"))]
    reasons.append(("D", file.format("n")))
    assert by_kind(reasons) == [
        "A, C, D: weights absent (`bench fetch n`, `bench fetch m`)",
        "B: the program is not here",
    ]
    assert by_kind(reasons[:1], then="`it`") == ["A: weights absent (`bench fetch n`, then `it`)"]


def test_a_feature_space_is_left_out_with_the_metrics_that_need_it():
    of_images = scored_by_image(["psnr", "fid256", "fd_alex"])
    assert computable(of_images, ["kid256", "lpips"]) == ("psnr", "alex256")


@pytest.mark.parametrize("name", ["ms_ssim", "ssim", "ssimulacra2"])
def test_what_a_metric_says_of_a_small_image_lasts(name):
    with pytest.raises(NotMeasurable) as refused:
        metric_class(name)("cpu").prepare(np.zeros((8, 8, 3), np.uint8))
    assert lasting(str(refused.value))


def test_what_a_feature_space_says_of_a_small_image_lasts():
    with pytest.raises(NotMeasurable) as refused:
        metric_class("alex256").features(
            type("Space", (metric_class("alex256"),), {"__init__": lambda self: None})(),
            np.zeros((8, 8, 3), np.uint8),
        )
    assert lasting(str(refused.value))


def test_equal_planes_last_and_an_absent_or_failing_program_does_not():
    source = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    metric = metric_class("psnr_ycbcr")("cpu")
    decoded = source.copy()
    decoded[0, 0, 2] ^= 1  # too little for luma
    with pytest.raises(NotMeasurable) as refused:
        metric.compare(metric.prepare(source), decoded)
    assert lasting(str(refused.value))
    assert not lasting("no weight file x.pth in torch's cache: run `bench fetch alexnet`")
    assert not lasting("ffmpeg gave no VMAF: it was killed")
