"""Feature spaces of distribution metrics: a feature vector for every 256 px patch of an image.

Patches are cut from a grid, then from the same grid shifted by half a patch, as the programs of
NeuralCompression and CRDR do for FID/256 after HiFiC (Mentzer et al., 2020), whose paper may count
patches of the shifted grid differently (docs/protocol.md). Patches of a grid do not overlap, and
what remains at the right and at the bottom is left out.

`Inception256` is what FID and KID are defined with: pytorch-fid's network, its scaling to 299 px,
2048 values. `InceptionTF256` is the same network after torch-fidelity's scaling. AlexNet and
SqueezeNet 1.1 replace it where its weights are missing: the output of their last ReLU averaged over
the unscaled patch, with ImageNet's normalisation.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.metric import OF_PIXELS, Features
from benchmark.system.backbone import (
    ALEXNET,
    DEVIATION,
    MEAN,
    SQUEEZENET,
    Backbone,
    convolve,
    load_pinned,
)
from benchmark.system.settings import find_fetched

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

SIDE_PX = 256
# On a CPU larger batches are no faster, and from 8 on Inception's first layers pass 32 MiB, beyond
# which the allocator returns memory to the system after each use
PATCHES_PER_BATCH, ON_A_GPU = 4, 32

INCEPTION_SIDE_PX = 299
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
# torch-fidelity has another name for it
INCEPTION_FILES = (INCEPTION_FILE, "weights-inception-2015-12-05-6726825d.pth")


def patch_corners(height: int, width: int, side: int = SIDE_PX) -> list[tuple[int, int]]:
    """Return row and column of each patch's corner, the grid row by row, then the shifted grid.

    >>> patch_corners(512, 520)[2:]
    [(256, 0), (256, 256), (128, 128)]
    """
    return [
        (row, column)
        for first in (0, side // 2)
        for row in range(first, height - side + 1, side)
        for column in range(first, width - side + 1, side)
    ]


def cut_patches(pixels: Pixels, side: int = SIDE_PX) -> list[Pixels]:
    """Return the patches, (side, side, 3) each, in the order of `patch_corners`: views."""
    corners = patch_corners(pixels.shape[0], pixels.shape[1], side)
    return [pixels[row : row + side, column : column + side] for row, column in corners]


class PatchSpace(ABC):
    """Feature space of an image's patches, computed in batches by the network of a subclass.

    float32 on "cpu"; float64 on any other device, where float32 may silently mean TF32. Devices,
    numbers of threads and batches differ by less than 1e-5 of the largest feature.
    """

    side_px: ClassVar[int] = SIDE_PX

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` where the network's weights are missing or others."""
        self._device = device

    @property
    def _dtype(self) -> "torch.dtype":
        import torch

        return torch.float32 if self._device == "cpu" else torch.float64

    @classmethod
    def patch_count(cls, height: int, width: int) -> int:
        """Return the number of patches of an image of this size (px), 0 where it is too small.

        >>> PatchSpace.patch_count(512, 768), PatchSpace.patch_count(255, 4000)
        (8, 0)
        """
        return len(patch_corners(height, width, cls.side_px))

    def features(self, pixels: Pixels) -> Features:
        """Return (patches, dimensions), in the order of `patch_corners`.

        Raises `NotMeasurable` where the image has no patch.
        """
        import torch

        patches = cut_patches(pixels, self.side_px)
        if not patches:
            raise NotMeasurable(
                f"features are of patches of {self.side_px} px, this image has "
                f"{pixels.shape[1]} x {pixels.shape[0]}",
                OF_PIXELS,
            )
        result = []
        most = PATCHES_PER_BATCH if self._device == "cpu" else ON_A_GPU
        with torch.inference_mode():
            for start in range(0, len(patches), most):
                batch = torch.from_numpy(np.stack(patches[start : start + most]))
                unit = batch.to(self._device).to(self._dtype) / 255
                result.append(self.vectors(unit.permute(0, 3, 1, 2)).float().cpu().numpy())
        return np.concatenate(result)

    @abstractmethod
    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return (n, dimensions) for patches (n, 3, side, side) in [0, 1], channels last."""


class Inception256(PatchSpace):
    """Features of pytorch-fid 0.3.0, 2048 per patch (TensorFlow's weights of 2015-12-05)."""

    column = "inception256_patches"
    packages = ("torch", "pytorch_fid")
    protocol = f"inception256/pytorch-fid-0.3.0-{INCEPTION_SHA256[:8]}"
    scales: ClassVar[bool] = True  # the network itself, as pytorch-fid does

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        path = self.require()  # before torch is imported
        from unittest.mock import patch

        import torch
        from pytorch_fid import inception
        from torch.nn.utils.fusion import fuse_conv_bn_eval

        state = load_pinned(path, INCEPTION_SHA256, f"pytorch-fid's {INCEPTION_FILE}")
        # The constructor would download weights, and draws random numbers before it overwrites them
        loader = patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state)
        with loader, torch.random.fork_rng(devices=[]):
            network = inception.InceptionV3(resize_input=self.scales, normalize_input=self.scales)
        network.eval()
        # Folded in float64. Folding, the memory layout and the ReLU within a convolution make it
        # 1.8 times as fast on a CPU.
        for part in list(network.double().modules()):
            if hasattr(part, "bn"):
                part.conv, part.bn = fuse_conv_bn_eval(part.conv, part.bn), torch.nn.Identity()
                part.forward = partial(_convolve, part.conv)
        self._network = network.to(device, self._dtype).to(memory_format=torch.channels_last)

    @staticmethod
    def require() -> "Path":
        """Return the file of the weights; `Unavailable` where it is missing."""
        return find_fetched(INCEPTION_FILES, "inception", f"pytorch-fid's {INCEPTION_FILE}")

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return Inception's last pooled features, (n, 2048)."""
        (pooled,) = self._network(patches)
        features: Tensor = pooled.flatten(1)
        return features


class InceptionTF256(Inception256):
    """Features of torch-fidelity 0.4.0, 2048 per patch: the same network, scaled otherwise."""

    column = "inception256_tf_patches"
    protocol = f"inception256-tf/torch-fidelity-0.4.0-{INCEPTION_SHA256[:8]}"
    scales = False

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return Inception's last pooled features, (n, 2048)."""
        scaled = _scaled_from_corner(patches * 255, INCEPTION_SIDE_PX)
        return super().vectors((scaled - 128) / 128)


def _convolve(convolution: Any, signal: "Tensor") -> "Tensor":
    stride, padding = convolution.stride, convolution.padding
    return convolve(signal, convolution.weight, convolution.bias, stride, padding)


def _scaled_from_corner(patches: "Tensor", side: int) -> "Tensor":
    """Return square patches (n, channels, h, h) enlarged to `side` as TensorFlow 1 does.

    Bilinear; output pixel i lies at i h / side of the input's pixels, and the last is repeated.
    """
    import torch

    length = patches.shape[-1]
    # float32 as in torch-fidelity: its rounding decides which pixel a nearly whole place is
    place = torch.arange(side, dtype=torch.float32, device=patches.device) * (length / side)
    low = place.long()
    high, weight = (low + 1).clamp_max(length - 1), (place - low).to(patches.dtype)
    columns = torch.lerp(patches[..., low], patches[..., high], weight)
    return torch.lerp(columns[..., low, :], columns[..., high, :], weight[:, None])


class BackboneSpace(PatchSpace):
    """Feature space of a network that LPIPS uses as well: its last layer averaged over a patch."""

    packages = ("torch",)
    backbone: ClassVar[Backbone]

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self._weights = self.backbone.load(self.backbone.find(), device, self._dtype)

    @classmethod
    def require(cls) -> None:
        """Raise `Unavailable` where the weights are missing; nothing is loaded."""
        cls.backbone.require()

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return the last layer's outputs averaged over each patch, (n, channels)."""
        mean, deviation = (patches.new_tensor(of).view(1, 3, 1, 1) for of in (MEAN, DEVIATION))
        *_, last = self.backbone.features((patches - mean) / deviation, self._weights)
        return last.mean((2, 3))


class Alex256(BackboneSpace):
    """Features of AlexNet's fifth convolution, 256 per patch."""

    column = "alex256_patches"
    protocol = f"alex256/1-{ALEXNET.sha256[:8]}"
    backbone = ALEXNET


class Squeeze256(BackboneSpace):
    """Features of the last Fire module of SqueezeNet 1.1, 512 per patch."""

    column = "squeeze256_patches"
    protocol = f"squeeze256/1-{SQUEEZENET.sha256[:8]}"
    backbone = SQUEEZENET
