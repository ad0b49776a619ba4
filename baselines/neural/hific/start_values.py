"""Start values of HiFiC, fitted to photographs: an orthogonal transform in spite of normalisations.

A normalisation over channels takes away the mean and the energy of a position, and with them the
brightness and the contrast of what is there. So two channels of each layer begin as a reference for
the others: the last is a constant that is large beside them, and determines the energy; the last
but one is the negative sum of the others, so that the mean is constant, too. The layer is nearly
linear then, and the network begins as the Karhunen-Loeve transform of 2 x 2 neighbours by stages,
as those without normalisation do; residual blocks begin as the identity. A shift lets the
coefficients pass a ReLU, and the next layer takes it away.

Our choice: the authors begin with random weights, and train for two million steps. With few
channels and some thousand steps, random weights end at 21 dB (docs/log.md).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.blocks.channel_norm import ChannelNorm
from baselines.neural.blocks.orthogonal import Transform, transforms_of
from baselines.neural.entropy.start_values import start_entropy_model
from baselines.neural.hific.model import Generator, HificNetwork

GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at the weight 1
REFERENCE = 10.0  # the constant of a layer, by the root mean square of the other channels together
REFERENCE_OF_Y = 1.0  # the same of y, small since the hyper-encoder sees it too
MARGIN = 3.0  # standard deviations of a coefficient, below its mean, that pass a ReLU
NOISE = 0.001  # standard deviation of what is added to the kernels

Layer = nn.Conv2d | nn.ConvTranspose2d


class Coefficients(NamedTuple):
    """Features of photographs: coefficients times a gain, shifted, other channels, a constant 1."""

    features: Tensor  # (n, C, h, w)
    gain: float
    shift: Tensor  # (c,) of the first c channels


def initialise(network: HificNetwork, images: Tensor, lambdas: Sequence[float]) -> None:
    """Start as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1].

    The sides are multiples of 64. The only one of `lambdas` determines how coarse y is.
    """
    sizes = network.sizes
    images = (images + 1) / 2
    colours = min(images.shape[1], sizes.widths[0] - 2)
    *inner, last = (width - 2 for width in sizes.widths[1:])
    narrowest = (*inner, min(last, sizes.latent - 1))
    gain = GAIN / lambdas[0] ** 0.5
    with torch.no_grad():
        transforms = transforms_of(images[:, :colours], narrowest)
        y = _start_encoder(network.analysis, images, transforms, gain)
        _start_entropy(network, y)
        _start_generator(network.synthesis, y, transforms, gain)
        to_images: nn.Conv2d = network.synthesis.tail[-1]  # type: ignore[assignment]
        _bias(to_images).add_(images.mean((0, 2, 3)))


def _start_encoder(
    stack: nn.Sequential, images: Tensor, transforms: Sequence[Transform], gain: float
) -> Tensor:
    """Set the encoder's layers, and return y, `gain` times the coefficients and a constant."""
    layers, norms = _parts(stack)
    colours = transforms[0].basis.shape[1]
    now = Coefficients(images, 1.0, images.mean((0, 2, 3))[:colours])
    kernels = [_identity(colours), *(one.basis for one in transforms)]
    for layer, norm, kernel in zip(layers, norms, kernels, strict=False):
        now = _start_layer(layer, norm, kernel, now)
    features = _set_kernel(layers[-1], gain * _identity(len(now.shift)), now)
    # Coarser numbers than whole ones would be rounded otherwise in bfloat16.
    _set_constant(layers[-1], (REFERENCE_OF_Y * _energy(features[:, :-1])).round())
    y: Tensor = layers[-1](now.features)
    return y


def _start_entropy(network: HificNetwork, y: Tensor) -> None:
    """Set scales to those of the channels of y, and the last mean to its constant."""
    start_entropy_model(network, y.std((0, 2, 3)))
    hyper: nn.Conv2d = network.hyper_analysis[0]  # type: ignore[assignment]
    hyper.weight[:, -1] = 0
    means: nn.Conv2d = network.hyper_synthesis.mean[-1]  # type: ignore[assignment]
    nn.init.normal_(means.weight, std=NOISE)
    nn.init.zeros_(means.bias)  # type: ignore[arg-type]
    means.bias[-1] = y[0, -1, 0, 0]  # type: ignore[index]


def _start_generator(
    generator: Generator, y: Tensor, transforms: Sequence[Transform], gain: float
) -> None:
    """Set the generator's layers to the inverse of the transforms, without the colours' means."""
    count = len(transforms[-1].spread)
    first, layer, second = generator.head
    assert isinstance(first, ChannelNorm)
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(second, ChannelNorm)
    now = _start_norm(first, y, count, relu=False)
    now = now._replace(gain=gain * now.gain)
    now = _start_layer(layer, second, _identity(count), now, relu=False)
    for block in generator.blocks:
        nn.init.zeros_(block.layers[-1].scale)  # type: ignore[union-attr,index]
    # What skips the residual blocks, which are the identity, is added to their output.
    now = Coefficients(2 * now.features, 2 * now.gain, 2 * now.shift)
    layers, norms = _parts(generator.tail)
    for up, norm, transform in zip(layers, norms, reversed(transforms), strict=False):
        now = _start_layer(up, norm, transform.basis.transpose(0, 1), now)
    _set_kernel(layers[-1], _identity(transforms[0].basis.shape[1]), now)


def _start_layer(
    layer: Layer,
    norm: ChannelNorm,
    kernel: Tensor,
    now: Coefficients,
    *,
    relu: bool = True,
) -> Coefficients:
    """Set a layer to a kernel (c', c, h, w) of coefficients, and the normalisation after it."""
    features = _set_kernel(layer, kernel, now)
    _set_constant(layer, REFERENCE * _energy(features[:, :-2]))
    for values in (_weight(layer), _bias(layer)):
        values[-2] = -values[:-2].sum(0)
    norm.scale[-2] = 0
    return _start_norm(norm, layer(now.features), len(kernel), relu=relu)


def _set_kernel(layer: Layer, kernel: Tensor, now: Coefficients) -> Tensor:
    """Set the kernel of the coefficients, in which all shifts are gone, and return the output."""
    outputs, inputs, size, _ = kernel.shape
    weight, bias = _weight(layer), _bias(layer)
    nn.init.normal_(weight, std=NOISE)
    # Where a layer of stride 2 meets the first of two neighbours, and others their own position.
    begin = layer.kernel_size[0] // 2
    place = slice(begin, begin + size)
    weight[:outputs, :inputs, place, place] += kernel / now.gain
    shift = torch.einsum("oihw,i->ohw", weight[:, : len(now.shift)], now.shift)
    bias.zero_()
    if isinstance(layer, nn.ConvTranspose2d):  # where it is another at each of four positions
        weight[:, -1] = -shift / now.features[0, -1, 0, 0]
    else:
        bias -= shift.sum((1, 2))
    features: Tensor = layer(now.features)
    return features


def _set_constant(layer: Layer, constant: Tensor) -> None:
    """Make the last output a constant."""
    _weight(layer)[-1] = 0
    _bias(layer)[-1] = constant


def _start_norm(norm: ChannelNorm, features: Tensor, count: int, *, relu: bool) -> Coefficients:
    """Set a normalisation: the first `count` channels are at most 1 in spread, the last is 1."""
    before = features[:, :count]
    centred = before - before.mean((0, 2, 3), keepdim=True)
    gain = float(1 / centred.std((0, 2, 3)).max())
    found = (centred * norm(features)[:, :count]).sum() / centred.square().sum()
    norm.scale.mul_(gain / found)
    norm.scale[-1], norm.shift[-1] = 0, 1
    after = norm(features)[:, :count]
    if relu:
        norm.shift[:count] = MARGIN * after.std((0, 2, 3)) - after.mean((0, 2, 3))
    normal = norm(features)
    shift = normal[:, :count].mean((0, 2, 3)) - gain * before.mean((0, 2, 3))
    return Coefficients(normal.relu() if relu else normal, gain, shift)


def _identity(count: int) -> Tensor:
    """Return the kernel (count, count, 1, 1) that leaves channels as they are."""
    return torch.eye(count)[:, :, None, None]


def _energy(features: Tensor) -> Tensor:
    """Return the root mean square, over positions, of the norm over channels."""
    return features.square().sum(1).mean().sqrt()


def _weight(layer: Layer) -> Tensor:
    """Return the kernel (outputs, inputs, h, w), to be changed in place."""
    return layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight


def _bias(layer: Layer) -> Tensor:
    bias: Tensor = layer.bias  # type: ignore[assignment]
    return bias


def _parts(stack: nn.Sequential) -> tuple[list[Layer], list[ChannelNorm]]:
    """Return the convolutions of a stack, in order, and its normalisations."""
    layers: list[Layer] = [one for one in stack if isinstance(one, Layer)]
    return layers, [one for one in stack if isinstance(one, ChannelNorm)]
