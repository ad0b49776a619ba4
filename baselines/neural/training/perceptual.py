"""Originals and reconstructions -> LPIPS with AlexNet, as a loss: gradients reach the second.

Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric" (2018), as the package lpips 0.1.4 computes it, whose file of channel weights is
read. The network around them is written out: the package's own needs torchvision, and keeps what
the original's gradient would need.
"""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, max_pool2d

from benchmark.errors import Unavailable
from benchmark.weights import find_weights

LPIPS_VERSION = "0.1.4"
ALEXNET = "torchvision's alexnet-owt-7be5be79.pth"
# sha256 of the ten tensors' bytes, first layer first, weight before bias
ALEXNET_SHA256 = "2b566cc3a4d6f0a7343701af22f461f1ac3dcd03a3ac28cce10968a1d3c85fdc"
SHIFT = (-0.030, -0.088, -0.188)  # ImageNet's normalisation for [-1, 1], rounded as lpips has it
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10


class Convolution(NamedTuple):
    """A layer of AlexNet as torchvision numbers it, each followed by a ReLU."""

    number: int  # within `features`
    stride: int
    padding: int
    pooled: bool  # a 3 x 3 maximum at every second pixel comes first


CONVOLUTIONS = (
    Convolution(0, stride=4, padding=2, pooled=False),
    Convolution(3, stride=1, padding=2, pooled=True),
    Convolution(6, stride=1, padding=1, pooled=True),
    Convolution(8, stride=1, padding=1, pooled=False),
    Convolution(10, stride=1, padding=1, pooled=False),
)


class Perceptual(nn.Module):
    """LPIPS, frozen: it has no parameters, and its buffers are in no state dictionary.

    Under autocast the convolutions run in the lower precision, everything behind them does not.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        """Raises `Unavailable` where AlexNet's weights or lpips 0.1.4 are missing or others."""
        super().__init__()
        backbone = find_weights(
            ["alexnet-owt-*.pth", "alexnet_features.pth"],
            f"run `bench fetch alexnet`, or put {ALEXNET} into one of them",
        )
        tensors = _read_backbone(backbone)
        importances = torch.load(_importances_file(), map_location="cpu", weights_only=True)
        self._keep("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self._keep("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        for i in range(len(CONVOLUTIONS)):
            weight = tensors[2 * i].contiguous(memory_format=torch.channels_last)
            self._keep(f"weight{i}", weight)
            self._keep(f"bias{i}", tensors[2 * i + 1])
            self._keep(f"importance{i}", importances[f"lin{i}.model.1.weight"])

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    def forward(self, originals: Tensor, images: Tensor, weights: Tensor | None = None) -> Tensor:
        """Both (N, 3, H, W), about [-1, 1], sides of at least 31, to distances (N,); 0 if equal.

        `originals` are taken as constants. With `weights`, (N,) or (N, h, w) for regions, each
        position's part is multiplied by the weight that holds there. Raises `ValueError` where the
        shapes differ.
        """
        if originals.shape != images.shape:
            raise ValueError(f"shapes differ: {tuple(originals.shape)}, {tuple(images.shape)}")
        with torch.no_grad():
            expected = self._features(originals)
        distances = images.new_zeros(len(images), dtype=self.shift.dtype)
        for i, (one, other) in enumerate(zip(expected, self._features(images), strict=True)):
            weighted = (one - other).square() * self.get_buffer(f"importance{i}")
            local = weighted.sum(1)
            if weights is not None:
                local = local * _at_positions(weights, local)
            distances = distances + local.mean((1, 2))
        return distances

    def _features(self, images: Tensor) -> list[Tensor]:
        """Each layer's output, the vector at each position divided by its length."""
        signal = (images.to(self.shift.dtype) - self.shift) / self.scale
        signal = signal.contiguous(memory_format=torch.channels_last)
        features = []
        for i, layer in enumerate(CONVOLUTIONS):
            if layer.pooled:
                signal = max_pool2d(signal, kernel_size=3, stride=2)
            weight, bias = self.get_buffer(f"weight{i}"), self.get_buffer(f"bias{i}")
            signal = conv2d(signal, weight, bias, layer.stride, layer.padding).relu_()
            exact = signal.to(self.shift.dtype)
            length = torch.linalg.vector_norm(exact, dim=1, keepdim=True)
            features.append(exact / (length + EPSILON))
        return features


def _at_positions(weights: Tensor, like: Tensor) -> Tensor:
    """(N,) or (N, cells, cells) as (N, 1, 1) or, averaged or repeated, as `like` (N, h, w)."""
    if weights.ndim == 1:
        return weights[:, None, None]
    height, width = like.shape[1:]
    return adaptive_avg_pool2d(weights[:, None], (height, width))[:, 0]


def _read_backbone(path: Path) -> list[Tensor]:
    names = [f"features.{c.number}.{part}" for c in CONVOLUTIONS for part in ("weight", "bias")]
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        tensors: list[Tensor] = [weights[name] for name in names]
        digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors))
    except (
        *(OSError, EOFError, RuntimeError, UnpicklingError),
        *(LookupError, TypeError, AttributeError),
    ) as error:
        raise Unavailable(f"{path} cannot be read as {ALEXNET}: replace it") from error
    if digest.hexdigest() != ALEXNET_SHA256:
        raise Unavailable(
            f"{path} is not the AlexNet that LPIPS is defined with: replace it by {ALEXNET}"
        )
    return tensors


def _importances_file() -> Path:
    try:
        package = distribution("lpips")
    except PackageNotFoundError:
        raise Unavailable("the Python package 'lpips' is not installed") from None
    if package.version != LPIPS_VERSION:
        raise Unavailable(
            f"LPIPS is defined with lpips {LPIPS_VERSION}, and {package.version} is installed:"
            f" install lpips=={LPIPS_VERSION}"
        )
    return Path(str(package.locate_file("lpips/weights/v0.1/alex.pth")))
