"""Photographs -> the weights that a network starts from: an orthogonal transform, stage by stage.

Each stage of the encoder starts as the Karhunen-Loeve transform of 2 x 2 neighbours of what the
stage before it gives, each stage of the decoder as its transpose, residual blocks as the identity;
what is left of the kernels is small noise. So a network codes like a wavelet before its first step,
and a short training spends no time on finding that out.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.blocks.channel_attention import InterpolationChannelAttention
from baselines.neural.blocks.layers import ResidualAttention, ResidualBottleneck
from baselines.neural.crdr.model import CRDR
from baselines.neural.crdr.realism import ConditionedBottleneck

NOISE = 0.003  # standard deviation of what is added to the kernels of a transform
STEP = 2.0  # levels of y per unit of an orthonormal transform of [-1, 1], at the middle lambda
LEAST_SPREAD = 0.15


class Transform(NamedTuple):
    """Of 2 x 2 neighbours in c channels."""

    basis: Tensor  # (k, c, 2, 2), orthonormal rows, largest variance first
    mean: Tensor  # (c,)
    spread: Tensor  # (k,) standard deviations of the coefficients

    def analyse(self, features: Tensor) -> Tensor:
        """(n, c, h, w) to (n, k, h / 2, w / 2)."""
        centred = features - self.mean[:, None, None]
        return nn.functional.conv2d(centred, self.basis, stride=2)


def transform_of(features: Tensor, outputs: int) -> Transform:
    """The `outputs` strongest components of (n, c, h, w); fewer where 4 c are fewer."""
    mean = features.mean((0, 2, 3))
    centred = features - mean[:, None, None]
    patches = nn.functional.unfold(centred, kernel_size=2, stride=2)  # (n, 4 c, places)
    rows = patches.transpose(1, 2).reshape(-1, patches.shape[1]).double()
    variances, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    order = variances.argsort(descending=True)[:outputs]
    basis = vectors[:, order].T.reshape(len(order), features.shape[1], 2, 2).float()
    return Transform(basis, mean, variances[order].clamp(min=0).sqrt().float())


def set_downsampling(layer: nn.Conv2d, transform: Transform, spread: Tensor) -> None:
    """A convolution of stride 2 as the transform; further output channels stay noise.

    spread: standard deviation of what the layer takes, by channel, (c,).
    """
    centre, count = layer.kernel_size[0] // 2, len(transform.basis)
    inputs = len(transform.mean)
    _set_noise(layer.weight, spread, dim=1)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        near = slice(centre, centre + 2)
        layer.weight[:count, :inputs, near, near] += transform.basis
        layer.bias[:count] = -(transform.basis.sum((2, 3)) @ transform.mean)  # type: ignore[index]


def set_upsampling(layer: nn.ConvTranspose2d, transform: Transform) -> None:
    """A transposed convolution of stride 2 as the transform's transpose."""
    centre, count = layer.kernel_size[0] // 2, len(transform.basis)
    outputs = len(transform.mean)
    _set_noise(layer.weight, transform.spread, dim=0)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        near = slice(centre, centre + 2)
        layer.weight[:count, :outputs, near, near] += transform.basis
        layer.bias[:outputs] = transform.mean  # type: ignore[index]


def _set_noise(weight: Tensor, spread: Tensor, *, dim: int) -> None:
    """Smaller where the input channels, dimension `dim`, are large: means would drown the rest."""
    scale = torch.ones(weight.shape[dim])
    scale[: len(spread)] = 1 / spread.clamp(min=1)
    shape = [1] * weight.ndim
    shape[dim] = -1
    nn.init.normal_(weight, std=NOISE)
    with torch.no_grad():
        weight *= scale.view(shape)


def transforms_of(images: Tensor, widths: Sequence[int]) -> list[Transform]:
    """One for each stage, each fitted to what the one before gives of images (n, 3, h, w)."""
    found, features = [], images
    for width in widths:
        found.append(transform_of(features, width))
        features = found[-1].analyse(features)
    return found


def initialise(network: CRDR, images: Tensor, lambdas: Sequence[float]) -> None:
    """Set all weights of `network`; images (n, 3, h, w) in [-1, 1], sides multiples of 16.

    lambdas: at q = 0, 1, ...; they say how coarse y is to be at each level.
    """
    sizes = network.sizes
    narrowest = (*map(min, zip(sizes.encoder, reversed(sizes.decoder), strict=True)), sizes.latent)
    transforms = transforms_of(images, narrowest)
    down = [one for one in network.analysis.layers if isinstance(one, nn.Conv2d)]
    up = [one for one in network.synthesis.layers if isinstance(one, nn.ConvTranspose2d)]
    spread = images.std((0, 2, 3))
    for convolution, transform in zip(down, transforms, strict=True):
        set_downsampling(convolution, transform, spread)
        spread = transform.spread
    for upsampling, transform in zip(reversed(up), transforms, strict=True):
        set_upsampling(upsampling, transform)
    for module in network.modules():
        _start_as_identity(module)
    latent = torch.full((sizes.latent,), LEAST_SPREAD)
    latent[: len(spread)] = spread
    gains = _latent_gains(lambdas)
    _set_gain(network.analysis.attentions[-1], gains)
    _set_gain(network.synthesis.attentions[0], 1 / gains)
    _set_entropy_model(network, latent * float(gains[len(gains) // 2]))


def _start_as_identity(module: nn.Module) -> None:
    if isinstance(module, ResidualBottleneck):
        nn.init.normal_(module.expand.weight, std=NOISE)
        nn.init.zeros_(module.expand.bias)  # type: ignore[arg-type]
    if isinstance(module, ConditionedBottleneck):
        for projection in module.project:
            nn.init.zeros_(projection.weight)  # type: ignore[arg-type]
            nn.init.zeros_(projection.bias)  # type: ignore[arg-type]
    if isinstance(module, ResidualAttention):
        gate: nn.Conv2d = module.gate[-1]  # type: ignore[assignment]
        nn.init.constant_(gate.bias, -4.0)  # type: ignore[arg-type]


def _latent_gains(lambdas: Sequence[float]) -> Tensor:
    """A step as wide as the square root of lambda: the distortion per bit is the same then."""
    middle = lambdas[len(lambdas) // 2]
    return torch.tensor([STEP * math.sqrt(middle / one) for one in lambdas])


def _set_gain(attention: nn.Module, gains: Tensor) -> None:
    assert isinstance(attention, InterpolationChannelAttention)
    with torch.no_grad():
        attention.gain.copy_(torch.expm1(gains).log()[:, None].expand_as(attention.gain))


def _set_entropy_model(network: CRDR, spread: Tensor) -> None:
    """Scales about the latent's, at the middle rate; z sees the latent with spreads of one."""
    first: nn.Conv2d = network.hyper_analysis[0]  # type: ignore[assignment]
    with torch.no_grad():
        first.weight /= spread.clamp(min=LEAST_SPREAD)[:, None, None]
    if not network.sizes.slices:
        _set_bias(network.hyper_synthesis.scale[-1], spread)
        return
    parts = torch.split(spread, list(network.sizes.slices))
    for part, transform in zip(parts, network.context.scale, strict=True):
        _set_bias(transform[-1], part)  # type: ignore[index]
    for group in (network.context.mean, network.context.residual):
        for transform in group:
            nn.init.normal_(transform[-1].weight, std=NOISE)  # type: ignore[index]


def _set_bias(layer: nn.Module, spread: Tensor) -> None:
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.bias.copy_(spread.clamp(min=LEAST_SPREAD))  # type: ignore[union-attr]
