import pytest
import torch
from torch import nn
from torch.nn import functional

from baselines.neural.blocks.layers import convolution, upsampling
from baselines.neural.entropy.integer.grid import ACTIVATION_LIMIT, WeightLimit, integer_weights
from baselines.neural.entropy.integer.integer_path import (
    BoundExceeded,
    IntegerConvolution,
    IntegerSequence,
    require_bounded_sums,
)
from support.networks.integer_network import extreme

CPU = torch.device("cpu")
IN_FRACTION, OUT_FRACTION = 7, 6
LAYERS = [
    convolution(8, 16, 5),
    convolution(5, 3, 3),
    convolution(24, 8, 1),
    nn.Conv2d(16, 8, 9, padding=4, bias=False),
    *(upsampling(8, 6, kernel) for kernel in (1, 3, 5, 7, 9)),
]
each_layer = pytest.mark.parametrize("layer", LAYERS, ids=str)


def convolve_integers(layer: nn.Module, weight_limit=WeightLimit.FINE, relu=False):
    return IntegerConvolution(
        layer,
        (IN_FRACTION, OUT_FRACTION),
        relu=relu,
        weight_limit=weight_limit,
        device=CPU,
        name="layer",
    )


def expected_output(layer: nn.Module, activations: torch.Tensor, weight_limit: WeightLimit):
    """torch's own layer on int64 weights and activations, then rounding and clipping."""
    transposed = isinstance(layer, nn.ConvTranspose2d)
    integer_layer = integer_weights(
        layer.weight,
        layer.bias,
        out_dim=1 if transposed else 0,
        in_fraction=IN_FRACTION,
        weight_limit=weight_limit,
    )
    channels_first = activations.to(torch.int64).permute(0, 3, 1, 2)
    weight = integer_layer.weight.to(torch.int64)
    if transposed:
        # In float64, which holds these sums exactly: torch's transposed convolution needs floats.
        sums = functional.conv_transpose2d(
            channels_first.double(), weight.double(), None, 2, layer.padding, 1
        ).to(torch.int64)
    else:
        sums = functional.conv2d(channels_first, weight, padding=layer.padding)
    sums += integer_layer.bias.to(torch.int64).view(-1, 1, 1)
    shift = (integer_layer.scale + IN_FRACTION - OUT_FRACTION).view(-1, 1, 1)
    assert shift.min() > 0
    rounded = (sums + (1 << shift >> 1)) >> shift
    return rounded.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT).permute(0, 2, 3, 1)


@each_layer
@pytest.mark.parametrize("weight_limit", WeightLimit)
@pytest.mark.parametrize("size", [(1, 1), (6, 9)])
def test_a_layer_gives_what_torch_gives_in_64_bit_integers(layer, weight_limit, size):
    activations = extreme((3, *size, layer.in_channels), ACTIVATION_LIMIT, 1)
    expected = expected_output(layer, activations, weight_limit)
    assert torch.equal(convolve_integers(layer, weight_limit)(activations).long(), expected)


def test_a_relu_cuts_what_is_below_zero_and_nothing_else():
    activations = extreme((1, 6, 9, 8), ACTIVATION_LIMIT, 3)
    plain = convolve_integers(LAYERS[0])(activations)
    assert plain.min() < 0
    assert torch.equal(convolve_integers(LAYERS[0], relu=True)(activations), plain.clamp(min=0))


@pytest.mark.parametrize(("bias", "shift"), [(2.0**52, 10), (2.0**40, -12), (0.0, -40)])
def test_a_sum_that_float64_might_not_hold_is_refused_by_name(bias, shift):
    weight = torch.full((1, 1, 1, 1000), 8127, dtype=torch.int16)
    with pytest.raises(BoundExceeded, match=r"scale\.0\.0: "):
        require_bounded_sums(
            weight, torch.tensor([bias]).double(), torch.tensor([shift]), "scale.0.0"
        )


@pytest.mark.parametrize(
    "modules",
    [
        nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1)),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.ReLU()),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.Sigmoid()),
    ],
)
def test_modules_that_are_neither_convolution_nor_its_relu_are_refused(modules):
    with pytest.raises(ValueError, match=r"mean\.0: .*(ReLU|Sigmoid)"):
        IntegerSequence(modules, (7, 7), weight_limit=WeightLimit.FINE, device=CPU, name="mean.0")
