"""LPIPS, a perceptual distance of two 8-bit RGB images: 0 for identical ones.

Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric" (2018), as the package lpips 0.1.4 computes it: the whole image, scaled to
[-1, 1], through AlexNet, SqueezeNet 1.1 or VGG-16. Weights of channels are that package's; its
network would run the source again for every decoded image, and import torchvision.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from benchmark.codec import Pixels
from benchmark.metrics.metric import (
    ImageMetric,
    Presentation,
    loops,
    require_same_shape,
    require_side,
)
from benchmark.system import backbone as networks
from benchmark.system.backbone import ALEXNET, LPIPS_VERSION, SQUEEZENET, VGG16, Backbone

if TYPE_CHECKING:
    from torch import Tensor


class LPIPS(ImageMetric):
    """LPIPS with the network that a subclass names.

    float32 on "cpu"; float64 on any other device, where float32 may silently mean TF32. The two,
    and any numbers of threads, differ by less than 1e-6.
    """

    better = "lower"
    packages = ("torch", "lpips")
    backbone: ClassVar[Backbone]

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` where the network's weights or lpips 0.1.4 are missing or others."""
        path, importances = self.backbone.find(), self.backbone.importances()
        import torch

        dtype = torch.float32 if device == "cpu" else torch.float64
        self._weights = self.backbone.load(path, device, dtype)
        self._importances = [importance.to(device, dtype) for importance in importances]

    @classmethod
    def require(cls) -> None:
        """Raise `Unavailable` where weights or lpips 0.1.4 are missing; nothing is loaded."""
        cls.backbone.require(importances=True)

    def prepare(self, reference: Pixels) -> "tuple[tuple[int, ...], list[Tensor]]":
        """Return shape and features of the source: AlexNet 40, SqueezeNet 140, VGG-16 490 B/px.

        Raises `NotMeasurable` where a side is too short for the network.
        """
        import torch

        require_side(reference, self.backbone.min_side_px, self.label)
        with torch.inference_mode():
            return reference.shape, list(self._features(reference))

    def compare(self, prepared: "tuple[tuple[int, ...], list[Tensor]]", decoded: Pixels) -> float:
        """Return the LPIPS of a decoded image; `ValueError` unless the shapes agree."""
        import torch

        shape, features_of_source = prepared
        require_same_shape(shape, decoded.shape)
        with torch.inference_mode():
            return sum(
                map(_distance, features_of_source, self._features(decoded), self._importances)
            )

    def _features(self, pixels: Pixels) -> "Iterator[Tensor]":
        """Yield each layer's output for an image."""
        like = self._importances[0]
        pair = networks.SHIFT, networks.SCALE
        shift, scale = (like.new_tensor(values).view(1, 3, 1, 1) for values in pair)
        signal = (networks.image_tensor(pixels, like) / 127.5 - 1 - shift) / scale
        return self.backbone.features(signal, self._weights)


def _distance(expected: "Tensor", features: "Tensor", importance: "Tensor") -> float:
    """Return the mean over positions of the weighted squares of differences of unit vectors."""
    import torch

    height, width = features.shape[2:]
    if loops is not None and features.dtype == torch.float32 and features.device.type == "cpu":
        maps = (layer.permute(0, 2, 3, 1).contiguous().numpy() for layer in (expected, features))
        total: float = loops.unlikeness(*maps, importance.numpy())
        return total / (height * width)
    expected, features = (
        layer / (torch.linalg.vector_norm(layer, dim=1, keepdim=True) + networks.EPSILON)
        for layer in (expected, features)
    )
    # in place, which saves a tenth of the time
    weighted = features.sub_(expected).square_().mul_(importance)
    return float(weighted.sum(dim=1).mean())


class LPIPSAlex(LPIPS):
    """LPIPS with AlexNet, the network that most papers use."""

    column = "lpips_alex"
    label = "LPIPS (AlexNet)"
    protocol = f"lpips-alex/{LPIPS_VERSION}-{ALEXNET.sha256[:8]}"
    presentation = Presentation(
        realism=5,
        kind="perceptual quality",
        meets=(
            "lpips-alex-truncated/0.1.4", "lpips-alex-unrounded/torchmetrics", "lpips-alex/hific",
            "lpips-alex/reported",
        ),
    )  # fmt: skip
    backbone = ALEXNET


class LPIPSSqueeze(LPIPS):
    """LPIPS with SqueezeNet 1.1, an independent metric for codecs trained on LPIPS with AlexNet."""

    column = "lpips_squeeze"
    label = "LPIPS (SqueezeNet)"
    protocol = f"lpips-squeeze/{LPIPS_VERSION}-{SQUEEZENET.sha256[:8]}"
    presentation = Presentation(realism=4, kind="perceptual quality")
    backbone = SQUEEZENET


class LPIPSVGG(LPIPS):
    """LPIPS with VGG-16, which many papers report; takes seconds per megapixel."""

    column = "lpips_vgg"
    label = "LPIPS (VGG-16)"
    protocol = f"lpips-vgg/{LPIPS_VERSION}-{VGG16.sha256[:8]}"
    presentation = Presentation(kind="perceptual quality")
    backbone = VGG16
