"""Initial values of transforms: orthogonal transforms of 2 x 2 neighbours, fitted to photographs.

Each encoder stage starts as the Karhunen-Loeve transform of the previous stage's output, each
decoder stage as the transpose, and residual blocks as the identity; other weights are small noise.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.blocks.control import ConditionedBottleneck
from baselines.neural.blocks.layers import GDN, ResidualAttention, ResidualBottleneck

NOISE_STD = 0.003  # standard deviation of the noise in a transform's kernels
GDN_NOISE_STD = 0.001  # the same in transforms with GDN
INITIAL_GAMMA = 0.01  # diagonal of gamma, so small that GDN changes little
DEFAULT_STD = 0.15  # assumed standard deviation of a latent channel without a component


class Transform(NamedTuple):
    """Orthogonal transform of 2 x 2 neighbours in c channels."""

    basis: Tensor  # (k, c, 2, 2), orthonormal rows, largest variance first
    mean: Tensor  # (c,)
    spread: Tensor  # (k,) standard deviations of the coefficients

    def analyse(self, features: Tensor) -> Tensor:
        """Return the coefficients (n, k, h / 2, w / 2) of `features` (n, c, h, w)."""
        centred_features = features - self.mean[:, None, None]
        return nn.functional.conv2d(centred_features, self.basis, stride=2)


def fit_transform(features: Tensor, outputs: int) -> Transform:
    """Fit the `outputs` (at most 4 c) strongest components of `features` (n, c, h, w)."""
    mean = features.mean((0, 2, 3))
    centred_features = features - mean[:, None, None]
    patches = nn.functional.unfold(centred_features, kernel_size=2, stride=2)  # (n, 4 c, positions)
    rows = patches.transpose(1, 2).reshape(-1, patches.shape[1]).double()
    variances, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    order = variances.argsort(descending=True)[:outputs]
    basis = vectors[:, order].T.reshape(len(order), features.shape[1], 2, 2).float()
    return Transform(basis, mean, variances[order].clamp(min=0).sqrt().float())


def fit_transforms(images: Tensor, widths: Sequence[int]) -> list[Transform]:
    """Fit a transform for each stage to the previous stage's output."""
    transforms, features = [], images
    for width in widths:
        transforms.append(fit_transform(features, width))
        features = transforms[-1].analyse(features)
    return transforms


def add_transform(layer: nn.Conv2d | nn.ConvTranspose2d, transform: Transform) -> None:
    """Add a transform to a layer of stride 2, transposed for a transposed convolution."""
    count, channels = transform.basis.shape[:2]
    # In the kernel, the taps of two neighbours come after the padding.
    rows, columns = (slice(int(side), int(side) + 2) for side in layer.padding)
    bias: Tensor = layer.bias  # type: ignore[assignment]
    with torch.no_grad():
        layer.weight[:count, :channels, rows, columns] += transform.basis
        bias.zero_()
        if isinstance(layer, nn.ConvTranspose2d):
            bias[:channels] = transform.mean
        else:
            bias[:count] = -(transform.basis.sum((2, 3)) @ transform.mean)


def start_transforms(
    analysis: Iterable[nn.Module], synthesis: Iterable[nn.Module], sizes: Any, images: Tensor
) -> Tensor:
    """Fit layers to `images` (n, 3, h, w) in [-1, 1]; return standard deviations of y, (M,)."""
    analysis, synthesis = list(analysis), list(synthesis)
    widths = map(min, zip(sizes.encoder, reversed(sizes.decoder), strict=True))
    transforms = fit_transforms(images, (*widths, sizes.latent))
    convolutions = [layer for layer in analysis if isinstance(layer, nn.Conv2d)]
    upsamplings = [layer for layer in synthesis if isinstance(layer, nn.ConvTranspose2d)]
    input_std = images.std((0, 2, 3))
    for convolution, transform in zip(convolutions, transforms, strict=True):
        _set_noise(convolution.weight, input_std, dim=1)
        add_transform(convolution, transform)
        input_std = transform.spread
    for upsampling, transform in zip(reversed(upsamplings), transforms, strict=True):
        _set_noise(upsampling.weight, transform.spread, dim=0)
        add_transform(upsampling, transform)
    for layer in (*analysis, *synthesis):
        for module in layer.modules():
            _start_as_identity(module)
    latent_std = torch.full((sizes.latent,), DEFAULT_STD)
    latent_std[: len(input_std)] = input_std
    return latent_std


def set_latent_gain(
    analysis: Iterable[nn.Module], synthesis: Iterable[nn.Module], gain: float
) -> None:
    """Multiply the output of the encoder by `gain`, and divide the decoder's input by it."""
    last_layer = [layer for layer in analysis if isinstance(layer, nn.Conv2d)][-1]
    first_layer = next(layer for layer in synthesis if isinstance(layer, nn.ConvTranspose2d))
    with torch.no_grad():
        last_layer.weight.mul_(gain)
        last_layer.bias.mul_(gain)  # type: ignore[union-attr]
        first_layer.weight.div_(gain)


def _set_noise(weight: Tensor, input_std: Tensor, *, dim: int) -> None:
    # divide noise by the input channels' standard deviations (along `dim`) above 1
    scale = torch.ones(weight.shape[dim])
    scale[: len(input_std)] = 1 / input_std.clamp(min=1)
    shape = [1] * weight.ndim
    shape[dim] = -1
    nn.init.normal_(weight, std=NOISE_STD)
    with torch.no_grad():
        weight *= scale.view(shape)


def _start_as_identity(module: nn.Module) -> None:
    if isinstance(module, ResidualBottleneck):
        nn.init.normal_(module.expand.weight, std=NOISE_STD)
        nn.init.zeros_(module.expand.bias)  # type: ignore[arg-type]
    if isinstance(module, ConditionedBottleneck):
        for projection in module.project:
            nn.init.zeros_(projection.weight)  # type: ignore[arg-type]
            if projection.bias is not None:
                nn.init.zeros_(projection.bias)  # type: ignore[arg-type]
    if isinstance(module, ResidualAttention):
        gate: nn.Conv2d = module.gate[-1]  # type: ignore[assignment]
        nn.init.constant_(gate.bias, -4.0)  # type: ignore[arg-type]


def start_as_transforms(
    analysis: Iterable[nn.Module],
    synthesis: Iterable[nn.Module],
    widths: Sequence[int],
    images: Tensor,
    gain: float,
) -> Tensor:
    """Set layers to orthogonal transforms fitted to `images` (n, 3, h, w), mapped to [0, 1].

    widths: of encoder stages. gain: steps of y per unit of coefficients. Other weights are small
    noise. Returns the standard deviations of y.
    """
    transforms = fit_transforms((images + 1) / 2, widths)
    modules = (*analysis, *synthesis)
    convolutions = [layer for layer in modules if isinstance(layer, nn.Conv2d)]
    upsamplings = [layer for layer in modules if isinstance(layer, nn.ConvTranspose2d)]
    layers: list[nn.Conv2d | nn.ConvTranspose2d] = [*convolutions, *upsamplings]
    for layer, transform in zip(layers, (*transforms, *transforms[::-1]), strict=True):
        nn.init.normal_(layer.weight, std=GDN_NOISE_STD)
        add_transform(layer, transform)
    for module in modules:
        if isinstance(module, GDN):
            channels = len(module.beta)
            module.set(torch.ones(channels), INITIAL_GAMMA * torch.eye(channels))
    set_latent_gain(convolutions, upsamplings, gain)
    latent_std = torch.zeros(widths[-1])
    latent_std[: len(transforms[-1].spread)] = transforms[-1].spread * gain
    return latent_std
