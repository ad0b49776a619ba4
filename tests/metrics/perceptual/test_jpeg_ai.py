"""JPEG AI's metrics by packages: reasons without them; with them, what others compute."""

import sys
from importlib import metadata
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark import registry
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.jpeg_ai import CVVDP, FSIM, IWSSIM, NLPD, PSNRHVSM
from support.metrics.cases import value as value_of

ALL = pytest.mark.parametrize("metric", [FSIM, IWSSIM, NLPD, PSNRHVSM, CVVDP])


def needs(*packages):
    absent = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{' '.join(absent)} is not installed")


@ALL
def test_what_is_absent_or_of_another_release_is_named_with_what_helps(metric, monkeypatch):
    (package,) = metric.packages
    monkeypatch.setattr("benchmark.registry.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=rf"{package}: .*rdrbench\[iqa\]"):
        metric()
    monkeypatch.setattr("benchmark.registry.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    name, version = metric.release
    with pytest.raises(Unavailable, match=f"{name} {version}, .*0.0.1: "):
        metric()
    assert version in metric.protocol


@pytest.fixture
def handed(monkeypatch):
    """Have all packages look installed; return what their functions are called with."""
    import torch

    calls = []

    def give(*images, **options):
        calls.append((images, options))
        return torch.tensor(1.5)

    cvvdp = SimpleNamespace(predict=lambda *images, **options: (give(*images, **options), {}))
    of_piq = ("fsim", "information_weighted_ssim")
    packages = {
        "piq": dict.fromkeys(of_piq, give),
        "pyiqa": {"create_metric": lambda name, device: give if name == "nlpd" else None},
        "psnr_hvsm": {"psnr_hvs_hvsm_np": lambda *images: [None, give(*images)]},
        "pycvvdp": {"cvvdp": lambda **options: give(**options) and cvvdp},
    }
    for name, functions in packages.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**functions))
    releases = dict(metric.release for metric in (FSIM, NLPD, PSNRHVSM, CVVDP))
    monkeypatch.setattr(registry, "find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", releases.__getitem__)
    return calls


@pytest.mark.parametrize(("metric", "min_side", "expected"), [
    *((FSIM, 16, 1.5), (IWSSIM, 161, 1.0)),  # never above 1
    *((NLPD, 64, 1.5), (PSNRHVSM, 8, 1.5), (CVVDP, 16, 1.5)),
])  # fmt: skip
def test_a_package_sees_both_images_as_it_wants_them(metric, min_side, expected, handed):
    generator = np.random.default_rng(1)
    source, decoded = generator.integers(0, 256, (2, min_side, min_side + 9, 3), np.uint8)
    assert value_of(metric(), source, decoded) == expected
    images, options = handed[-1]
    grey = [image @ [0.2126, 0.7152, 0.0722] for image in (decoded, source)]
    if metric is CVVDP:
        assert handed[0][1].keys() == {"display_name", "device"}
        assert options == {"dim_order": "HWC"}
        expected_images = [decoded, source]
    elif metric is PSNRHVSM:
        expected_images = [plane[:8, :16] / 255 for plane in reversed(grey)]
        assert value_of(metric(), source, source.copy()) == np.inf
    else:
        assert options == ({} if metric is NLPD else {"data_range": 1.0})
        planes = grey if metric is not FSIM else [decoded, source]
        expected_images = [np.atleast_3d(plane).transpose(2, 0, 1)[None] / 255 for plane in planes]
        if metric is NLPD:
            expected_images = [image.repeat(3, 1) for image in expected_images]
        assert str(images[0].dtype) == "torch.float32"
    for image, expected_image in zip(images, expected_images, strict=True):
        np.testing.assert_allclose(np.asarray(image), expected_image, rtol=1e-6)
    with pytest.raises(ValueError, match="shapes"):
        value_of(metric(), source, decoded[:, 1:])
    with pytest.raises(NotMeasurable, match=f"{min_side} px .* {min_side - 1}"):
        metric().prepare(source[1:])


def test_a_package_that_nlpd_misses_is_named(handed, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(Unavailable, match=r"NLPD .*: import of pyiqa"):
        NLPD()


def pair(pixels):
    noise = np.random.default_rng(0).normal(0, 8, pixels.shape)
    return pixels, np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def value(metric, pixels):
    return value_of(metric(), *pair(pixels))


@pytest.mark.slow
@needs("piq", "pyiqa", "torch")
def test_fsim_is_that_of_another_implementation(coffee):
    import torch
    from pyiqa import create_metric

    tensors = (torch.from_numpy(i).permute(2, 0, 1)[None] / 255 for i in pair(coffee.copy())[::-1])
    expected = create_metric("fsim", device="cpu")(*tensors)
    assert value(FSIM, coffee) == pytest.approx(float(expected), rel=1e-4)


@needs("psnr_hvsm")
def test_psnr_hvs_m_is_that_of_the_form_in_c(coffee):
    from psnr_hvsm import psnr_hvs_hvsm_cpp

    (_, source), (_, decoded) = map(PSNRHVSM().prepare, pair(coffee))
    (_, expected) = psnr_hvs_hvsm_cpp(source, decoded)
    assert value(PSNRHVSM, coffee) == pytest.approx(expected, rel=1e-6)


@needs("pycvvdp", "torch")
def test_cvvdp_falls_below_ten_with_the_noise(coffee):
    assert metadata.version("cvvdp") == CVVDP.release[1]
    assert 5 < value(CVVDP, coffee) < 9.9


@pytest.mark.parametrize("metric", [FSIM, IWSSIM])
def test_a_flat_source_has_no_value_whatever_its_colour(metric, handed):
    coloured = np.tile(np.uint8([10, 200, 30]), (176, 176, 1))
    with pytest.raises(NotMeasurable, match="flat"):
        metric().prepare(coloured)
    coloured[0, 0] += 1
    assert metric().prepare(coloured) is not None
