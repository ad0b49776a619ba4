"""JPEG AI's metrics by packages: reasons without them; with them, what others compute."""

from importlib import metadata
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from benchmark import registry
from benchmark.errors import Unavailable
from benchmark.metrics.perceptual.jpeg_ai import CVVDP, FSIM, IWSSIM, NLPD, PSNRHVSM, VIF, luma

ALL = pytest.mark.parametrize("metric", [VIF, FSIM, IWSSIM, NLPD, PSNRHVSM, CVVDP])


def needs(*packages):
    absent = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{' '.join(absent)} is not installed")


@ALL
def test_what_is_absent_or_of_another_release_is_named_with_what_helps(metric, monkeypatch):
    (package,) = metric.packages
    monkeypatch.setattr("benchmark.registry.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=rf"{package}: run `pip install 'rdrbench\[iqa\]'`"):
        metric()
    monkeypatch.setattr("benchmark.registry.find_spec", lambda name: object())
    monkeypatch.setattr(registry, "version", lambda name: "0.0.1")
    name, wanted = metric.release
    with pytest.raises(Unavailable, match=f"{name} {wanted}, here is 0.0.1: run `pip install"):
        metric()
    assert wanted in metric.protocol


def pair(pixels):
    noise = np.random.default_rng(0).normal(0, 8, pixels.shape)
    return pixels, np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def value(metric, pixels):
    source, decoded = pair(pixels)
    made = metric()
    return made.compare(made.prepare(source), decoded)


def vifp(source, decoded):
    """VIF in the pixel domain by the authors' formula, in float64."""
    above = below = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        window = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * (size / 5) ** 2))
        window /= window.sum()

        def smooth(image, window=window, half=size // 2):
            result = correlate1d(correlate1d(image, window, 0), window, 1)
            return result[half:-half, half:-half]

        if scale > 1:
            source, decoded = smooth(source)[::2, ::2], smooth(decoded)[::2, ::2]
        means = smooth(source), smooth(decoded)
        of_source = np.maximum(smooth(source**2) - means[0] ** 2, 0)
        of_decoded = np.maximum(smooth(decoded**2) - means[1] ** 2, 0)
        gain = (smooth(source * decoded) - means[0] * means[1]) / (of_source + 1e-10)
        noise = of_decoded - gain * (smooth(source * decoded) - means[0] * means[1])
        noise = np.where(gain < 0, of_decoded, noise)
        gain, noise = np.maximum(gain, 0), np.maximum(noise, 1e-10)
        above += np.log10(1 + gain**2 * of_source / (noise + 2)).sum()
        below += np.log10(1 + of_source / 2).sum()
    return above / below


@needs("piq", "torch")
def test_vif_is_the_authors_formula(coffee):
    source, decoded = pair(coffee)
    assert value(VIF, coffee) == pytest.approx(vifp(luma(source), luma(decoded)), rel=1e-4)


@pytest.mark.slow
@needs("piq", "pyiqa", "torch")
def test_fsim_is_that_of_another_implementation(coffee):
    import torch
    from pyiqa import create_metric

    tensors = [
        torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        for image in pair(coffee)
    ]
    other = create_metric("fsim", device="cpu")(*reversed(tensors))
    assert value(FSIM, coffee) == pytest.approx(float(other), rel=1e-4)


@needs("psnr_hvsm")
def test_psnr_hvs_m_is_that_of_the_form_in_c(coffee):
    from psnr_hvsm import psnr_hvs_hvsm_cpp

    made = PSNRHVSM()
    (_, source), (_, decoded) = map(made.prepare, pair(coffee))
    (_, expected) = psnr_hvs_hvsm_cpp(source, decoded)
    assert value(PSNRHVSM, coffee) == pytest.approx(expected, rel=1e-6)


@needs("pycvvdp", "torch")
def test_cvvdp_falls_below_ten_with_the_noise(coffee):
    assert metadata.version("cvvdp") == CVVDP.release[1]
    assert 5 < value(CVVDP, coffee) < 9.9
