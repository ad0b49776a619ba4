import pytest
import torch
from torch import nn
from torch.nn import functional

from baselines.neural.blocks.layers import convolution, upsampling
from baselines.neural.entropy.fixed.convolution import (
    BoundExceeded,
    FixedSequence,
    IntegerConvolution,
    LayerGrid,
    prove,
)
from baselines.neural.entropy.fixed.grid import (
    ACTIVATION_LIMIT,
    WEIGHT_LIMIT,
    Precision,
    integer_weights,
)
from baselines.neural.entropy.fixed.kernels import Float64Sums, limbs
from support.networks.fixed_network import EXACT_KERNELS, extreme

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
each_kernel = pytest.mark.parametrize("kernel", EXACT_KERNELS)


def in_integers(layer: nn.Module, kernel=Float64Sums, precision=Precision.FINE, relu=False):
    return IntegerConvolution(
        layer,
        LayerGrid(IN_FRACTION, OUT_FRACTION, ACTIVATION_LIMIT, torch.int16),
        relu=relu,
        precision=precision,
        kernel=kernel,
        device=CPU,
        name="layer",
    )


def expected_output(layer: nn.Module, activations: torch.Tensor, precision: Precision):
    """torch's own layer on int64 weights and activations, then rounding and clipping."""
    transposed = isinstance(layer, nn.ConvTranspose2d)
    made = integer_weights(
        layer.weight,
        layer.bias,
        out_dim=1 if transposed else 0,
        in_fraction=IN_FRACTION,
        precision=precision,
    )
    channels_first = activations.to(torch.int64).permute(0, 3, 1, 2)
    weight = made.weight.to(torch.int64)
    if transposed:
        # Of float64, which holds these sums exactly: torch has no transposed one for integers.
        sums = functional.conv_transpose2d(
            channels_first.double(), weight.double(), None, 2, layer.padding, 1
        ).to(torch.int64)
    else:
        sums = functional.conv2d(channels_first, weight, padding=layer.padding)
    sums += made.bias.to(torch.int64).view(-1, 1, 1)
    shift = (made.scale + IN_FRACTION - OUT_FRACTION).view(-1, 1, 1)
    assert shift.min() > 0
    rounded = (sums + (1 << shift >> 1)) >> shift
    return rounded.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT).permute(0, 2, 3, 1)


@each_layer
@each_kernel
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("size", [(1, 1), (6, 9)])
def test_a_layer_gives_what_torch_gives_in_64_bit_integers(layer, kernel, precision, size):
    activations = extreme((3, *size, layer.in_channels), ACTIVATION_LIMIT, 1)
    expected = expected_output(layer, activations, precision)
    assert torch.equal(in_integers(layer, kernel, precision)(activations).long(), expected)


@each_kernel
def test_a_relu_cuts_what_is_below_zero_and_nothing_else(kernel):
    activations = extreme((1, 6, 9, 8), ACTIVATION_LIMIT, 3)
    plain = in_integers(LAYERS[0], kernel)(activations)
    assert plain.min() < 0
    assert torch.equal(in_integers(LAYERS[0], kernel, relu=True)(activations), plain.clamp(min=0))


def test_limbs_and_their_sum_never_reach_minus_128_and_add_up_to_the_number():
    values = torch.arange(-ACTIVATION_LIMIT, ACTIVATION_LIMIT + 1, dtype=torch.int16)
    high, low, both = (limb.long() for limb in limbs(values))
    assert torch.equal(128 * high + low, values.long())
    assert torch.equal(both, high + low)
    assert max(high.abs().max(), low.abs().max(), both.abs().max()) <= 127
    assert max(WEIGHT_LIMIT.values()) <= ACTIVATION_LIMIT


@pytest.mark.parametrize("precision", Precision)
def test_a_sum_that_int32_might_not_hold_is_refused_by_name(precision):
    weight = torch.full((1, 1, 1, 140_000), WEIGHT_LIMIT[precision], dtype=torch.int16)
    nothing = torch.zeros(1, dtype=torch.float64)
    prove(weight[..., :130_000], nothing, torch.tensor([12]), "mean.3.0")
    with pytest.raises(BoundExceeded, match=r"mean\.3\.0: the int32 sum .* too many inputs"):
        prove(weight, nothing, torch.tensor([12]), "mean.3.0")


@pytest.mark.parametrize(("bias", "shift"), [(2.0**52, 10), (2.0**40, -12), (0.0, -40)])
def test_a_sum_that_float64_might_not_hold_is_refused_by_name(bias, shift):
    weight = torch.full((1, 1, 1, 1000), 8127, dtype=torch.int16)
    with pytest.raises(BoundExceeded, match=r"scale\.0\.0: a sum may reach"):
        prove(weight, torch.tensor([bias]).double(), torch.tensor([shift]), "scale.0.0")


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, padding="same"),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 8, (3, 1), padding=(1, 0)),
        nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1),
    ],
    ids=str,
)
def test_layers_of_other_kinds_are_refused(layer):
    with pytest.raises(ValueError, match="has no exact form"):
        in_integers(layer)


@pytest.mark.parametrize(
    "modules",
    [
        nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1)),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.ReLU()),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.Sigmoid()),
    ],
)
def test_modules_that_are_neither_convolution_nor_its_relu_are_refused(modules):
    with pytest.raises(ValueError, match=r"mean\.0: .* cannot be executed in integers"):
        FixedSequence(
            modules, (7, 7), precision=Precision.FINE, kernel=Float64Sums, device=CPU, name="mean.0"
        )
