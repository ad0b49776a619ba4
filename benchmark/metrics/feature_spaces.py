"""Feature spaces of distribution metrics: a feature vector for every 256 px patch of an image.

Patches are cut from a grid, then from the same grid shifted by half a patch. NeuralCompression and
CRDR do so for FID/256, following HiFiC (Mentzer et al., 2020), which may count patches of the
shifted grid differently (docs/protocol.md). Pixels beyond the last patch are dropped. FID and KID
use `Inception256`: pytorch-fid's network and scaling to 299 px. AlexNet and SqueezeNet 1.1 replace
it if its weights are missing; their features are the output of the last ReLU, averaged over the
unscaled patch, with ImageNet's normalisation.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.metric import PIXELS_REASON, Features
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
# On a CPU, larger batches are not faster: from 8 patches on, outputs of Inception's first layers
# exceed 32 MiB, and the allocator returns such blocks to the system after each use.
PATCHES_PER_BATCH, PATCHES_PER_GPU_BATCH = 4, 32

INCEPTION_SIDE_PX = 299
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
# The second name is torch-fidelity's for the same file
INCEPTION_FILES = (INCEPTION_FILE, "weights-inception-2015-12-05-6726825d.pth")


def patch_corners(height: int, width: int, side: int = SIDE_PX) -> list[tuple[int, int]]:
    """Return (row, column) of all patches' corners: the grid row by row, then the shifted grid."""
    return [
        (row, column)
        for offset in (0, side // 2)
        for row in range(offset, height - side + 1, side)
        for column in range(offset, width - side + 1, side)
    ]


def cut_patches(pixels: Pixels, side: int = SIDE_PX) -> list[Pixels]:
    """Return views of the patches, each (side, side, 3), in the order of `patch_corners`."""
    corners = patch_corners(pixels.shape[0], pixels.shape[1], side)
    return [pixels[row : row + side, column : column + side] for row, column in corners]


class PatchSpace(ABC):
    """Feature space of an image's patches, computed in batches by a subclass's network.

    float32 on "cpu"; float64 elsewhere, where float32 may silently mean TF32. For different
    devices, threads and batch sizes, results differ by less than 1e-5 of the largest feature.
    """

    side_px: ClassVar[int] = SIDE_PX

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` if the network's weights are missing or have other contents."""
        self._device = device

    @property
    def _dtype(self) -> "torch.dtype":
        import torch

        return torch.float32 if self._device == "cpu" else torch.float64

    @classmethod
    def patch_count(cls, height: int, width: int) -> int:
        """Return the number of patches in an image of `height` x `width` px; 0 if none fits."""
        return len(patch_corners(height, width, cls.side_px))

    def features(self, pixels: Pixels) -> Features:
        """Return (patches, dimensions), ordered by `patch_corners`; may raise `NotMeasurable`."""
        import torch

        patches = cut_patches(pixels, self.side_px)
        if not patches:
            raise NotMeasurable(
                f"the image has {pixels.shape[1]} x {pixels.shape[0]} px, "
                f"smaller than a patch ({self.side_px} x {self.side_px} px)",
                PIXELS_REASON,
            )
        vectors = []
        batch_size = PATCHES_PER_BATCH if self._device == "cpu" else PATCHES_PER_GPU_BATCH
        with torch.inference_mode():
            for start in range(0, len(patches), batch_size):
                batch = torch.from_numpy(np.stack(patches[start : start + batch_size]))
                unit_batch = batch.to(self._device).to(self._dtype) / 255
                vectors.append(self.vectors(unit_batch.permute(0, 3, 1, 2)).float().cpu().numpy())
        return np.concatenate(vectors)

    @abstractmethod
    def vectors(self, patches: "Tensor") -> "Tensor":
        """Map patches (n, 3, side, side) in [0, 1], channels last, to (n, dimensions)."""


class Inception256(PatchSpace):
    """pytorch-fid 0.3.0's features, 2048 per patch (TensorFlow's weights of 2015-12-05)."""

    column = "inception256_patches"
    packages = ("torch", "pytorch_fid")
    protocol = f"inception256/pytorch-fid-0.3.0-{INCEPTION_SHA256[:8]}"
    stand_ins = ("fd_squeeze", "fd_alex")
    resizes: ClassVar[bool] = True  # whether the network resizes its input, as in pytorch-fid

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        path = self.require()  # before torch is imported, which takes time
        from unittest.mock import patch

        import torch
        from pytorch_fid import inception
        from torch.nn.utils.fusion import fuse_conv_bn_eval

        state = load_pinned(path, INCEPTION_SHA256, f"pytorch-fid's {INCEPTION_FILE}")
        # The constructor would download weights, and draws random weights before loading
        loader = patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state)
        with loader, torch.random.fork_rng(devices=[]):
            network = inception.InceptionV3(resize_input=self.resizes, normalize_input=self.resizes)
        network.eval()
        # Batch norms are folded in float64. Folding, the memory layout and the ReLU fused into
        # convolutions make the network 1.8 times as fast on a CPU.
        for block in list(network.double().modules()):
            if hasattr(block, "bn"):
                block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), torch.nn.Identity()
                block.forward = partial(_convolve, block.conv)
        self._network = network.to(device, self._dtype).to(memory_format=torch.channels_last)

    @staticmethod
    def require() -> "Path":
        """Return the weights file; `Unavailable` if it is missing."""
        return find_fetched(INCEPTION_FILES, "inception", f"pytorch-fid's {INCEPTION_FILE}")

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return Inception's last pooled features, (n, 2048)."""
        (pooled_features,) = self._network(patches)
        features: Tensor = pooled_features.flatten(1)
        return features


class InceptionTF256(Inception256):
    """torch-fidelity 0.4.0's features, 2048 per patch: the same network, but different scaling."""

    column = "inception256_tf_patches"
    protocol = f"inception256-tf/torch-fidelity-0.4.0-{INCEPTION_SHA256[:8]}"
    resizes = False

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return Inception's last pooled features, (n, 2048)."""
        large_patches = _enlarge(patches * 255, INCEPTION_SIDE_PX)
        return super().vectors((large_patches - 128) / 128)


def _convolve(convolution: Any, signal: "Tensor") -> "Tensor":
    stride, padding = convolution.stride, convolution.padding
    return convolve(signal, convolution.weight, convolution.bias, stride, padding)


def _enlarge(patches: "Tensor", side: int) -> "Tensor":
    """Enlarge (n, c, h, h) like TensorFlow 1: bilinear, pixel i at i h / side, edges repeated."""
    import torch

    length = patches.shape[-1]
    # float32 as in torch-fidelity: it decides to which pixel a nearly integer position is rounded
    position = torch.arange(side, dtype=torch.float32, device=patches.device) * (length / side)
    low = position.long()
    high, weight = (low + 1).clamp_max(length - 1), (position - low).to(patches.dtype)
    columns = torch.lerp(patches[..., low], patches[..., high], weight)
    return torch.lerp(columns[..., low, :], columns[..., high, :], weight[:, None])


class BackboneSpace(PatchSpace):
    """Feature space of a network that LPIPS also uses: its last layer averaged over a patch."""

    packages = ("torch",)
    backbone: ClassVar[Backbone]

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self._weights = self.backbone.load(self.backbone.find(), device, self._dtype)

    @classmethod
    def require(cls) -> None:
        """Raise `Unavailable` if the weights are missing, without loading anything."""
        cls.backbone.require()

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return the last layer's outputs averaged over each patch, (n, channels)."""
        mean, deviation = (
            patches.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION)
        )
        *_, layer = self.backbone.features((patches - mean) / deviation, self._weights)
        return layer.mean((2, 3))


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
