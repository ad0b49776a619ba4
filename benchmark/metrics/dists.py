"""DISTS: how far two 8-bit RGB images differ in structure and texture, 0 for identical ones.

Ding, Ma, Wang, Simoncelli, "Image Quality Assessment: Unifying Structure and Texture Similarity"
(2020), as the authors' package DISTS_pytorch 0.1 computes it, of the whole image, not scaled:
VGG-16 with a Hanning window's root mean square in place of each maximum, and for every channel of
six layers (the image itself is the first) how alike its means and its variances are.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.system.backbone import DEVIATION, MEAN, VGG16, Pool, load_pinned
from benchmark.system.weights import find_weights

if TYPE_CHECKING:
    from torch import Tensor

FILE = "dists_weights.pt"
SHA256 = "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218"
STABILISER = 1e-6  # the authors' c1 and c2
ROOT_STABILISER = 1e-12


class RootMeanSquare(NamedTuple):
    """The root of the mean of squares under a 3 x 3 Hanning window, at every second pixel."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the weights."""
        return ()

    def apply(self, signal: "Tensor", weights: "Mapping[str, Tensor]") -> "Tensor":
        """The signal after it."""
        from torch.nn.functional import conv2d

        line = signal.new_tensor((0.25, 0.5, 0.25))
        channels = signal.shape[1]
        window = (line[:, None] * line).expand(channels, 1, 3, 3)
        mean = conv2d(signal.square(), window, stride=2, padding=1, groups=channels)
        return mean.add_(ROOT_STABILISER).sqrt_()


NETWORK = VGG16._replace(
    layers=tuple(
        tuple(RootMeanSquare() if isinstance(step, Pool) else step for step in layer)
        for layer in VGG16.layers
    )
)


class Layer(NamedTuple):
    """A layer of a source and what is needed of it; the statistics are float64, (channels,)."""

    signal: "Tensor"
    mean: "Tensor"
    variance: "Tensor"


class Source(NamedTuple):
    """A source, ready to be compared; on the CPU about 500 bytes a pixel."""

    shape: tuple[int, ...]
    layers: list[Layer]


class DISTS:
    """DISTS for the table of measurements.

    float32 on "cpu"; float64 on any other device, where float32 may silently mean TF32. The two,
    and any numbers of threads, differ by less than 1e-6.
    """

    column = "dists"
    label = "DISTS"
    better: Literal["higher", "lower"] = "lower"
    protocol = f"dists/0.1-{VGG16.sha256[:8]}-{SHA256[:8]}"

    def __init__(self, device: str = "cpu") -> None:
        """Raises `Unavailable` where one of the two weight files is missing or another."""
        network, importances = NETWORK.find(), _find_importances()
        import torch

        dtype = torch.float32 if device == "cpu" else torch.float64
        self._device = device
        content = load_pinned(importances, SHA256, "the weights.pt of DISTS_pytorch 0.1")
        pair = torch.stack([content["alpha"], content["beta"]]).double().view(2, -1)
        self._importances = (pair / pair.sum()).to(device)
        self._weights = NETWORK.load(network, device, dtype)
        self._mean, self._deviation = (
            torch.tensor(one, dtype=dtype, device=device).view(1, 3, 1, 1)
            for one in (MEAN, DEVIATION)
        )

    def prepare(self, reference: Pixels) -> Source:
        """The source's layers with their means and variances."""
        import torch

        with torch.inference_mode():
            layers = [Layer(one, *_statistics(one)) for one in self._signals(reference)]
        return Source(reference.shape, layers)

    def compare(self, prepared: Source, decoded: Pixels) -> float:
        """DISTS of a decoded image of the source's shape.

        For each channel, of weight a for the means m and n and b for the variances v and w, with
        the covariance c, the paper adds a (1 - 2mn / (m² + n²)) + b (1 - 2c / (v + w)); as
        v + w - 2c is the variance of the difference, that is a (m - n)² / (m² + n²) +
        b var(x - y) / (v + w), from which nothing cancels out.
        """
        import torch

        if prepared.shape != decoded.shape:
            raise ValueError(f"shapes differ: reference {prepared.shape}, decoded {decoded.shape}")
        textures, structures = [], []
        with torch.inference_mode():
            for source, signal in zip(prepared.layers, self._signals(decoded), strict=True):
                mean, variance = _statistics(signal)
                squares = source.mean.square() + mean.square() + STABILISER
                textures.append((source.mean - mean).square() / squares)
                _, difference = _statistics(source.signal - signal)
                structures.append(difference / (source.variance + variance + STABILISER))
            parts = torch.stack([torch.cat(textures), torch.cat(structures)])
            return float((self._importances * parts).sum())

    def _signals(self, pixels: Pixels) -> "Iterator[Tensor]":
        """The image in [0, 1] and each layer's output, (1, channels, height, width)."""
        import torch

        planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(self._device)
        unit = planes.to(self._mean.dtype) / 255
        yield unit
        yield from NETWORK.features((unit - self._mean) / self._deviation, self._weights)


def _find_importances() -> Path:
    """Of how much each channel's mean and variance count: a fetched file, or the package's."""
    remedy = (
        f"run `bench fetch dists`, or put DISTS_pytorch's weights.pt as {FILE} into one of them"
    )
    try:
        return find_weights((FILE,), remedy)
    except Unavailable:
        try:
            package = distribution("DISTS_pytorch")
        except PackageNotFoundError:
            package = None
        if package is None:
            raise
    return Path(str(package.locate_file("DISTS_pytorch/weights.pt")))


def _statistics(signal: "Tensor") -> "tuple[Tensor, Tensor]":
    """Mean and variance of every channel of (1, channels, height, width), float64.

    torch.var_mean takes twice as long.
    """
    mean = signal.mean((2, 3), keepdim=True)
    variance = (signal - mean).square_().mean((2, 3))
    return mean.double().flatten(), variance.double().flatten()
