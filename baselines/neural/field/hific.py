"""HiFiC's network: residual generator with channel normalisation, mean-scale hyperprior::

    x ─ conv7, norm, relu ─ 4 x (conv3/2, norm, relu) ─ conv3 ─ y ─ hyperprior ─ y_hat
    y_hat ─ norm, conv3, norm ─┬─ residual blocks ─ + ─ 4 x (up, norm, relu) ─ conv7 ─> x
                               └────────────────────┘

Mentzer, Toderici, Tschannen, Agustsson, "High-Fidelity Generative Image Compression" (NeurIPS
2020). Our choice: in training, generator and hyper-decoder see rounded latents (in the authors'
code, the hyper-decoder sees noisy latents); the gradient of rounding is replaced by 1.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.architecture import HificSizes
from baselines.neural.blocks.layers import (
    IMAGE_CHANNELS,
    ChannelNorm,
    convolution,
    upsampling,
)
from baselines.neural.blocks.start_values import Transform, fit_transforms
from baselines.neural.entropy.hyperprior import HyperpriorNetwork, initialise_entropy_model


class HificNetwork(HyperpriorNetwork):
    """HiFiC's network; its transforms take images in [0, 1]."""

    uses_unit_range = True
    counts_rounded = True
    quantised_bits: Mapping[str, int] = {"synthesis.blocks.": 7, "hyper_synthesis.": 7}

    def __init__(self, sizes: HificSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.analysis = encoder(sizes)
        self.synthesis = Generator(sizes)
        self.add_entropy_model(sizes)

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Initialise as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1]."""
        images = (images + 1) / 2
        colours, *inner_counts, last_count = ((width - 2) // 2 for width in self.sizes.widths)
        colours, last_count = min(images.shape[1], colours), min(last_count, self.sizes.latent - 1)
        gain = GAIN / lambdas[0] ** 0.5
        with torch.no_grad():
            transforms = fit_transforms(images[:, :colours], (*inner_counts, last_count))
            y = _start_encoder(self.analysis, images, transforms, gain)
            initialise_entropy_model(self, y.std((0, 2, 3)))
            hyper_layer: nn.Conv2d = self.hyper_analysis[0]  # type: ignore[assignment]
            hyper_layer.weight[:, -1] = 0  # y's last channel is constant
            mean_layer: nn.Conv2d = self.hyper_synthesis.mean[-1]  # type: ignore[assignment]
            nn.init.normal_(mean_layer.weight, std=NOISE_STD)
            _bias(mean_layer).copy_(y.mean((0, 2, 3)))
            _start_generator(self.synthesis, y, transforms, gain)
            _bias(self.synthesis.tail[-1]).add_(images.mean((0, 2, 3)))


def encoder(sizes: HificSizes) -> nn.Sequential:
    """Make the layers from images (N, 3, H, W) in [0, 1] to y (N, M, H / 16, W / 16)."""
    width = sizes.widths[0]
    layers: list[nn.Module] = [convolution(IMAGE_CHANNELS, width, 7), ChannelNorm(width), nn.ReLU()]
    for inputs, outputs in pairwise(sizes.widths):
        layers += [convolution(inputs, outputs, 3, stride=2), ChannelNorm(outputs), nn.ReLU()]
    return nn.Sequential(*layers, convolution(sizes.widths[-1], sizes.latent, 3))


class ResidualBlock(nn.Module):
    """x + norm(conv3(relu(norm(conv3(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, channels, 3),
            ChannelNorm(channels),
            nn.ReLU(),
            convolution(channels, channels, 3),
            ChannelNorm(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W) without changing the shape."""
        return features + self.layers(features)


class Generator(nn.Module):
    """Decoder, from y (N, M, H / 16, W / 16) to images (N, 3, H, W), about [0, 1]."""

    def __init__(self, sizes: HificSizes) -> None:
        super().__init__()
        widths = sizes.widths[::-1]
        self.head = nn.Sequential(
            ChannelNorm(sizes.latent),
            convolution(sizes.latent, widths[0], 3),
            ChannelNorm(widths[0]),
        )
        self.blocks = nn.Sequential(
            *(ResidualBlock(widths[0]) for _ in range(sizes.residual_blocks))
        )
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [upsampling(inputs, outputs, 3), ChannelNorm(outputs), nn.ReLU()]
        self.tail = nn.Sequential(*layers, convolution(widths[-1], IMAGE_CHANNELS, 7))

    def forward(self, latents: Tensor) -> Tensor:
        """Map decoded y to images."""
        head = self.head(latents)
        return self.tail(head + self.blocks(head))


# Initial values. Since normalisation removes brightness and contrast, a layer has pairs of
# channels, a coefficient and its negative, whose difference after a ReLU the next layer takes, and
# two large constants of opposite sign: the mean is 0, and constants have nearly all the energy.
# The network starts as the Karhunen-Loeve transform of 2 x 2 neighbours, stage by stage. It is our
# choice: with few channels and some thousand steps, the authors' random weights end at 21 dB.
GAIN = 2.5  # steps of y per unit of an orthonormal transform of [0, 1], at lambda = 1
REFERENCE = 10.0  # a layer's constant, relative to the root mean square of all other channels
Y_REFERENCE = 1.0  # constant of y; small, since the hyper-encoder sees it, too
NOISE_STD = 0.001  # standard deviation of the noise added to kernels

Layer = nn.Conv2d | nn.ConvTranspose2d


class Coefficients(NamedTuple):
    """Features of photographs whose first channels are coefficients times a gain."""

    # if `paired`, the channels after these are negative coefficients, and are subtracted

    features: Tensor  # (n, C, h, w)
    channels: int  # number of coefficients
    gain: float
    paired: bool

    def read(self) -> Tensor:
        """Return the coefficients (n, channels, h, w) times the gain, possibly shifted."""
        values = self.features[:, : self.channels]
        return (
            values - self.features[:, self.channels : 2 * self.channels] if self.paired else values
        )


def _start_encoder(
    stack: nn.Sequential, images: Tensor, transforms: Sequence[Transform], gain: float
) -> Tensor:
    """Set the encoder's layers; return y, `gain` times the coefficients and a constant channel."""
    layers, norms = _layers_and_norms(stack)
    colours = transforms[0].basis.shape[1]
    current = Coefficients(images, colours, 1.0, paired=False)
    kernels = [_identity(colours), *(transform.basis for transform in transforms)]
    for layer, norm, kernel in zip(layers, norms, kernels, strict=False):
        current = _start_layer(layer, norm, kernel, current, relu=True)
    _set_kernel(layers[-1], gain * _identity(current.channels), current)
    features = layers[-1](current.features)
    # The constant is an integer, since bfloat16 would round other numbers.
    _set_constant(layers[-1], -1, (Y_REFERENCE * _energy(features[:, :-1])).round())
    return layers[-1](current.features)


def _start_generator(
    generator: Generator, y: Tensor, transforms: Sequence[Transform], gain: float
) -> None:
    """Set the generator's layers to the inverse transforms, without the means of colours."""
    input_norm, layer, output_norm = generator.head
    assert isinstance(input_norm, ChannelNorm)
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(output_norm, ChannelNorm)
    count = len(transforms[-1].spread)
    result = Coefficients(input_norm(y), count, 1.0, paired=False)
    current = result._replace(gain=_fit_gain(result.read(), y[:, :count] / gain))
    current = _start_layer(layer, output_norm, _identity(count), current, relu=False)
    for block in generator.blocks:
        nn.init.zeros_(block.layers[-1].scale)  # type: ignore[union-attr,index]
    # The residual blocks are identities, so the sum of input and output doubles the features.
    current = current._replace(features=2 * current.features, gain=2 * current.gain)
    layers, norms = _layers_and_norms(generator.tail)
    for up, norm, transform in zip(layers, norms, reversed(transforms), strict=False):
        current = _start_layer(up, norm, transform.basis.transpose(0, 1), current, relu=True)
    _set_kernel(layers[-1], _identity(transforms[0].basis.shape[1]), current)


def _start_layer(
    layer: Layer, norm: ChannelNorm, kernel: Tensor, current: Coefficients, *, relu: bool
) -> Coefficients:
    """Set a layer to a kernel (c', c, h, w) on coefficients; adjust the normalisation after it."""
    count = len(kernel)
    _set_kernel(layer, kernel, current)
    weight, bias = _weight(layer), _bias(layer)
    weight[count : 2 * count], bias[count : 2 * count] = -weight[:count], -bias[:count]
    reference = REFERENCE * _energy(layer(current.features)[:, :-2])
    _set_constant(layer, -1, reference)
    _set_constant(layer, -2, -reference)
    features = layer(current.features)
    coefficients = features[:, :count]
    norm.scale[: 2 * count] /= norm(features)[:, :count].std((0, 2, 3)).max()
    outputs = norm(features)
    result = Coefficients(outputs.relu() if relu else outputs, count, 1.0, paired=True)
    return result._replace(gain=_fit_gain(result.read(), coefficients))


def _set_kernel(layer: Layer, kernel: Tensor, current: Coefficients) -> None:
    outputs, inputs, size, _ = kernel.shape
    weight, bias = _weight(layer), _bias(layer)
    nn.init.normal_(weight, std=NOISE_STD)
    # With stride 2, the tap of the first of two neighbours; otherwise the central tap
    start = layer.kernel_size[0] // 2
    taps = slice(start, start + size)
    scaled = kernel / current.gain
    weight[:outputs, :inputs, taps, taps] += scaled
    if current.paired:
        weight[:outputs, inputs : 2 * inputs, taps, taps] -= scaled
    bias.zero_()
    if isinstance(layer, nn.Conv2d):
        bias[:outputs] = -torch.einsum("oihw,i->o", scaled, current.read().mean((0, 2, 3)))


def _set_constant(layer: Layer, channel: int, constant: Tensor) -> None:
    _weight(layer)[channel] = 0
    _bias(layer)[channel] = constant


def _fit_gain(values: Tensor, coefficients: Tensor) -> float:
    """Fit the factor that maps coefficients to `values`, both without means."""
    values, coefficients = (x - x.mean((0, 2, 3), keepdim=True) for x in (values, coefficients))
    return float((values * coefficients).sum() / coefficients.square().sum())


def _identity(count: int) -> Tensor:
    return torch.eye(count)[:, :, None, None]


def _energy(features: Tensor) -> Tensor:
    return features.square().sum(1).mean().sqrt()


def _weight(layer: Layer) -> Tensor:
    return layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight


def _bias(layer: Layer) -> Tensor:
    return layer.bias  # type: ignore[return-value]


def _layers_and_norms(stack: nn.Sequential) -> tuple[list[Layer], list[ChannelNorm]]:
    layers: list[Layer] = [layer for layer in stack if isinstance(layer, Layer)]
    return layers, [layer for layer in stack if isinstance(layer, ChannelNorm)]
