"""Start values of HiFiC, fitted to photographs: an orthogonal transform in spite of normalisations.

A normalisation over channels removes the mean and the energy of a position, and with them
brightness and contrast. So each layer begins with pairs of channels, a coefficient and its negative
(Shang et al., "Understanding and improving convolutional neural networks via concatenated rectified
linear units", ICML 2016), and with two large constants of opposite sign: the mean is zero, the
energy that of the constants. A ReLU keeps the two parts of a coefficient in the two channels of its
pair; the next layer takes the difference. The network begins as the Karhunen-Loeve transform of
2 x 2 neighbours by stages, residual blocks as the identity. Our choice: with few channels and some
thousand steps, the authors' random weights end at 21 dB.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.blocks.layers import ChannelNorm
from baselines.neural.blocks.start_values import Transform, transforms_of
from baselines.neural.entropy.hyperprior import start_entropy_model
from baselines.neural.hific.model import Generator, HificNetwork

GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at the weight 1
REFERENCE = 10.0  # a constant of a layer, by the root mean square of the other channels together
REFERENCE_OF_Y = 1.0  # the same of y, small since the hyper-encoder sees it too
NOISE = 0.001  # standard deviation of what is added to the kernels

Layer = nn.Conv2d | nn.ConvTranspose2d


class Coefficients(NamedTuple):
    """Features of photographs whose first channels are coefficients times a gain.

    With `paired`, as many channels after these have the negatives, and the differences count.
    """

    features: Tensor  # (n, C, h, w)
    channels: int
    gain: float
    paired: bool

    def read(self) -> Tensor:
        """Return the coefficients (n, channels, h, w) times the gain, and perhaps shifted."""
        own = self.features[:, : self.channels]
        return own - self.features[:, self.channels : 2 * self.channels] if self.paired else own


def initialise(network: HificNetwork, images: Tensor, lambdas: Sequence[float]) -> None:
    """Start as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1].

    The sides are multiples of 64. The only one of `lambdas` determines how coarse y is.
    """
    sizes = network.sizes
    images = (images + 1) / 2
    colours, *inner, last = ((width - 2) // 2 for width in sizes.widths)
    colours, last = min(images.shape[1], colours), min(last, sizes.latent - 1)
    gain = GAIN / lambdas[0] ** 0.5
    with torch.no_grad():
        transforms = transforms_of(images[:, :colours], (*inner, last))
        y = _start_encoder(network.analysis, images, transforms, gain)
        _start_entropy(network, y)
        _start_generator(network.synthesis, y, transforms, gain)
        to_images: nn.Conv2d = network.synthesis.tail[-1]
        _bias(to_images).add_(images.mean((0, 2, 3)))


def _start_encoder(
    stack: nn.Sequential, images: Tensor, transforms: Sequence[Transform], gain: float
) -> Tensor:
    """Set the encoder's layers, and return y, `gain` times the coefficients and a constant."""
    layers, norms = _parts(stack)
    colours = transforms[0].basis.shape[1]
    now = Coefficients(images, colours, 1.0, paired=False)
    kernels = [_identity(colours), *(transform.basis for transform in transforms)]
    for layer, norm, kernel in zip(layers, norms, kernels, strict=False):
        now = _start_layer(layer, norm, kernel, now, relu=True)
    _set_kernel(layers[-1], gain * _identity(now.channels), now)
    features = layers[-1](now.features)
    # Coarser numbers than whole ones would be rounded otherwise in bfloat16.
    _set_constant(layers[-1], -1, (REFERENCE_OF_Y * _energy(features[:, :-1])).round())
    y: Tensor = layers[-1](now.features)
    return y


def _start_entropy(network: HificNetwork, y: Tensor) -> None:
    """Set scales and means to those of the channels of y, of which the last is constant."""
    start_entropy_model(network, y.std((0, 2, 3)))
    hyper: nn.Conv2d = network.hyper_analysis[0]  # type: ignore[assignment]
    hyper.weight[:, -1] = 0
    means: nn.Conv2d = network.hyper_synthesis.mean[-1]  # type: ignore[assignment]
    nn.init.normal_(means.weight, std=NOISE)
    means.bias.copy_(y.mean((0, 2, 3)))  # type: ignore[union-attr]


def _start_generator(
    generator: Generator, y: Tensor, transforms: Sequence[Transform], gain: float
) -> None:
    """Set the generator's layers to the inverse of the transforms, without the colours' means."""
    first, layer, second = generator.head
    assert isinstance(first, ChannelNorm)
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(second, ChannelNorm)
    count = len(transforms[-1].spread)
    result = Coefficients(first(y), count, 1.0, paired=False)
    now = result._replace(gain=_gain(result.read(), y[:, :count] / gain))
    now = _start_layer(layer, second, _identity(count), now, relu=False)
    for block in generator.blocks:
        nn.init.zeros_(block.layers[-1].scale)  # type: ignore[union-attr,index]
    # What skips the residual blocks, which are the identity, is added to their output.
    now = now._replace(features=2 * now.features, gain=2 * now.gain)
    layers, norms = _parts(generator.tail)
    for up, norm, transform in zip(layers, norms, reversed(transforms), strict=False):
        now = _start_layer(up, norm, transform.basis.transpose(0, 1), now, relu=True)
    _set_kernel(layers[-1], _identity(transforms[0].basis.shape[1]), now)


def _start_layer(
    layer: Layer, norm: ChannelNorm, kernel: Tensor, now: Coefficients, *, relu: bool
) -> Coefficients:
    """Set a layer to a kernel (c', c, h, w) of coefficients, and the normalisation after it.

    The strongest new coefficient has a spread of 1.
    """
    count = len(kernel)
    _set_kernel(layer, kernel, now)
    weight, bias = _weight(layer), _bias(layer)
    weight[count : 2 * count], bias[count : 2 * count] = -weight[:count], -bias[:count]
    reference = REFERENCE * _energy(layer(now.features)[:, :-2])
    _set_constant(layer, -1, reference)
    _set_constant(layer, -2, -reference)
    before = layer(now.features)
    coefficients = before[:, :count]
    norm.scale[: 2 * count] /= norm(before)[:, :count].std((0, 2, 3)).max()
    after = norm(before)
    result = Coefficients(after.relu() if relu else after, count, 1.0, paired=True)
    return result._replace(gain=_gain(result.read(), coefficients))


def _set_kernel(layer: Layer, kernel: Tensor, now: Coefficients) -> None:
    """Set the first channels to a kernel of coefficients around their means."""
    outputs, inputs, size, _ = kernel.shape
    weight, bias = _weight(layer), _bias(layer)
    nn.init.normal_(weight, std=NOISE)
    # Where a layer of stride 2 meets the first of two neighbours, and others their own position.
    begin = layer.kernel_size[0] // 2
    place = slice(begin, begin + size)
    scaled = kernel / now.gain
    weight[:outputs, :inputs, place, place] += scaled
    if now.paired:
        weight[:outputs, inputs : 2 * inputs, place, place] -= scaled
    bias.zero_()
    if isinstance(layer, nn.Conv2d):
        bias[:outputs] = -torch.einsum("oihw,i->o", scaled, now.read().mean((0, 2, 3)))


def _set_constant(layer: Layer, channel: int, constant: Tensor) -> None:
    _weight(layer)[channel] = 0
    _bias(layer)[channel] = constant


def _gain(read: Tensor, coefficients: Tensor) -> float:
    """Return the factor that comes nearest to what is read of coefficients; means do not count."""
    read, coefficients = (x - x.mean((0, 2, 3), keepdim=True) for x in (read, coefficients))
    return float((read * coefficients).sum() / coefficients.square().sum())


def _identity(count: int) -> Tensor:
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
