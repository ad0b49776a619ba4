"""What is absent for a metric, and reasons that last, against the metrics themselves."""

import numpy as np
import pytest

from benchmark.errors import NotMeasurable, Reason, Unavailable
from benchmark.metrics.metric import (
    absence,
    absence_lines,
    drop_uncomputable,
    is_lasting,
    read_reason,
    reason_text,
    remedies,
    stand_ins,
    uncomputable_metrics,
)
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class, per_image_names

EVERY = (*METRICS, *DISTRIBUTION_METRICS)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No weight files on this machine."""
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def test_a_look_at_files_says_what_constructing_every_metric_says(nowhere):
    looked, constructed = uncomputable_metrics(EVERY), uncomputable_metrics(EVERY, loaded=True)
    assert looked == constructed
    assert {"lpips", "dists", "niqe", "fid256", "fd_squeeze"} <= looked.keys()
    assert not {"psnr", "ms_ssim", "ssimulacra2"} & looked.keys()
    for name in looked:
        with pytest.raises(Unavailable):
            metric_class(*per_image_names([name]))("cpu")


def test_a_damaged_file_is_found_where_it_is_loaded(nowhere):
    folder = nowhere / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet_features.pth").write_bytes(b"no weights")
    assert "lpips" not in uncomputable_metrics(["lpips"])
    assert "cannot be read" in uncomputable_metrics(["lpips"], loaded=True)["lpips"]


def test_every_absent_weight_file_and_package_names_the_command_that_brings_it(nowhere):
    result = {name: absence(reason) for name, reason in uncomputable_metrics(EVERY).items()}
    commands = {name: command for name, (state, command) in result.items() if command}
    for name, network in (
        ("lpips", "alexnet"), ("lpips_vgg", "vgg"), ("dists", "dists"), ("niqe", "niqe"),
        ("kid256", "inception"), ("fd_squeeze", "squeezenet"),
    ):  # fmt: skip
        assert result[name] == ("weights absent", f"`bench fetch {network}`")
    assert "pyiqa" in commands["musiq"] or "bench fetch musiq" in commands["musiq"]


def test_where_inception_is_absent_distances_of_other_features_are_named(nowhere):
    assert stand_ins(["kid256", "psnr"]).startswith("fd_squeeze and fd_alex: ")
    assert stand_ins(["fid256", "fd_alex"]).startswith("fd_squeeze: ")
    assert stand_ins(["psnr", "fd_alex"]) == ""
    reason = reason_text(Unavailable("x", Reason("weights")))
    assert "fd_squeeze" in remedies(["fid256"], reason)
    assert "fd_squeeze" not in remedies(["lpips"], reason)


@pytest.mark.parametrize(
    "reason",
    [None, Reason("pixels"), Reason("weights", "x.pth", "bench fetch x"),
     Reason("package", "p", "pip install p (q)")],
)  # fmt: skip
def test_a_reason_is_read_back_from_the_text_of_a_row(reason):
    text = reason_text(NotMeasurable("it says (so): run `this`", reason))
    kind, _, remedy = reason or ("", "", "")
    assert read_reason(text) == (Reason(kind, "", remedy), "it says (so): run `this`")
    assert is_lasting(text) == (kind == "pixels")


def test_texts_of_rows_before_kinds_are_tried_again_and_keep_their_sentence():
    old = "no weight file x.pth in torch's cache: run `bench fetch alexnet`, or put it there"
    assert absence(old) == (old, "")
    assert not is_lasting("MS-SSIM needs at least 161 px on the shorter side, this image has 40")
    assert absence("not computed: because") == ("not computed", "`bench rescore`")


def test_one_line_for_each_kind_names_each_command_once():
    file = "weights (bench fetch {}): no weight file x.pth in torch's cache"
    reasons = [("A", file.format("n")), ("B", "the program is not here"), ("C", file.format("m"))]
    reasons.append(("D", file.format("n")))
    assert absence_lines(reasons) == [
        "A, C, D: weights absent (`bench fetch n`, `bench fetch m`)",
        "B: the program is not here",
    ]
    (line,) = absence_lines(reasons[:1], next_step="`it`")
    assert line == "A: weights absent (`bench fetch n`, then `it`)"


def test_a_feature_space_is_left_out_with_the_metrics_that_need_it():
    of_images = per_image_names(["psnr", "fid256", "fd_alex"])
    assert drop_uncomputable(of_images, ["kid256", "lpips"]) == ("psnr", "alex256")


def measured(name, source, decoded):
    kind = metric_class(name)
    if name == "alex256":
        return kind.features(kind.__new__(kind), source)
    metric = kind("cpu")
    return metric.compare(metric.prepare(source), decoded)


@pytest.mark.parametrize("name", ["ms_ssim", "ssim", "ssimulacra2", "alex256", "psnr_ycbcr"])
def test_what_lies_in_the_pixels_lasts(name):
    source = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    decoded = source.copy()
    decoded[0, 0, 2] ^= 1  # too little for luma
    with pytest.raises(NotMeasurable) as error:
        measured(name, source, decoded)
    assert is_lasting(reason_text(error.value))
