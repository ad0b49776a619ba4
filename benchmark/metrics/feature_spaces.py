"""Feature spaces of distribution metrics: one feature vector for every 256 px patch of an image.

`Inception256` is what FID and KID are defined with: pytorch-fid's network, its scaling to 299 px,
2048 values (Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale
Update Rule Converge to a Local Nash Equilibrium" (2017)). `InceptionTF256` is the same network
after torch-fidelity's scaling, which several papers report. AlexNet and SqueezeNet 1.1 stand in
where its weights are missing: the output of their last ReLU averaged over the patch, which is not
scaled, with ImageNet's normalisation.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.distribution_metric import Features
from benchmark.metrics.inception import SHA256, Inception, find_inception
from benchmark.metrics.patches import cut_patches, patch_count
from benchmark.system.backbone import ALEXNET, DEVIATION, MEAN, SQUEEZENET, Backbone

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Larger batches are no faster, and from 8 on Inception's first layers pass 32 MiB, beyond which
# the allocator returns memory to the system after each use
PATCHES_PER_BATCH = 4
INCEPTION_SIDE_PX = 299


class PatchSpace(ABC):
    """Feature space of the patches of `benchmark.metrics.patches`, computed in batches.

    A subclass gives the network. float32 on "cpu"; float64 on any other device, where float32 may
    silently mean TF32. Devices, numbers of threads and batches differ by less than 1e-5 of the
    largest feature.
    """

    side_px: ClassVar[int] = 256

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` where the network's weights are missing or others."""
        self._device = device

    @property
    def _dtype(self) -> "torch.dtype":
        import torch

        return torch.float32 if self._device == "cpu" else torch.float64

    @classmethod
    def patch_count(cls, height: int, width: int) -> int:
        """Return the number of patches of an image of this size (px), 0 where it is too small."""
        return patch_count(height, width, cls.side_px)

    def features(self, pixels: Pixels) -> Features:
        """Return (patches, dimensions), in the order of `benchmark.metrics.patches`.

        Raises `NotMeasurable` where the image has no patch.
        """
        import torch

        patches = cut_patches(pixels, self.side_px)
        if not patches:
            raise NotMeasurable(
                f"features are of patches of {self.side_px} px, this image has "
                f"{pixels.shape[1]} x {pixels.shape[0]}"
            )
        found = []
        with torch.inference_mode():
            for start in range(0, len(patches), PATCHES_PER_BATCH):
                batch = torch.from_numpy(np.stack(patches[start : start + PATCHES_PER_BATCH]))
                unit = batch.to(self._device).to(self._dtype) / 255
                found.append(self.vectors(unit.permute(0, 3, 1, 2)).float().cpu().numpy())
        return np.concatenate(found)

    @abstractmethod
    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return (n, dimensions) for patches (n, 3, side, side) in [0, 1], channels last."""


class Inception256(PatchSpace):
    """Features of pytorch-fid 0.3.0, 2048 per patch."""

    column = "inception256_patches"
    protocol = f"inception256/pytorch-fid-0.3.0-{SHA256[:8]}"

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` where the network's weights are missing or others."""
        super().__init__(device)
        found = find_inception()  # before torch is imported
        self._network = Inception(found, device, self._dtype)

    @staticmethod
    def require() -> None:
        """Raise `Unavailable` where the weights are missing; nothing is loaded."""
        find_inception()

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return Inception's last pooled features, (n, 2048)."""
        return self._network.features(patches)


class InceptionTF256(PatchSpace):
    """Features of torch-fidelity 0.4.0, 2048 per patch: scaled as TensorFlow 1 scales.

    Its network has the same weights and layers as pytorch-fid's.
    """

    column = "inception256_tf_patches"
    protocol = f"inception256-tf/torch-fidelity-0.4.0-{SHA256[:8]}"

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` where the network's weights are missing or others."""
        super().__init__(device)
        found = find_inception()  # before torch is imported
        self._network = Inception(found, device, self._dtype, scales=False)

    @staticmethod
    def require() -> None:
        """Raise `Unavailable` where the weights are missing; nothing is loaded."""
        find_inception()

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return Inception's last pooled features, (n, 2048)."""
        scaled = _scaled_from_corner(patches * 255, INCEPTION_SIDE_PX)
        return self._network.features((scaled - 128) / 128)


def _scaled_from_corner(patches: "Tensor", side: int) -> "Tensor":
    """Return square patches (n, channels, h, h) enlarged to `side` as TensorFlow 1 does.

    Bilinear; output pixel i lies at i h / side of the input's pixels, not at the place of its
    centre, and beyond the last pixel that one is repeated.
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

    backbone: ClassVar[Backbone]

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` where the network's weights are missing or others."""
        super().__init__(device)
        found = self.backbone.find()
        self._weights = self.backbone.load(found, device, self._dtype)

    @classmethod
    def require(cls) -> None:
        """Raise `Unavailable` where the weights are missing; nothing is loaded."""
        cls.backbone.require()

    def vectors(self, patches: "Tensor") -> "Tensor":
        """Return the last layer's outputs averaged over each patch, (n, channels)."""
        mean, deviation = (patches.new_tensor(one).view(1, 3, 1, 1) for one in (MEAN, DEVIATION))
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
