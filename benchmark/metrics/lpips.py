"""LPIPS with AlexNet: the perceptual distance of two 8-bit RGB images, 0 for identical ones.

Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric" (2018), as the package lpips 0.1.4 computes it: the whole image, scaled to
[-1, 1], through AlexNet's five convolutions. The weights of the distance are that package's file;
the network around them is repeated here, because the package's own runs the source again for every
decoded image and imports torchvision, 1.3 s and 300 MB a process.
"""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.weights import find_weights

if TYPE_CHECKING:
    from torch import Tensor

LPIPS_VERSION = "0.1.4"
ALEXNET = "torchvision's alexnet-owt-7be5be79.pth"
# sha256 of the ten tensors' bytes, first layer first, weight before bias: the same for a whole
# torchvision checkpoint and for a file of its features alone
ALEXNET_SHA256 = "2b566cc3a4d6f0a7343701af22f461f1ac3dcd03a3ac28cce10968a1d3c85fdc"
MIN_SIDE_PX = 31  # below it nothing is left to pool before the third convolution
SHIFT = (-0.030, -0.088, -0.188)  # ImageNet's normalisation for [-1, 1], rounded as lpips has it
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10


# What torch.load and a look into its result raise for a file that is something else
UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    UnpicklingError,
    LookupError,
    TypeError,
    AttributeError,
)


class Convolution(NamedTuple):
    """A layer of AlexNet as torchvision numbers it, each followed by a ReLU."""

    number: int  # within `features`
    stride: int
    padding: int
    pooled: bool  # a 3 x 3 maximum at every second pixel comes first


class Layer(NamedTuple):
    """A convolution with its weights, and how much each of its channels counts."""

    shape: Convolution
    weight: "Tensor"  # (channels, input channels, k, k)
    bias: "Tensor"  # (channels,)
    importance: "Tensor"  # (1, channels, 1, 1), not negative


class Source(NamedTuple):
    """A source, ready to be compared; about 40 bytes a pixel on the CPU."""

    shape: tuple[int, ...]
    features: "list[Tensor]"


CONVOLUTIONS = (
    Convolution(0, stride=4, padding=2, pooled=False),
    Convolution(3, stride=1, padding=2, pooled=True),
    Convolution(6, stride=1, padding=1, pooled=True),
    Convolution(8, stride=1, padding=1, pooled=False),
    Convolution(10, stride=1, padding=1, pooled=False),
)


class LPIPSAlex:
    """LPIPS for the table of measurements.

    float32 on "cpu"; float64 on any other device, where float32 may silently mean TF32. The two,
    and any numbers of threads, differ by less than 1e-6.
    """

    column = "lpips_alex"
    label = "LPIPS (AlexNet)"
    better: Literal["higher", "lower"] = "lower"
    protocol = f"lpips-alex/{LPIPS_VERSION}-{ALEXNET_SHA256[:8]}"

    def __init__(self, device: str = "cpu") -> None:
        """Raises `Unavailable` where AlexNet's weights or lpips 0.1.4 are missing or others."""
        backbone = find_weights(
            ["alexnet-owt-*.pth", "alexnet_features.pth"],
            f"run `bench fetch alexnet`, or put {ALEXNET} into one of them",
        )
        self._device = device
        self.layers = load_layers(backbone, _importances_file(), device)

    def prepare(self, reference: Pixels) -> Source:
        """The source's features.

        Raises `NotMeasurable` where a side is shorter than 31 px.
        """
        side = min(reference.shape[:2])
        if side < MIN_SIDE_PX:
            raise NotMeasurable(
                f"LPIPS needs at least {MIN_SIDE_PX} px on the shorter side, this image has {side}"
            )
        return Source(reference.shape, self._features(reference))

    def compare(self, prepared: Source, decoded: Pixels) -> float:
        """LPIPS of a decoded image of the source's shape."""
        if prepared.shape != decoded.shape:
            raise ValueError(f"shapes differ: reference {prepared.shape}, decoded {decoded.shape}")
        return distance(prepared.features, self._features(decoded), self.layers)

    def _features(self, pixels: Pixels) -> "list[Tensor]":
        import torch

        planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(self._device)
        with torch.inference_mode():
            return unit_features(planes, self.layers)


def unit_features(pixels: "Tensor", layers: "list[Layer]") -> "list[Tensor]":
    """Each layer's output, every pixel's vector divided by its length.

    `pixels` are 0..255, (1, 3, height, width).
    """
    import torch
    from torch.nn import functional

    first = layers[0].weight
    shift, scale = (first.new_tensor(values).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
    signal = (pixels.to(first.dtype) / 127.5 - 1 - shift) / scale
    features = []
    for layer in layers:
        if layer.shape.pooled:
            signal = functional.max_pool2d(signal, kernel_size=3, stride=2)
        signal = functional.conv2d(
            signal, layer.weight, layer.bias, layer.shape.stride, layer.shape.padding
        ).relu_()
        features.append(signal / (torch.linalg.vector_norm(signal, dim=1, keepdim=True) + EPSILON))
    return features


def distance(reference: "list[Tensor]", decoded: "list[Tensor]", layers: "list[Layer]") -> float:
    """Sum over layers of the spatial mean of the squared differences, weighted by channel."""
    total = 0.0
    for layer, expected, found in zip(layers, reference, decoded, strict=True):
        weighted = (expected - found).square_().mul_(layer.importance)
        total += float(weighted.sum(dim=1).mean())
    return total


def load_layers(backbone: Path, importances: Path, device: str) -> list[Layer]:
    """The network on its device; `Unavailable` where `backbone` is not the AlexNet of LPIPS."""
    import torch

    tensors = _read_backbone(backbone)
    channels = torch.load(importances, map_location="cpu", weights_only=True)
    dtype = torch.float32 if device == "cpu" else torch.float64
    layers = []
    for position, shape in enumerate(CONVOLUTIONS):
        weight, bias = tensors[2 * position : 2 * position + 2]
        importance = channels[f"lin{position}.model.1.weight"]
        weight = weight.contiguous(memory_format=torch.channels_last)  # a sixth faster on the CPU
        parts = (part.to(device, dtype) for part in (weight, bias, importance))
        layers.append(Layer(shape, *parts))
    return layers


def _read_backbone(path: Path) -> "list[Tensor]":
    import torch

    names = [f"features.{c.number}.{part}" for c in CONVOLUTIONS for part in ("weight", "bias")]
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        tensors = [weights[name] for name in names]
        digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors))
    except UNREADABLE as error:
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
