"""Start values of residual transforms, fitted to photographs: an orthogonal transform by stages.

Each stage of the encoder starts as the Karhunen-Loeve transform of 2 x 2 neighbours in the output
of the stage before, each stage of the decoder as its transpose, residual blocks as the identity;
all other weights of the kernels are small noise. A network codes like a wavelet before its first
step, and a short training does not have to learn that.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from baselines.neural.blocks.conditioning import ConditionedBottleneck
from baselines.neural.blocks.layers import ResidualAttention, ResidualBottleneck
from baselines.neural.blocks.orthogonal import add_transform, transforms_of
from baselines.neural.blocks.residual_transforms import TransformSizes

NOISE = 0.003  # standard deviation of what is added to the kernels of a transform
LEAST_SPREAD = 0.15  # of a latent channel that no component is left for


def start_transforms(
    analysis: Iterable[nn.Module],
    synthesis: Iterable[nn.Module],
    sizes: TransformSizes,
    images: Tensor,
) -> Tensor:
    """Set the layers of both transforms from `images` (n, 3, h, w) in [-1, 1], multiples of 16.

    Returns the standard deviations (M,) of the latent's channels in an orthonormal transform.
    """
    analysis, synthesis = list(analysis), list(synthesis)
    narrowest = (*map(min, zip(sizes.encoder, reversed(sizes.decoder), strict=True)), sizes.latent)
    transforms = transforms_of(images, narrowest)
    down = [one for one in analysis if isinstance(one, nn.Conv2d)]
    up = [one for one in synthesis if isinstance(one, nn.ConvTranspose2d)]
    spread = images.std((0, 2, 3))
    for convolution, transform in zip(down, transforms, strict=True):
        _set_noise(convolution.weight, spread, dim=1)
        add_transform(convolution, transform)
        spread = transform.spread
    for upsampling, transform in zip(reversed(up), transforms, strict=True):
        _set_noise(upsampling.weight, transform.spread, dim=0)
        add_transform(upsampling, transform)
    for layer in (*analysis, *synthesis):
        for module in layer.modules():
            _start_as_identity(module)
    latent = torch.full((sizes.latent,), LEAST_SPREAD)
    latent[: len(spread)] = spread
    return latent


def set_latent_gain(
    analysis: Iterable[nn.Module], synthesis: Iterable[nn.Module], gain: float
) -> None:
    """Multiply the latent by `gain`, and divide by it what the decoder takes."""
    *_, last = (one for one in analysis if isinstance(one, nn.Conv2d))
    first = next(one for one in synthesis if isinstance(one, nn.ConvTranspose2d))
    with torch.no_grad():
        last.weight.mul_(gain)
        last.bias.mul_(gain)  # type: ignore[union-attr]
        first.weight.div_(gain)


def _set_noise(weight: Tensor, spread: Tensor, *, dim: int) -> None:
    """Set noise, smaller for input channels, along `dim`, of large standard deviation `spread`."""
    scale = torch.ones(weight.shape[dim])
    scale[: len(spread)] = 1 / spread.clamp(min=1)
    shape = [1] * weight.ndim
    shape[dim] = -1
    nn.init.normal_(weight, std=NOISE)
    with torch.no_grad():
        weight *= scale.view(shape)


def _start_as_identity(module: nn.Module) -> None:
    if isinstance(module, ResidualBottleneck):
        nn.init.normal_(module.expand.weight, std=NOISE)
        nn.init.zeros_(module.expand.bias)  # type: ignore[arg-type]
    if isinstance(module, ConditionedBottleneck):
        for projection in module.project:
            nn.init.zeros_(projection.weight)  # type: ignore[arg-type]
            if projection.bias is not None:
                nn.init.zeros_(projection.bias)  # type: ignore[arg-type]
    if isinstance(module, ResidualAttention):
        gate: nn.Conv2d = module.gate[-1]  # type: ignore[assignment]
        nn.init.constant_(gate.bias, -4.0)  # type: ignore[arg-type]
