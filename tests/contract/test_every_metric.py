"""Contracts of image and distribution metrics and of feature spaces, over all in the registry."""

import re
import sys
from unittest.mock import Mock

import numpy as np
import pytest

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.measure.score import HashedImage, Scorer
from benchmark.metrics.metric import NOT_FLAT, has_influence, protocol_of
from benchmark.registry import DISTRIBUTION_METRICS, FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.schema import metric_columns
from benchmark.rows.shard import refused_columns
from conftest import ROOT, SHARED
from support.metrics.cases import through_jpeg
from support.networks.inception_files import inception_case, inception_folder, pytorch_fid
from support.processes import ran
from support.quick import quick

WEIGHTS = str(SHARED / "data" / "weights")
NAMES = [*METRICS, *DISTRIBUTION_METRICS]
IDENTICAL = {  # 0 for distances
    "psnr": np.inf, "psnr_y": np.inf, "psnr_ycbcr": np.inf, "ms_ssim": 1.0, "ssim": 1.0,
    "ssimulacra2": 100.0, "vmaf": 97.43, "vif": 1.0, "fsim": 1.0, "iw_ssim": 1.0, "cvvdp": 10.0,
    "psnr_hvs_m": np.inf,
}  # fmt: skip
NO_REFERENCE = {name for name, line in METRICS.items() if ".no_reference." in line}
# Added and lost detail count differently, or there is no reference.
ASYMMETRIC = {"ssimulacra2", "butteraugli", "vmaf", *NO_REFERENCE, "vif", "iw_ssim", "cvvdp"}
# Programs print few digits, and libvmaf gives identical frames up to .02 more or less.
TOLERANCE = {"vmaf": 0.02, "vif": 1e-8, "fsim": 1e-6, "iw_ssim": 1e-6}  # the last two in float32
WITHOUT_DEVICE = "import sys; sys.modules['torch'] = sys.modules['pytorch_fid'] = None\n"


@pytest.fixture(scope="module", params=METRICS)
def image_metric(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_WEIGHTS", WEIGHTS)
        try:
            return request.param, metric_class(request.param)()
        except Unavailable as missing:
            pytest.skip(str(missing))


def feature_sets(seed, distance):
    generator = np.random.default_rng(seed)
    reference = generator.standard_normal((6, 4, 3)).astype(np.float32)
    noise = generator.standard_normal(reference.shape).astype(np.float32)
    return list(reference), list((1 - distance / 2) * reference + distance * (1 + noise))


@pytest.fixture(params=DISTRIBUTION_METRICS)
def distribution_metric(request):
    return metric_class(request.param)()


def test_all_attributes_are_read_without_weights_and_without_torch():
    program = f"""
from benchmark.registry import metric_class
for name in {NAMES!r}:
    kind = metric_class(name)
    print(name, kind.column, kind.protocol, kind.better, bool(kind.label), sep="|")
"""
    result = ran(sys.executable, "-c", WITHOUT_DEVICE + program, PYTHONPATH=ROOT)
    pattern = r"[a-z][a-z0-9_]*\|[a-z0-9-]+/[A-Za-z0-9.-]+\|(higher|lower)\|True"
    lines = [line.partition("|") for line in result.stdout.splitlines()]
    assert [name for name, _, _ in lines] == NAMES
    assert [line for *_, line in lines if not re.fullmatch(pattern, line)] == []


def test_no_two_metrics_share_a_column_or_a_protocol_id_nor_do_spaces_and_each_has_a_metric():
    spaces, names = [metric_class(name) for name in FEATURE_SPACES], [*NAMES, *FEATURE_SPACES]
    protocols = {*map(protocol_of, NAMES), *(space.protocol for space in spaces)}
    assert len({metric_class(name).column for name in names}) == len(protocols) == len(names)
    assert {metric_class(name).space for name in DISTRIBUTION_METRICS} == {*FEATURE_SPACES}


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_defines_every_column(name):
    kind, text = metric_class(name), (ROOT / "docs" / "protocol.md").read_text()
    (line,) = re.findall(rf"^\|[^|\n]*`{kind.column}`[^|\n]*\|.*$", text, re.MULTILINE)
    assert (f"`{kind.protocol}`" if name in METRICS else f"`{kind.space}`") in line


def test_identical_images_have_the_best_value(image_metric, coffee):
    name, metric = image_metric
    if name not in NO_REFERENCE:
        crop = np.ascontiguousarray(coffee[:192, :208])
        result = metric.compare(metric.prepare(crop), crop.copy())
        assert result == pytest.approx(IDENTICAL.get(name, 0.0), abs=TOLERANCE.get(name, 1e-12))


def test_a_better_image_has_a_better_value_in_the_metrics_direction(image_metric, coffee):
    _, metric = image_metric
    prepared = metric.prepare(coffee)
    worse, better = (metric.compare(prepared, through_jpeg(coffee, quality)) for quality in (5, 80))
    assert (better > worse) == (metric.better == "higher")
    assert np.isfinite([worse, better]).all()


def _planes():
    rows, columns = np.indices((176, 180))
    dot = (rows == 88) & (columns == 90)
    return {
        "black": 0 * rows, "grey": 0 * rows + 128, "white": 0 * rows + 255, "dot": 255 * dot,
        "two levels": 100 + (columns > 90), "ramp": columns, "steps": rows // 22 * 36,
        "dotted": (rows + columns) % 2 * 255, "one pixel": rows[:1, :1],
    }  # fmt: skip


DEGENERATE = {name: np.uint8(plane)[..., None].repeat(3, 2) for name, plane in _planes().items()}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.filterwarnings("ignore")
def test_a_degenerate_picture_has_a_value_or_a_reason(name, image_metric, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", WEIGHTS)
    metric, kind = image_metric[0], type(image_metric[1])
    source, scorer = DEGENERATE[name], Scorer([metric], "cpu")
    noise = np.random.default_rng(0).integers(0, 256, source.shape).astype(np.uint8)
    for number, decoded in enumerate((source.copy(), 255 - source, noise, source // 2)):
        decoded_image = HashedImage(f"{name} {number}", np.ascontiguousarray(decoded))
        scores = scorer.score(HashedImage(name, source), decoded_image, [metric])
        value, _, reason = map(scores.columns.get, metric_columns(kind.column))
        assert not scores.failed
        assert not refused_columns({kind.column: value})
        assert (value is None) == bool(reason)
        if metric in ("vif", "iw_ssim") and name in ("black", "grey", "white"):
            assert NOT_FLAT in reason


@pytest.mark.parametrize("name", ["psnr", "ms_ssim"])
@pytest.mark.parametrize("part", ["__init__", "prepare", "compare"])
def test_a_metric_that_raises_is_null_with_the_reason(name, part, coffee, monkeypatch):
    kind = metric_class(name)
    monkeypatch.setattr(kind, part, Mock(side_effect=np.linalg.LinAlgError("singular")))
    pair = HashedImage("a", coffee[:192, :208]), HashedImage("b", coffee[1:193, :208])
    scores = Scorer([name, "psnr_y"], "cpu").score(*pair, [name, "psnr_y"])
    value, _, reason = map(scores.columns.get, metric_columns(kind.column))
    assert value is None
    assert "LinAlgError: singular" in reason
    assert [failed.stage for failed in scores.failed] == ["score"]
    assert scores.columns["psnr_y_db"] > 10


def test_a_source_is_prepared_once_for_many_images_and_only_read_as_they_are(image_metric, coffee):
    _, metric = image_metric
    source = np.ascontiguousarray(coffee[:192, :208])
    source.setflags(write=False)
    prepared = metric.prepare(source)
    for quality in (10, 60, 10):
        decoded = through_jpeg(source, quality).copy()
        decoded_copy = decoded.copy()
        assert metric.compare(prepared, decoded) == metric.compare(metric.prepare(source), decoded)
        assert np.array_equal(decoded, decoded_copy)
    for cropped in (coffee[:192, :207], coffee[:208, :192]):
        with pytest.raises(ValueError, match=f"{cropped.shape[0]}, {cropped.shape[1]}"):
            metric.compare(prepared, np.ascontiguousarray(cropped))


def test_a_metric_without_reference_sees_the_decoded_image_alone(image_metric, coffee):
    name, metric = image_metric
    decoded = through_jpeg(coffee, 20)
    values = [metric.compare(metric.prepare(source), decoded) for source in (coffee, 255 - coffee)]
    assert (values[0] == values[1]) == (name in NO_REFERENCE)


def test_source_and_decoded_image_may_change_places(image_metric, coffee):
    name, metric = image_metric
    if name not in ASYMMETRIC:
        source = np.ascontiguousarray(coffee[:200, :220])
        decoded = through_jpeg(source, 20)
        value = metric.compare(metric.prepare(source), decoded)
        assert value == pytest.approx(metric.compare(metric.prepare(decoded), source), rel=2e-5)


def test_sets_further_apart_have_a_worse_value(distribution_metric):
    assert distribution_metric.min_images >= 2
    sets = [feature_sets(5, distance) for distance in (0, 0.3, 0.9)]
    values = [distribution_metric.reduce(*pair).value for pair in sets]
    assert values == sorted(values, reverse=distribution_metric.better == "higher")
    assert values[0] != values[-1]
    if has_influence(type(distribution_metric)):  # others count patches, and may count as many
        assert len(set(values)) == 3


def test_influences_add_up_to_nothing_and_follow_the_images_order(distribution_metric):
    reference, decoded = feature_sets(6, 0.4)
    result = distribution_metric.reduce(reference, decoded)
    reverse = distribution_metric.reduce(reference[::-1], decoded[::-1])
    assert reverse.value == pytest.approx(result.value, rel=1e-6)
    assert has_influence(type(distribution_metric)) == (result.influence is not None)
    if result.influence is not None:
        spread = np.abs(result.influence).max()
        assert result.influence.shape == (len(reference),)
        assert abs(result.influence.sum()) <= 1e-9 * spread
        np.testing.assert_allclose(reverse.influence[::-1], result.influence, atol=1e-5 * spread)


def test_sets_that_do_not_fit_and_sets_too_small_are_refused(distribution_metric):
    reference, decoded = feature_sets(7, 0.4)
    fewer_patches, narrower = [x[:-1] for x in decoded], [x[:, :-1] for x in decoded]
    for misfit in (decoded[:-1], fewer_patches, narrower):
        with pytest.raises(ValueError, match="features"):
            distribution_metric.reduce(reference, misfit)
    with pytest.raises(NotMeasurable):
        distribution_metric.reduce([reference[0][:1]], [decoded[0][:1]])


__all__ = ["inception_folder", "pytorch_fid"]  # fixtures


@pytest.fixture(params=quick(FEATURE_SPACES, *FEATURE_SPACES.keys() - {"inception256_tf"}))
def space(request, monkeypatch):
    if request.param.startswith("inception256"):  # its weights are not part of the checkout
        inception_case(request, monkeypatch)
        return metric_class(request.param)()
    monkeypatch.setenv("BENCH_WEIGHTS", WEIGHTS)
    try:
        return metric_class(request.param)()
    except Unavailable as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", FEATURE_SPACES)
def test_the_class_says_column_protocol_and_patches_and_the_documentation_has_a_line(name):
    kind = metric_class(name)
    assert kind.column.endswith("_patches")
    assert re.fullmatch(r"[a-z0-9-]+/[A-Za-z0-9.-]+", kind.protocol)
    assert kind.patch_count(1, 1) == 0
    assert kind.patch_count(2000, 2000) > kind.patch_count(1000, 1000) > 0
    lines = (ROOT / "docs" / "protocol.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{kind.column}` |")]
    assert f"`{kind.protocol}`" in line


def test_an_image_has_a_finite_vector_of_float32_for_each_patch_it_counts(space, coffee):
    result = space.features(coffee)
    assert result.dtype == np.float32
    assert len(result) == type(space).patch_count(*coffee.shape[:2]) == 3
    assert np.isfinite(result).all()
    assert np.ptp(result, axis=0).max() > 0
    again = space.features(coffee.copy())
    np.testing.assert_allclose(again, result, atol=1e-5 * np.abs(result).max())


def test_an_image_without_a_patch_is_a_reason_with_its_size(space):
    with pytest.raises(NotMeasurable, match="20 x 10"):
        space.features(np.zeros((10, 20, 3), np.uint8))
