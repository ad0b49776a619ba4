"""Start values fitted to photographs: an orthogonal transform, stage by stage.

Each stage of the encoder starts as the Karhunen-Loeve transform of 2 x 2 neighbours in the output
of the stage before, each stage of the decoder as its transpose, residual blocks as the identity;
all other weights of the kernels are small noise. A network codes like a wavelet before its first
step, and a short training does not have to learn that.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.neural.blocks.channel_attention import InterpolationChannelAttention
from baselines.neural.blocks.layers import ResidualAttention, ResidualBottleneck
from baselines.neural.blocks.orthogonal import add_transform, transforms_of
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.crdr.realism import ConditionedBottleneck
from baselines.neural.entropy.start_values import LEAST_SPREAD, start_entropy_model

NOISE = 0.003  # standard deviation of what is added to the kernels of a transform
STEP = 2.0  # levels of y per unit of an orthonormal transform of [-1, 1], at the middle lambda


def _set_noise(weight: Tensor, spread: Tensor, *, dim: int) -> None:
    """Set noise, smaller for input channels, along `dim`, of large standard deviation `spread`."""
    scale = torch.ones(weight.shape[dim])
    scale[: len(spread)] = 1 / spread.clamp(min=1)
    shape = [1] * weight.ndim
    shape[dim] = -1
    nn.init.normal_(weight, std=NOISE)
    with torch.no_grad():
        weight *= scale.view(shape)


def initialise(network: CRDRNetwork, images: Tensor, lambdas: Sequence[float]) -> None:
    """Set all weights of `network` from `images` (n, 3, h, w) in [-1, 1], multiples of 16.

    `lambdas` at q = 0, 1, ... determine how coarse y is at each level.
    """
    sizes = network.sizes
    narrowest = (*map(min, zip(sizes.encoder, reversed(sizes.decoder), strict=True)), sizes.latent)
    transforms = transforms_of(images, narrowest)
    down = [one for one in network.analysis.layers if isinstance(one, nn.Conv2d)]
    up = [one for one in network.synthesis.layers if isinstance(one, nn.ConvTranspose2d)]
    spread = images.std((0, 2, 3))
    for convolution, transform in zip(down, transforms, strict=True):
        _set_noise(convolution.weight, spread, dim=1)
        add_transform(convolution, transform)
        spread = transform.spread
    for upsampling, transform in zip(reversed(up), transforms, strict=True):
        _set_noise(upsampling.weight, transform.spread, dim=0)
        add_transform(upsampling, transform)
    for module in network.modules():
        _start_as_identity(module)
    latent = torch.full((sizes.latent,), LEAST_SPREAD)
    latent[: len(spread)] = spread
    gains = _latent_gains(lambdas)
    _set_gain(network.analysis.attentions[-1], gains)
    _set_gain(network.synthesis.attentions[0], 1 / gains)
    start_entropy_model(network, latent * float(gains[len(gains) // 2]))


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
    """Return gains for steps as wide as the square root of lambda: equal distortion per bit."""
    middle = lambdas[len(lambdas) // 2]
    return torch.tensor([STEP * math.sqrt(middle / one) for one in lambdas])


def _set_gain(attention: nn.Module, gains: Tensor) -> None:
    assert isinstance(attention, InterpolationChannelAttention)
    with torch.no_grad():
        attention.gain.copy_(torch.expm1(gains).log()[:, None].expand_as(attention.gain))
