"""DISTS against its formula as it is published, in float64, through torchvision's layers."""

import os
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.metrics import deep_features as module
from benchmark.metrics.deep_features import DISTS
from benchmark.system.digest import file_sha256
from support.metrics.cases import through_jpeg, value
from support.networks.vgg_files import CHANNELS, IMPORTANCES_FILE, NETWORK_FILE, DrawnVGG
from support.quick import quick

TOLERANCE = 1e-6  # as stated in the docstring


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return DrawnVGG(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def drawn_network(written, monkeypatch):
    network = module.NETWORK._replace(sha256=file_sha256(written.folder / NETWORK_FILE))
    monkeypatch.setattr(module, "NETWORK", network)
    monkeypatch.setattr(module, "SHA256", file_sha256(written.folder / IMPORTANCES_FILE))
    monkeypatch.setenv("BENCH_WEIGHTS", str(written.folder))
    return written


def layers_of(drawn_network: DrawnVGG, pixels: Pixels) -> list[Tensor]:
    unit = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float64)) / 255
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(1, 3, 1, 1)
    window = np.hanning(5)[1:-1]
    window = torch.from_numpy(np.outer(window, window) / window.sum() ** 2)
    result, signal = [unit], (unit - mean) / deviation
    for step in drawn_network.features:
        if isinstance(step, nn.MaxPool2d):
            result.append(signal)
            alone = signal.transpose(0, 1) ** 2  # every channel as an image of its own
            signal = functional.conv2d(alone, window[None, None], stride=2, padding=1)
            signal = torch.sqrt(signal + 1e-12).transpose(0, 1)
        elif isinstance(step, nn.Conv2d):
            assert step.bias is not None
            signal = functional.conv2d(signal, step.weight.double(), step.bias.double(), padding=1)
        else:
            signal = functional.relu(signal)
    return result  # what follows the last ReLU is a maximum that DISTS leaves out


def published(drawn_network: DrawnVGG, reference: Pixels, decoded: Pixels) -> float:
    """1 - sum(alpha l + beta s), with means, variances and the covariance as they are written."""
    alpha, beta = (drawn_network.importances[name].double().flatten() for name in ("alpha", "beta"))
    total = alpha.sum() + beta.sum()
    similar, first = 0.0, 0
    with torch.inference_mode():
        for x, y in zip(
            layers_of(drawn_network, reference), layers_of(drawn_network, decoded), strict=True
        ):
            first_layer, second_layer = (layer[0].flatten(1) for layer in (x, y))
            mean, other_mean = first_layer.mean(1), second_layer.mean(1)
            covariance = (first_layer * second_layer).mean(1) - mean * other_mean
            variances = first_layer.var(1, correction=0) + second_layer.var(1, correction=0)
            lightness = (2 * mean * other_mean + 1e-6) / (mean**2 + other_mean**2 + 1e-6)
            structure = (2 * covariance + 1e-6) / (variances + 1e-6)
            channels = slice(first, first + len(first_layer))
            first = channels.stop
            similar += float((alpha[channels] * lightness + beta[channels] * structure).sum())
    assert first == sum(CHANNELS)
    return 1 - similar / float(total)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize(("height", "width"), quick([(61, 83), (1, 5)], (1, 5)))
def test_an_image_gets_the_published_formulas_value(drawn_network, coffee, device, height, width):
    source = np.ascontiguousarray(coffee[200 : 200 + height, 200 : 200 + width])
    for decoded in (through_jpeg(source, 10), 255 - source):
        expected, metric = published(drawn_network, source, decoded), DISTS(device)
        assert expected > 100 * TOLERANCE
        exact = metric._mean.dtype == torch.float64
        assert exact == (device != "cpu")
        tolerance = 1e-11 if exact else TOLERANCE
        assert value(metric, source, decoded) == pytest.approx(expected, abs=tolerance)
    with pytest.raises(ValueError, match="shapes"):
        value(DISTS(device), coffee[:9, :9], coffee[:9, :8])


def test_a_file_of_something_else_is_unavailable(drawn_network, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", f"{tmp_path}{os.pathsep}{drawn_network.folder}")
    for name, file_title in (
        (NETWORK_FILE, "torchvision's vgg16-397923af.pth"),
        (IMPORTANCES_FILE, "weights.pt .*DISTS_pytorch 0.1"),
    ):
        (tmp_path / name).write_bytes(b"text")
        with pytest.raises(Unavailable, match=f"{file_title}, .* 982"):
            DISTS()
        (tmp_path / name).unlink()
    DISTS()


def test_the_authors_package_is_enough_where_it_is_installed(drawn_network, tmp_path, monkeypatch):
    (tmp_path / NETWORK_FILE).symlink_to(drawn_network.folder / NETWORK_FILE)
    (tmp_path / "DISTS_pytorch").mkdir()
    (tmp_path / "DISTS_pytorch" / "weights.pt").symlink_to(drawn_network.folder / IMPORTANCES_FILE)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    installed = SimpleNamespace(locate_file=lambda name: tmp_path / name)
    monkeypatch.setattr("importlib.metadata.distribution", {"DISTS_pytorch": installed}.__getitem__)
    DISTS()
    monkeypatch.setattr("importlib.metadata.distribution", Mock(side_effect=PackageNotFoundError))
    for look in (DISTS, DISTS.require):
        with pytest.raises(Unavailable, match=r"dists_weights\.pt .*`bench f"):
            look()
