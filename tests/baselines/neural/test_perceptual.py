"""LPIPS as a loss against the forward pass of the lpips package and against finite differences."""

import warnings

import numpy as np
import pytest
import torch

from baselines.neural.perceptual import Perceptual
from conftest import SHARED
from support.metrics.cases import through_jpeg
from support.networks.drawn_alexnet import drawn_alexnet, use_alexnet

WEIGHTS = SHARED / "data" / "weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ../shared/data/weights")


@pytest.fixture(params=["drawn", pytest.param("alexnet", marks=needs_weights)])
def tensors(request, tmp_path, monkeypatch):
    """Weights that `Perceptual` finds and accepts: drawn ones, or AlexNet's if they are present."""
    if request.param == "alexnet":
        monkeypatch.setenv("BENCH_WEIGHTS", str(WEIGHTS))
        return torch.load(WEIGHTS / "alexnet_features.pth", weights_only=True)
    use_alexnet(drawn := drawn_alexnet(), tmp_path, monkeypatch)
    return drawn


@pytest.fixture
def peer(tensors):
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision the old way
        network = LPIPS(net="alex", pnet_rand=True, verbose=False)
    for name, parameter in network.net.named_parameters():  # slice2.3.weight
        _, number, part = name.split(".")
        parameter.data.copy_(tensors[f"features.{number}.{part}"])
    return network


@pytest.fixture
def pair(coffee):
    """Three crops, and their JPEG reconstructions at three qualities, with a little noise.

    Equal pixels of a flat block give equal features, and a maximum of two equals has no gradient.
    """
    places = (60, 100), (200, 300), (60, 100)
    crops = [np.ascontiguousarray(coffee[y : y + 64, x : x + 80]) for y, x in places]
    first, second = (
        torch.from_numpy(np.stack([*images])).permute(0, 3, 1, 2) / 127.5 - 1
        for images in (crops, map(through_jpeg, crops, (5, 20, 60)))
    )
    return first, second + 0.01 * torch.randn(3, 3, 64, 80)


def test_value_and_gradient_of_each_picture_are_those_of_the_lpips_package(tensors, peer, pair):
    result = Perceptual()(*pair)
    with torch.inference_mode():
        expected = peer(*pair).flatten()
    assert result.shape == (3,)
    assert result.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert result.min() > 0.001
    originals, images = pair[0].double(), pair[1].double().requires_grad_()
    weights = torch.tensor([1.0, 2.0, -3.0]).double()
    (expected,) = torch.autograd.grad(peer.double()(originals, images).flatten() @ weights, images)
    (result,) = torch.autograd.grad(Perceptual().double()(originals, images) @ weights, images)
    # shift and scale were rounded to float32 in both
    assert torch.allclose(result, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


def test_originals_are_constants_and_nothing_of_the_loss_can_be_trained(tensors, pair):
    loss = Perceptual()
    originals, images = pair[0].requires_grad_(), pair[1].requires_grad_()
    loss(originals, images).sum().backward()
    assert originals.grad is None
    assert bool(images.grad.flatten(1).any(1).all())
    assert list(loss.parameters()) == []
    assert not loss.state_dict()
    assert not any(buffer.requires_grad for buffer in loss.buffers())


def test_equal_pictures_have_no_distance_and_under_autocast_it_is_in_float32(tensors, pair):
    flat = torch.zeros_like(pair[0])
    for images in (pair[0], flat, flat - 1):
        moving = images.clone().requires_grad_()
        distances = Perceptual()(images, moving)
        distances.sum().backward()
        assert distances.tolist() == [0, 0, 0]
        assert not moving.grad.any()
    loss, images = Perceptual(), pair[1].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(pair[0], images)
    result.sum().backward()
    assert result.dtype == images.grad.dtype == torch.float32
    assert result.tolist() == pytest.approx(loss(*pair).tolist(), rel=0.1)


def test_weights_multiply_the_distance_and_regions_without_weight_get_no_gradient(tensors, pair):
    distance, weights = Perceptual(), torch.tensor([0.5, 3.0, 0.0])
    expected = distance(*pair) * weights
    assert torch.allclose(distance(*pair, weights), expected)
    assert torch.allclose(distance(*pair, weights[:, None, None].expand(3, 2, 2)), expected)
    first, second = torch.rand(2, 1, 3, 64, 512).mul(2).sub(1)
    second.requires_grad_()
    distance(first, second, torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, 4, 4)).sum().backward()
    reach = 128 + 98 + 16  # in addition to half a receptive field, its rounding to positions
    assert second.grad[..., :128].abs().sum() > 0
    assert second.grad[..., reach:].abs().sum() == 0
