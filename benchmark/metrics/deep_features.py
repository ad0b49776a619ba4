"""LPIPS and DISTS: distances between two 8-bit RGB images in a network's features; 0 if equal.

LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"
(2018), with the channel weights of the package lpips 0.1.4: the whole image, scaled to [-1, 1],
passes through AlexNet, SqueezeNet 1.1 or VGG-16. The package's own network would process the source
again for every decoded image, and import torchvision.
DISTS: Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity" (2020), as
the authors' DISTS_pytorch 0.1 computes it on the whole, unscaled image: VGG-16 with the root mean
square in a Hanning window instead of max pooling; mean and variance of every channel in six
layers, the first of which is the image itself.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.metrics.metric import (
    ErrorMap,
    ImageMetric,
    MapScale,
    Presentation,
    loops,
    require_same_shape,
    require_side,
)
from benchmark.system import backbone as networks
from benchmark.system.backbone import (
    ALEXNET,
    DEVIATION,
    LPIPS_VERSION,
    MEAN,
    SQUEEZENET,
    VGG16,
    Backbone,
    Step,
    image_tensor,
    load_pinned,
)
from benchmark.system.settings import find_fetched

if TYPE_CHECKING:
    from torch import Tensor


class LPIPS(ImageMetric):
    """LPIPS with the network of a subclass; precision as in `DISTS`."""

    better = "lower"
    packages = ("torch", "lpips")
    map_scale = MapScale(1.0)
    backbone: ClassVar[Backbone]

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` if the weights or lpips 0.1.4 are missing or have other contents."""
        path, channel_weights = self.backbone.find(), self.backbone.channel_weights()
        import torch

        dtype = torch.float32 if device == "cpu" else torch.float64
        self._weights = self.backbone.load(path, device, dtype)
        self._channel_weights = [weights.to(device, dtype) for weights in channel_weights]

    @classmethod
    def require(cls) -> None:
        """Raise `Unavailable` if weights or lpips 0.1.4 are missing, without loading anything."""
        cls.backbone.require(channel_weights=True)

    def prepare(self, reference: Pixels) -> "tuple[tuple[int, ...], list[Tensor]]":
        """Return shape and features, 40 to 490 bytes/px; `NotMeasurable` below `min_side_px`."""
        import torch

        require_side(reference, self.backbone.min_side_px, self.label)
        with torch.inference_mode():
            return reference.shape, list(self._features(reference))

    def compare(self, prepared: "tuple[tuple[int, ...], list[Tensor]]", decoded: Pixels) -> float:
        """Return the LPIPS of a decoded image; `ValueError` unless the shapes agree."""
        import torch

        shape, source_layers = prepared
        require_same_shape(shape, decoded.shape)
        with torch.inference_mode():
            return sum(
                map(_mean_distance, source_layers, self._features(decoded), self._channel_weights)
            )

    def error_map(
        self, prepared: "tuple[tuple[int, ...], list[Tensor]]", decoded: Pixels
    ) -> ErrorMap:
        """Return the sum of the layers' distances, each upsampled like lpips with `spatial=True`.

        Its mean is LPIPS to within 1e-5: where a layer's side does not divide the image's side,
        upsampling weights pixels unevenly.
        """
        import torch
        from torch.nn.functional import interpolate

        shape, source_layers = prepared
        require_same_shape(shape, decoded.shape)
        total = self._channel_weights[0].new_zeros(shape[:2])
        with torch.inference_mode():
            layers = zip(source_layers, self._features(decoded), self._channel_weights, strict=True)
            for layer in layers:
                distances = _distance_map(*layer)[:, None]
                total += interpolate(distances, shape[:2], mode="bilinear")[0, 0]
        error_map: ErrorMap = total.float().cpu().numpy()
        return error_map

    def _features(self, pixels: Pixels) -> "Iterator[Tensor]":
        """Yield each layer's output for an image."""
        template = self._channel_weights[0]  # has the dtype and device
        shift, scale = (
            template.new_tensor(values).view(1, 3, 1, 1)
            for values in (networks.SHIFT, networks.SCALE)
        )
        signal = (networks.image_tensor(pixels, template) / 127.5 - 1 - shift) / scale
        return self.backbone.features(signal, self._weights)


def _mean_distance(reference: "Tensor", features: "Tensor", channel_weights: "Tensor") -> float:
    import torch

    height, width = features.shape[2:]
    if loops is not None and features.dtype == torch.float32 and features.device.type == "cpu":
        maps = (layer.permute(0, 2, 3, 1).contiguous().numpy() for layer in (reference, features))
        total: float = loops.unlikeness(*maps, channel_weights.numpy())
        return total / (height * width)
    return float(_distance_map(reference, features, channel_weights).mean())


def _distance_map(reference: "Tensor", features: "Tensor", channel_weights: "Tensor") -> "Tensor":
    """Return weighted squared differences of unit feature vectors, (1, height, width)."""
    import torch

    reference, features = (
        layer / (torch.linalg.vector_norm(layer, dim=1, keepdim=True) + networks.EPSILON)
        for layer in (reference, features)
    )
    # in place: a tenth faster
    weighted_squares = features.sub_(reference).square_().mul_(channel_weights)
    return weighted_squares.sum(dim=1)


class LPIPSAlex(LPIPS):
    """LPIPS with AlexNet, the network that most papers use."""

    column = "lpips_alex"
    words = "lpipsalexnet"
    label = "LPIPS (AlexNet)"
    protocol = f"lpips-alex/{LPIPS_VERSION}-{ALEXNET.sha256[:8]}"
    presentation = Presentation(
        realism=5,
        kind="perceptual quality",
        short_title="LPIPS",
        meets=(
            "lpips-alex-truncated/0.1.4", "lpips-alex-unrounded/torchmetrics", "lpips-alex/hific",
            "lpips-alex/reported",
        ),
    )  # fmt: skip
    backbone = ALEXNET


class LPIPSSqueeze(LPIPS):
    """LPIPS with SqueezeNet 1.1, independent of codecs trained on LPIPS with AlexNet."""

    column = "lpips_squeeze"
    words = "lpipssqueezenet"
    label = "LPIPS (SqueezeNet)"
    protocol = f"lpips-squeeze/{LPIPS_VERSION}-{SQUEEZENET.sha256[:8]}"
    presentation = Presentation(realism=4, kind="perceptual quality", short_title="LPIPS")
    backbone = SQUEEZENET


class LPIPSVGG(LPIPS):
    """LPIPS with VGG-16, reported by many papers; takes seconds per megapixel."""

    column = "lpips_vgg"
    words = "lpipsvgg16"
    label = "LPIPS (VGG-16)"
    protocol = f"lpips-vgg/{LPIPS_VERSION}-{VGG16.sha256[:8]}"
    presentation = Presentation(kind="perceptual quality", short_title="LPIPS")
    backbone = VGG16


FILE = "dists_weights.pt"
SHA256 = "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218"
STABILISER = 1e-6  # the authors' c1 and c2
ROOT_STABILISER = 1e-12


def _root_mean_square(signal: "Tensor", weights: "Mapping[str, Tensor]") -> "Tensor":
    from torch.nn.functional import conv2d

    line = signal.new_tensor((0.25, 0.5, 0.25))
    channels = signal.shape[1]
    window = (line[:, None] * line).expand(channels, 1, 3, 3)
    mean = conv2d(signal.square(), window, stride=2, padding=1, groups=channels)
    return mean.add_(ROOT_STABILISER).sqrt_()


NETWORK = VGG16._replace(
    layers=tuple(
        tuple(step if step.tensor_keys else Step(_root_mean_square) for step in layer)
        for layer in VGG16.layers
    ),
    fetch_name="dists",  # `bench fetch dists` fetches both files
)


class PreparedLayer(NamedTuple):
    """A layer's output and float64 statistics (channels,); layers take about 500 B/px on a CPU."""

    signal: "Tensor"
    mean: "Tensor"
    variance: "Tensor"


class DISTS(ImageMetric):
    """DISTS of the whole image.

    float32 on "cpu"; float64 on any other device, where float32 may silently mean TF32. Results
    differ by less than 1e-6 between the two, and for different numbers of threads.
    """

    column = "dists"
    label = "DISTS"
    better = "lower"
    presentation = Presentation(kind="perceptual quality")
    packages = ("torch",)
    protocol = f"dists/0.1-{VGG16.sha256[:8]}-{SHA256[:8]}"

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` if a weight file is missing or has other contents."""
        network_path, weights_path = NETWORK.find(), find_channel_weights()
        import torch

        dtype = torch.float32 if device == "cpu" else torch.float64
        content = load_pinned(weights_path, SHA256, "the weights.pt of DISTS_pytorch 0.1")
        alpha_beta = torch.stack([content["alpha"], content["beta"]]).double().view(2, -1)
        self._channel_weights = (alpha_beta / alpha_beta.sum()).to(device)
        self._weights = NETWORK.load(network_path, device, dtype)
        self._mean, self._deviation = (
            torch.tensor(values, dtype=dtype, device=device).view(1, 3, 1, 1)
            for values in (MEAN, DEVIATION)
        )

    @staticmethod
    def require() -> None:
        """Raise `Unavailable` if a weight file is missing, without loading anything."""
        NETWORK.find()
        find_channel_weights()

    def prepare(self, reference: Pixels) -> list[PreparedLayer]:
        """Return the source's layers with their means and variances."""
        import torch

        with torch.inference_mode():
            signals = self._signals(reference)
            return [PreparedLayer(signal, *_statistics(signal)) for signal in signals]

    def compare(self, prepared: list[PreparedLayer], decoded: Pixels) -> float:
        """Return the DISTS of a decoded image; `ValueError` unless the shapes agree.

        A channel with weights a and b contributes a (m - n)² / (m² + n²) + b var(x - y) / (v + w),
        which is the paper's a (1 - 2mn / (m² + n²)) + b (1 - 2c / (v + w)) without cancellation.
        """
        import torch

        channels, height, width = prepared[0].signal.shape[1:]
        require_same_shape((height, width, channels), decoded.shape)
        textures, structures = [], []
        with torch.inference_mode():
            for source, signal in zip(prepared, self._signals(decoded), strict=True):
                mean, variance = _statistics(signal)
                squares = source.mean.square() + mean.square() + STABILISER
                textures.append((source.mean - mean).square() / squares)
                _, difference = _statistics(source.signal - signal)
                structures.append(difference / (source.variance + variance + STABILISER))
            terms = torch.stack([torch.cat(textures), torch.cat(structures)])
            return float((self._channel_weights * terms).sum())

    def _signals(self, pixels: Pixels) -> "Iterator[Tensor]":
        """Yield the image in [0, 1] and each layer's output, (1, channels, height, width)."""
        unit_image = image_tensor(pixels, self._mean) / 255
        yield unit_image
        yield from NETWORK.features((unit_image - self._mean) / self._deviation, self._weights)


def find_channel_weights() -> Path:
    """Return the file of channel weights: fetched, or from the installed package."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return find_fetched((FILE,), "dists", f"DISTS_pytorch's weights.pt as {FILE}")
    except Unavailable as error:
        try:
            package = distribution("DISTS_pytorch")
        except PackageNotFoundError:
            raise error from None
    return Path(str(package.locate_file("DISTS_pytorch/weights.pt")))


def _statistics(signal: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return each channel's mean and variance, float64 (channels,); torch.var_mean is slower."""
    mean = signal.mean((2, 3), keepdim=True)
    variance = (signal - mean).square_().mean((2, 3))
    return mean.double().flatten(), variance.double().flatten()
