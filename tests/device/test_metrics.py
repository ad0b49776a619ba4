"""Metrics and feature spaces on a GPU give the processor's values, to 1e-5 of them."""

import numpy as np
import pytest

from benchmark.errors import Unavailable
from benchmark.metrics import deep_features as module
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.system.backbone import VGG16
from benchmark.system.digest import file_sha256
from conftest import SHARED
from support.networks.inception_files import inception_case, inception_folder, pytorch_fid
from support.networks.tiny_checkpoint import noise
from support.networks.vgg_files import IMPORTANCES_FILE, NETWORK_FILE, DrawnVGG
from support.quick import quick

__all__ = ["inception_folder", "pytorch_fid"]  # fixtures
pytestmark = pytest.mark.device

TOLERANCE = 1e-5
VGG_METRICS = ("dists", "lpips_vgg")
CPU_METRICS = {
    "psnr", "psnr_y", "psnr_ycbcr", "ssimulacra2", "butteraugli", "vmaf", "niqe", "vif", "iw_ssim",
}  # fmt: skip


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> DrawnVGG:
    return DrawnVGG(tmp_path_factory.mktemp("vgg"))


def use_weights(name, request, monkeypatch):
    """Have the class of a metric or feature space find its weights; drawn ones where they serve."""
    if name.startswith("inception256"):
        inception_case(request, monkeypatch)
    elif name in VGG_METRICS:
        folder = request.getfixturevalue("vgg").folder
        network, importances = (file_sha256(folder / f) for f in (NETWORK_FILE, IMPORTANCES_FILE))
        monkeypatch.setattr(module, "NETWORK", module.NETWORK._replace(sha256=network))
        monkeypatch.setattr(module, "SHA256", importances)
        backbone = VGG16._replace(sha256=network, digest_kind="file")
        monkeypatch.setattr(module.LPIPSVGG, "backbone", backbone)
        monkeypatch.setenv("BENCH_WEIGHTS", str(folder))
    else:
        monkeypatch.setenv("BENCH_WEIGHTS", str(SHARED / "data" / "weights"))


def on_both_devices(kind, use):
    try:
        return use(kind("cpu")), use(kind("cuda"))
    except Unavailable as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", quick(METRICS, "lpips", "dists", "ms_ssim", "ssim", *CPU_METRICS))
def test_a_metric_has_the_value_of_the_processor(gpu, name, request, monkeypatch):
    use_weights(name, request, monkeypatch)
    sides = (67, 72) if name in VGG_METRICS else (192, 200)
    reference, decoded = noise(*sides), noise(*sides, seed=8)
    decoded[:] = (decoded.astype(int) + 7 * reference) // 8

    def value(metric):
        prepared = metric.prepare(reference)
        return metric.compare(prepared, decoded), metric.compare(prepared, decoded)

    (cpu_value, _), (gpu_value, repeated_value) = on_both_devices(metric_class(name), value)
    leaves_gpu = name in CPU_METRICS
    assert gpu_value == pytest.approx(cpu_value, rel=0 if leaves_gpu else TOLERANCE, abs=0)
    assert repeated_value == gpu_value
    assert np.isfinite(gpu_value)
    assert not (leaves_gpu and gpu.waits)


@pytest.mark.parametrize("name", quick(FEATURE_SPACES, "alex256", "squeeze256"))
def test_features_are_those_of_the_processor(gpu, name, request, monkeypatch):
    use_weights(name, request, monkeypatch)
    pixels, kind = noise(256, 300), metric_class(name)
    cpu_features, gpu_features = on_both_devices(kind, lambda space: space.features(pixels))
    assert gpu_features.dtype == np.float32
    tolerance = TOLERANCE * np.abs(cpu_features).max()
    np.testing.assert_allclose(gpu_features, cpu_features, rtol=0, atol=tolerance)
