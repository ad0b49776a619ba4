"""Maps of where an image is worse: their means are the metrics, and they are shown on one scale."""

import math
import warnings

import numpy as np
import pytest

import benchmark
from benchmark.errors import UsageError
from benchmark.metrics import maps, ms_ssim
from benchmark.metrics.metric import MapScale
from conftest import SHARED
from support.metrics.cases import through_jpeg

WEIGHTS = SHARED / "data" / "weights"
NETWORKS = ("lpips_squeeze", "lpips")
PLAIN = {  # the metric from the mean of its map
    "psnr_y": lambda mean: 10 * math.log10(255**2 / mean),
    "ssim": lambda mean: 1 - mean,
}


@pytest.fixture
def pair(coffee):
    source = np.ascontiguousarray(coffee[:257, :193])
    return source, through_jpeg(source, 10)


@pytest.fixture
def weights(monkeypatch):
    if not WEIGHTS.exists():
        pytest.skip("needs ../shared/data/weights")
    monkeypatch.setenv("BENCH_WEIGHTS", str(WEIGHTS))
    yield
    maps.mapped_metric.cache_clear()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", PLAIN)
def test_the_mean_of_a_map_is_the_metric(pair, monkeypatch, name, compiled):
    if not compiled:
        monkeypatch.setattr(ms_ssim, "loops", None)
    metric = maps.mapped_metric(name)
    prepared = metric.prepare(pair[0])
    errors = metric.error_map(prepared, pair[1])
    assert (errors.shape, errors.dtype) == ((257, 193), np.float32)
    of_mean = PLAIN[name](float(np.nanmean(errors, dtype=np.float64)))
    assert of_mean == pytest.approx(metric.compare(prepared, pair[1]), abs=1e-8)


def test_a_large_error_is_in_the_map_of_ssim_as_in_its_value():
    black, white = np.zeros((40, 50, 3), np.uint8), np.full((40, 50, 3), 255, np.uint8)
    metric = maps.mapped_metric("ssim")
    value = metric.compare(metric.prepare(black), white)
    mean = np.nanmean(maps.error_map(black, white, "ssim"), dtype=np.float64)
    assert 1 - mean == pytest.approx(value, abs=1e-7)  # float32 next to 1


@pytest.mark.parametrize("name", NETWORKS)
def test_a_map_of_lpips_is_that_of_the_package_and_its_mean_the_metric(pair, weights, name):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        from lpips import LPIPS

        net = name.partition("_")[2] or "alex"
        peer = LPIPS(net=net, pnet_rand=True, verbose=False, spatial=True)
    file = {"lpips": "alexnet", "lpips_squeeze": "squeezenet1_1"}[name]
    tensors = torch.load(WEIGHTS / f"{file}_features.pth", weights_only=True)
    for key, parameter in peer.net.named_parameters():
        parameter.data.copy_(tensors[f"features.{key.partition('.')[2]}"])
    scaled = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for image in pair)
    with torch.inference_mode():
        expected = peer(*scaled)[0, 0].numpy()
    errors = benchmark.error_map(*pair, metric=name)
    assert np.abs(errors - expected).max() < 1e-5
    metric = maps.mapped_metric(name)
    value = metric.compare(metric.prepare(pair[0]), pair[1])
    assert float(errors.mean(dtype=np.float64)) == pytest.approx(value, abs=1e-5)


def test_equal_pictures_have_maps_of_zeros_and_no_ssim_in_the_outer_pixels(pair, weights):
    for name in (*PLAIN, *NETWORKS):
        errors = maps.error_map(pair[0], pair[0], name)
        assert np.nanmax(np.abs(errors)) == pytest.approx(0, abs=1e-12)
    has_value = ~np.isnan(maps.error_map(*pair, "ssim"))
    inside = np.zeros_like(has_value)
    inside[5:-5, 5:-5] = True
    assert np.array_equal(has_value, inside)


def test_a_map_of_luma_is_of_grey_levels_and_other_types_have_none(pair):
    grey = [np.full((40, 50, 3), level, np.uint8) for level in (100, 107)]
    assert np.allclose(maps.error_map(*grey, "psnr_y"), 7, atol=0.01)
    for kind in (np.float32, np.int16):
        for images in ((pair[0].astype(kind), pair[1]), (pair[0], pair[1].astype(kind))):
            with pytest.raises(UsageError, match=kind.__name__):
                maps.error_map(*images, "psnr_y")


@pytest.mark.parametrize("name", ["psnr", "ms_ssim", "vmaf"])
def test_a_metric_without_a_map_and_pictures_of_two_sizes_are_refused(pair, name):
    with pytest.raises(UsageError, match=f"{name} .*psnr_y, ssim, "):
        maps.error_map(*pair, name)
    with pytest.raises(ValueError, match="shapes"):
        maps.error_map(pair[0], pair[1][1:], "psnr_y")


def test_halves_have_the_mean_of_what_is_there():
    nan = np.nan
    halves = maps.halve_map(np.float32([[1, 3, 5], [1, nan, 7], [nan, nan, 9]]))
    assert np.array_equal(halves, np.float32([[5 / 3, 6], [0, 9]]))


def test_levels_hold_a_map_to_half_a_step_of_its_root(pair):
    scale = maps.map_scale("ssim")
    errors = maps.error_map(*pair, "ssim")[5:-5, 5:-5]
    picture = maps.levels(errors, scale)
    back = (picture / 255.0) ** 2
    assert np.abs(np.sqrt(back) - np.sqrt(np.clip(errors, 0, 1))).max() < 0.5 / 255 + 1e-6
    assert maps.reach(picture, scale) == pytest.approx(np.percentile(errors, 99), rel=0.02)


def test_a_scale_ends_at_a_round_number_above_the_upper_median():
    assert [maps.round_up(value) for value in (0.11, 0.15, 0.151, 0.5, 0.55, 1, 71)] == [
        0.15, 0.15, 0.2, 0.5, 0.7, 1, 100
    ]  # fmt: skip
    assert maps.scale_end([0.61, 0.11, 0.2], MapScale(1.0)) == 0.2  # whatever the worst one has
    luma = maps.map_scale("psnr_y")
    assert ("luma" in luma.label, maps.legend_value(81.0, luma)) == (True, 9)
    assert maps.map_scale("lpips").label == "LPIPS (AlexNet)"
