"""What is absent for a metric and which reasons last; places of values on an axis."""

import math

import numpy as np
import pytest

from benchmark.errors import NotMeasurable, Reason, Unavailable
from benchmark.metrics.metric import (
    Metric,
    absence,
    absence_lines,
    drop_uncomputable,
    is_lasting,
    overview_columns,
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
    assert str(folder) in uncomputable_metrics(["lpips"], loaded=True)["lpips"]


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
    assert absence_lines(reasons) == ["A, C, D: weights absent (`bench fetch n`, `bench fetch m`)",
                                      "B: the program is not here"]  # fmt: skip
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


# Metrics as figures draw them


@pytest.mark.parametrize(("scale", "value", "place", "quality"), [
    ("linear", 30.25, 30.25, 30.25), ("linear", -2.0, -2.0, -2.0),
    ("saturating", 0.9, 10.0, 10.0),
    ("saturating", -1.0, -3.0102999566398120, -3.0102999566398120),
    ("decades", 100.0, 100.0, 2.0), ("decades", 1.0, 1.0, 0.0), ("decades", 0.001, 0.001, -3.0),
])  # fmt: skip
@pytest.mark.parametrize(("better", "sign"), [("higher", 1), ("lower", -1)])
def test_a_value_has_a_place_and_a_quality_and_returns(scale, value, place, quality, better, sign):
    metric = Metric("x", "X", better, scale)
    assert metric.axis_position(value) == pytest.approx(place, rel=1e-12)
    assert metric.value_at(place) == pytest.approx(value, rel=1e-12)
    assert metric.quality(value) == pytest.approx(sign * quality, rel=1e-12)
    assert metric.value(sign * quality) == pytest.approx(value, rel=1e-12)
    assert metric.axis_label == ("X (dB)" if scale == "saturating" else "X")


def test_values_at_the_end_of_a_scale_have_no_finite_place():
    saturating = Metric("x", "X", "higher", "saturating")
    assert [saturating.axis_position(value) for value in (1.0, 1.5)] == [math.inf, math.inf]
    distance = Metric("x", "X", "lower", "decades")
    assert [math.isnan(distance.quality(value)) for value in (0.0, -1.0)] == [True, True]


def test_metrics_of_sets_are_of_realism_and_marked_below_fifty_images():
    psnr, fid, precision = map(Metric.named, ("psnr", "fid256", "precision256"))
    assert [entry.kind for entry in (psnr, fid, precision)] == ["distortion", "realism", "realism"]
    assert [entry.is_distribution for entry in (psnr, fid)] == [False, True]
    assert [metric.has_few_images(49) for metric in (psnr, fid)] == [False, True]
    assert not fid.has_few_images(50)
    assert [entry.has_image_values for entry in (psnr, fid, precision)] == [True, True, False]


def test_the_overview_has_of_each_choice_what_has_most_values_and_users_metrics():
    counts = {"ms_ssim": 1, "vmaf": 2, "fid256": 3, "no": 0, "mine": 1}
    assert overview_columns(counts) == ["ms_ssim", "mine"]
    assert overview_columns({"lpips_alex": 1, "psnr_db": 0}) == ["lpips_alex"]
    assert overview_columns({"lpips_alex": 2, "lpips_squeeze": 2}) == ["lpips_squeeze"]
