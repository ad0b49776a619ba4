"""An image to one feature vector a patch of 256 px, for distribution metrics: three networks.

`Inception256` is what FID and KID are of: pytorch-fid's network, its scaling to 299 px, 2048 values
(Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale Update Rule
Converge to a Local Nash Equilibrium" (2017)). AlexNet and SqueezeNet 1.1 stand in where its weights
are not to be had: their last ReLU's output averaged over the patch, which is not scaled, with
ImageNet's normalisation.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.distribution_metric import Features
from benchmark.metrics.inception import SHA256, Inception, find_inception
from benchmark.metrics.patches import SIDE_PX, cut_patches
from benchmark.system.backbone import ALEXNET, DEVIATION, MEAN, SQUEEZENET, Backbone

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# More a batch are no faster, and from 8 on Inception's first layers pass 32 MiB, beyond which
# the allocator returns memory to the system after each use
PATCHES_PER_BATCH = 4


class PatchSpace(ABC):
    """What the spaces share: patches in their order, in batches, to float32 vectors.

    It is computed in float32 on "cpu", in float64 on any other device, where float32 may silently
    mean TF32. Devices, numbers of threads and batches differ by less than 1e-5 of the largest
    feature.
    """

    def __init__(self, device: str = "cpu") -> None:
        """Raises `Unavailable` where the network's weights are missing or others."""
        self._device = device

    @property
    def _dtype(self) -> "torch.dtype":
        import torch

        return torch.float32 if self._device == "cpu" else torch.float64

    def features(self, pixels: Pixels) -> Features:
        """(patches, dimensions), in the order of `benchmark.metrics.patches`.

        Raises `NotMeasurable` where the image has no patch.
        """
        import torch

        patches = cut_patches(pixels)
        if not patches:
            raise NotMeasurable(
                f"features are of patches of {SIDE_PX} px, this image has "
                f"{pixels.shape[1]} x {pixels.shape[0]}"
            )
        found = []
        with torch.inference_mode():
            for start in range(0, len(patches), PATCHES_PER_BATCH):
                batch = torch.from_numpy(np.stack(patches[start : start + PATCHES_PER_BATCH]))
                unit = batch.to(self._device).to(self._dtype) / 255
                found.append(self._vectors(unit.permute(0, 3, 1, 2)).float().cpu().numpy())
        return np.concatenate(found)

    @abstractmethod
    def _vectors(self, patches: "Tensor") -> "Tensor":
        """Patches (n, 3, 256, 256) in [0, 1], channels last, to vectors (n, dimensions)."""


class Inception256(PatchSpace):
    """pytorch-fid 0.3.0's features of patches."""

    column = "inception256_patches"
    protocol = f"inception256/pytorch-fid-0.3.0-{SHA256[:8]}"

    def __init__(self, device: str = "cpu") -> None:
        """Raises `Unavailable` where the network's weights are missing or others."""
        super().__init__(device)
        found = find_inception()
        self._network = Inception(found, device, self._dtype)

    def _vectors(self, patches: "Tensor") -> "Tensor":
        return self._network.features(patches)


class BackboneSpace(PatchSpace):
    """What the two that stand in share."""

    backbone: ClassVar[Backbone]

    def __init__(self, device: str = "cpu") -> None:
        """Raises `Unavailable` where the network's weights are missing or others."""
        super().__init__(device)
        found = self.backbone.find()
        self._weights = self.backbone.load(found, device, self._dtype)

    def _vectors(self, patches: "Tensor") -> "Tensor":
        mean, deviation = (patches.new_tensor(one).view(1, 3, 1, 1) for one in (MEAN, DEVIATION))
        *_, last = self.backbone.features((patches - mean) / deviation, self._weights)
        return last.mean((2, 3))


class Alex256(BackboneSpace):
    """256 features of patches: AlexNet's fifth convolution."""

    column = "alex256_patches"
    protocol = f"alex256/1-{ALEXNET.sha256[:8]}"
    backbone = ALEXNET


class Squeeze256(BackboneSpace):
    """512 features of patches: the last Fire module of SqueezeNet 1.1."""

    column = "squeeze256_patches"
    protocol = f"squeeze256/1-{SQUEEZENET.sha256[:8]}"
    backbone = SQUEEZENET
