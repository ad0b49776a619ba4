"""Layers of learned codecs: values of a pointwise convolution, and the memory layout."""

import pytest
import torch
from torch.nn import functional

from baselines.neural.blocks.control import ConditionedBottlenecks, IndexedLevels
from baselines.neural.blocks.layers import convolution


@pytest.fixture
def one_thread():
    """One thread, as in workers: with several threads, torch chooses oneDNN itself."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def features(channels: int, images: int = 1) -> torch.Tensor:
    values = torch.randn(images, channels, 24, 32, generator=torch.Generator().manual_seed(0))
    return values.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("images", [1, 3])
def test_its_values_and_gradients_are_those_of_a_convolution(one_thread, images):
    layer = convolution(96, 48, 1)
    assert list(layer.state_dict()) == ["weight", "bias"]
    arguments = features(96, images).requires_grad_(), layer.weight, layer.bias
    ours, theirs = layer(arguments[0]), functional.conv2d(*arguments)
    gradients = (torch.autograd.grad(tensor.square().sum(), arguments) for tensor in (ours, theirs))
    for our_values, their_values in [(ours, theirs), *zip(*gradients, strict=True)]:
        rounding = 100 * torch.finfo(torch.float32).eps * their_values.abs().max()
        assert (our_values - their_values).abs().max() <= rounding


def test_what_onednn_does_not_compute_is_left_to_torch():
    layer = convolution(96, 48, 1).double()
    inputs = features(96).double()
    assert torch.equal(layer(inputs), functional.conv2d(inputs, layer.weight, layer.bias))


@pytest.mark.parametrize("images", [1, 2])
def test_gradients_of_conditioned_blocks_stay_channels_last(images):
    """Otherwise each layer before them has to reorder its features first."""
    blocks = ConditionedBottlenecks(2, 16, 6).to(memory_format=torch.channels_last)
    inputs = features(16, images).requires_grad_()
    blocks(inputs, IndexedLevels(torch.ones(images, 6), None)).sum().backward()
    assert inputs.grad.is_contiguous(memory_format=torch.channels_last)
