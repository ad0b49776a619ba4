"""LPIPS: the perceptual distance of two 8-bit RGB images, 0 for identical ones.

Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric" (2018), as the package lpips 0.1.4 computes it: the whole image, scaled to
[-1, 1], through AlexNet, SqueezeNet 1.1 or VGG-16. How much each channel counts is read from that
package's file; its network is not used, because it runs the source again for every decoded image
and imports torchvision.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.presentation import Presentation
from benchmark.system.backbone import (
    ALEXNET,
    EPSILON,
    LPIPS_VERSION,
    SCALE,
    SHIFT,
    SQUEEZENET,
    VGG16,
    Backbone,
)

if TYPE_CHECKING:
    from torch import Tensor


class Source(NamedTuple):
    """A source, ready to be compared; on the CPU about 40 bytes a pixel, 140 or 490."""

    shape: tuple[int, ...]
    features: "list[Tensor]"


class LPIPS:
    """What the columns share.

    float32 on "cpu"; float64 on any other device, where float32 may silently mean TF32. The two,
    and any numbers of threads, differ by less than 1e-6.
    """

    label: ClassVar[str]
    better: Literal["higher", "lower"] = "lower"
    backbone: ClassVar[Backbone]

    def __init__(self, device: str = "cpu") -> None:
        """Raises `Unavailable` where the network's weights or lpips 0.1.4 are missing or others."""
        found, importances = self.backbone.find(), self.backbone.importances()
        import torch

        dtype = torch.float32 if device == "cpu" else torch.float64
        self._device = device
        self._weights = self.backbone.load(found, device, dtype)
        self._importances = [one.to(device, dtype) for one in importances]

    def prepare(self, reference: Pixels) -> Source:
        """The source's features.

        Raises `NotMeasurable` where a side is too short for the network.
        """
        import torch

        side = min(reference.shape[:2])
        if side < self.backbone.min_side_px:
            raise NotMeasurable(
                f"{self.label} needs at least {self.backbone.min_side_px} px on the shorter side, "
                f"this image has {side}"
            )
        with torch.inference_mode():
            return Source(reference.shape, list(self._unit_features(reference)))

    def compare(self, prepared: Source, decoded: Pixels) -> float:
        """LPIPS of a decoded image of the source's shape."""
        import torch

        if prepared.shape != decoded.shape:
            raise ValueError(f"shapes differ: reference {prepared.shape}, decoded {decoded.shape}")
        with torch.inference_mode():
            return distance(prepared.features, self._unit_features(decoded), self._importances)

    def _unit_features(self, pixels: Pixels) -> "Iterator[Tensor]":
        """Each layer's output, every pixel's vector divided by its length."""
        import torch

        planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(self._device)
        like = self._importances[0]
        shift, scale = (like.new_tensor(values).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        signal = (planes.to(like.dtype) / 127.5 - 1 - shift) / scale
        for features in self.backbone.features(signal, self._weights):
            yield features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + EPSILON)


class LPIPSAlex(LPIPS):
    """LPIPS with AlexNet, the usual one, for the table of measurements."""

    column = "lpips_alex"
    label = "LPIPS (AlexNet)"
    protocol = f"lpips-alex/{LPIPS_VERSION}-{ALEXNET.sha256[:8]}"
    presentation = Presentation(
        realism=5,
        meets=(
            "lpips-alex-truncated/0.1.4", "lpips-alex-unrounded/torchmetrics", "lpips-alex/hific",
            "lpips-alex/reported",
        ),
    )  # fmt: skip
    backbone = ALEXNET


class LPIPSSqueeze(LPIPS):
    """LPIPS with SqueezeNet 1.1 for the table: a judge for codecs trained on LPIPS with AlexNet."""

    column = "lpips_squeeze"
    label = "LPIPS (SqueezeNet)"
    protocol = f"lpips-squeeze/{LPIPS_VERSION}-{SQUEEZENET.sha256[:8]}"
    presentation = Presentation(realism=4)
    backbone = SQUEEZENET


class LPIPSVGG(LPIPS):
    """LPIPS with VGG-16 for the table: what many papers report; seconds per megapixel."""

    column = "lpips_vgg"
    label = "LPIPS (VGG-16)"
    protocol = f"lpips-vgg/{LPIPS_VERSION}-{VGG16.sha256[:8]}"
    backbone = VGG16


def distance(
    reference: "Iterable[Tensor]", decoded: "Iterable[Tensor]", importances: "Iterable[Tensor]"
) -> float:
    """Sum over layers of the spatial mean of the squared differences, weighted by channel.

    `decoded` is used up: a tensor of its size less to allocate is a tenth of the time.
    """
    total = 0.0
    for importance, expected, found in zip(importances, reference, decoded, strict=True):
        weighted = found.sub_(expected).square_().mul_(importance)
        total += float(weighted.sum(dim=1).mean())
    return total
