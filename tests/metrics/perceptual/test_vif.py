"""VIF in the pixel domain against its formula, window by window, and against piq."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from benchmark.errors import NotMeasurable
from benchmark.metrics.psnr import luma
from benchmark.metrics.vif import VIF
from support.metrics.cases import value as value_of


@pytest.fixture
def pair():
    """A smooth picture with an edge, and the same in steps of five grey levels."""
    down, right = np.mgrid[0:53, 0:70]
    source = np.rint(128 + 40 * np.sin(down / 9) + right / 2 - 50 * (right > 40))
    channels = np.stack([source, source * 0.8, 255 - source], -1)
    return channels.astype(np.uint8), (np.rint(channels / 5) * 5).clip(0, 255).astype(np.uint8)


def gaussian(size):
    steps = np.arange(size) - size // 2
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * (size / 5) ** 2))
    return window / window.sum()


def mean(plane, window):
    return (sliding_window_view(plane, window.shape) * window).sum((2, 3))


def vifp(source, decoded):
    """By the paper: information of gain and noise in each window over that of the source."""
    decoded_information = source_information = 0.0
    for size in (17, 9, 5, 3):
        window = gaussian(size)
        if size < 17:
            source, decoded = mean(source, window)[::2, ::2], mean(decoded, window)[::2, ::2]
        of_source = mean(source**2, window) - mean(source, window) ** 2
        of_decoded = mean(decoded**2, window) - mean(decoded, window) ** 2
        covariance = mean(source * decoded, window) - mean(source, window) * mean(decoded, window)
        gain = np.maximum(covariance / of_source, 0)
        noise = of_decoded - gain * covariance
        decoded_information += np.log10(1 + gain**2 * of_source / (noise + 2)).sum()
        source_information += np.log10(1 + of_source / 2).sum()
    return decoded_information / source_information


def test_vif_is_the_formula_of_the_paper(pair):
    expected = vifp(*(luma(pixels) for pixels in pair))
    assert 0.3 < expected < 0.95
    assert value_of(VIF(), *pair) == pytest.approx(expected, rel=1e-9)


def test_vif_counts_what_is_left_of_the_source(pair):
    source, _ = pair
    assert value_of(VIF(), source, 255 - source) < 1e-3, "turned over, no gain is positive"
    assert value_of(VIF(), source, np.full_like(source, 128)) == 0
    with pytest.raises(NotMeasurable, match="flat"):
        VIF().prepare(np.full_like(source, 9))
    with pytest.raises(NotMeasurable, match=r" 41 px .* 40$"):
        VIF().prepare(source[:40])


def test_vif_is_that_of_piq(pair):
    torch = pytest.importorskip("torch")
    piq = pytest.importorskip("piq", reason="piq is not installed")
    source, decoded = (torch.from_numpy(luma(pixels)[None, None]) for pixels in pair)
    expected = float(piq.vif_p(decoded, source, data_range=255.0))
    assert value_of(VIF(), *pair) == pytest.approx(expected, rel=1e-6)
