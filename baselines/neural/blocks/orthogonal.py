"""Orthogonal transforms of 2 x 2 neighbours, fitted to photographs, as start values of layers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Transform(NamedTuple):
    """Orthogonal transform of 2 x 2 neighbours in c channels."""

    basis: Tensor  # (k, c, 2, 2), orthonormal rows, largest variance first
    mean: Tensor  # (c,)
    spread: Tensor  # (k,) standard deviations of the coefficients

    def analyse(self, features: Tensor) -> Tensor:
        """Return the coefficients (n, k, h / 2, w / 2) of `features` (n, c, h, w)."""
        centred = features - self.mean[:, None, None]
        return nn.functional.conv2d(centred, self.basis, stride=2)


def transform_of(features: Tensor, outputs: int) -> Transform:
    """Return the `outputs` strongest components of `features` (n, c, h, w), at most 4 c."""
    mean = features.mean((0, 2, 3))
    centred = features - mean[:, None, None]
    patches = nn.functional.unfold(centred, kernel_size=2, stride=2)  # (n, 4 c, places)
    rows = patches.transpose(1, 2).reshape(-1, patches.shape[1]).double()
    variances, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    order = variances.argsort(descending=True)[:outputs]
    basis = vectors[:, order].T.reshape(len(order), features.shape[1], 2, 2).float()
    return Transform(basis, mean, variances[order].clamp(min=0).sqrt().float())


def transforms_of(images: Tensor, widths: Sequence[int]) -> list[Transform]:
    """Return a transform for each stage, fitted to the output of the one before."""
    found, features = [], images
    for width in widths:
        found.append(transform_of(features, width))
        features = found[-1].analyse(features)
    return found


def add_transform(layer: nn.Conv2d | nn.ConvTranspose2d, transform: Transform) -> None:
    """Add the transform, or its transpose, to the kernel of a layer of stride 2; set its bias.

    A convolution becomes the transform, a transposed one its inverse; other channels stay as they
    are.
    """
    count, channels = transform.basis.shape[:2]
    # Where the kernel meets the first of the two neighbours, the padding before it.
    rows, columns = (slice(int(side), int(side) + 2) for side in layer.padding)
    bias: Tensor = layer.bias  # type: ignore[assignment]
    with torch.no_grad():
        layer.weight[:count, :channels, rows, columns] += transform.basis
        bias.zero_()
        if isinstance(layer, nn.ConvTranspose2d):
            bias[:channels] = transform.mean
        else:
            bias[:count] = -(transform.basis.sum((2, 3)) @ transform.mean)
