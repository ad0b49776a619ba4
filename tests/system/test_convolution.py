"""Convolution and ReLU, fused and not, against torch in float64."""

import contextlib

import pytest
import torch
from torch.nn.functional import conv2d

from benchmark.system import backbone
from benchmark.system.backbone import convolve


@pytest.mark.parametrize("machine", ["x86_64", "another"])
@pytest.mark.parametrize("mode", [torch.inference_mode, contextlib.nullcontext])
@pytest.mark.parametrize("layer", [
    *((64, 3, (11, 11), (4, 4), (2, 2)), (24, 80, (1, 1), (1, 1), (0, 0))),
    *((32, 48, (1, 7), (1, 1), (0, 3)), (40, 32, (3, 3), (2, 1), (1, 0))),
], ids=str)  # fmt: skip
def test_it_is_the_relu_of_the_convolution(layer, mode, machine, monkeypatch):
    monkeypatch.setattr(backbone.platform, "machine", lambda: machine)
    outputs, inputs, kernel, stride, padding = layer
    generator = torch.Generator().manual_seed(3)
    signal = torch.randn(2, inputs, 21, 30, generator=generator)
    weight = torch.randn(outputs, inputs, *kernel, generator=generator)
    bias = 9 * torch.randn(outputs, generator=generator)
    exact = conv2d(signal.double(), weight.double(), bias.double(), stride, padding)
    with mode():
        result = convolve(signal, weight, bias, stride, padding)
    assert (exact < 0).any()
    largest = float(exact.max())
    torch.testing.assert_close(result.double(), exact.clamp(min=0), rtol=0, atol=2e-6 * largest)
    wide = convolve(signal.double(), weight.double(), bias.double(), stride, padding)
    assert wide.dtype == torch.float64
    torch.testing.assert_close(wide, exact.clamp(min=0))


def test_gradients_reach_the_signal():
    signal = torch.ones(1, 1, 1, 2, requires_grad=True)
    convolve(signal, torch.tensor([[[[3.0]]], [[[-5.0]]]]), torch.zeros(2)).sum().backward()
    assert signal.grad is not None
    assert signal.grad.tolist() == [[[[3, 3]]]]
