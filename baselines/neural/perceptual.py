"""LPIPS with AlexNet like lpips 0.1.4, as a loss, differentiable in the reconstructions."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from benchmark.system.backbone import ALEXNET, EPSILON, SCALE, SHIFT


class Perceptual(nn.Module):
    """Frozen LPIPS without parameters or state; float32 even under autocast."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        """Raise `Unavailable` if AlexNet's weights or lpips 0.1.4 are missing or differ."""
        super().__init__()
        weights = ALEXNET.load(ALEXNET.find(), "cpu", torch.float32)
        self._add_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self._add_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self._names = list(weights)
        for name, weight in weights.items():
            self._add_buffer(name, weight)
        for i, importance in enumerate(ALEXNET.importances()):
            self._add_buffer(f"importance{i}", importance)

    def _add_buffer(self, name: str, values: Tensor) -> None:
        self.register_buffer(name.replace(".", "_"), values, persistent=False)

    def forward(self, originals: Tensor, images: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return distances (N,) between images (N, 3, H, W), about [-1, 1], and `originals`."""
        # originals have no gradient; weights are per image (N,), or per position (N, h, w)
        with torch.no_grad():
            expected = self._unit_features(originals)
        distances = images.new_zeros(len(images), dtype=self.shift.dtype)
        for i, (original_features, features) in enumerate(
            zip(expected, self._unit_features(images), strict=True)
        ):
            weighted = (original_features - features).square() * self.get_buffer(f"importance{i}")
            local = weighted.sum(1)
            if weights is not None and weights.ndim == 1:
                local = local * weights[:, None, None]
            elif weights is not None:
                cells = adaptive_avg_pool2d(weights[:, None], local.shape[1:])  # type: ignore[arg-type]
                local = local * cells[:, 0]
            distances = distances + local.mean((1, 2))
        return distances

    def _unit_features(self, images: Tensor) -> list[Tensor]:
        signal = (images.to(self.shift.dtype) - self.shift) / self.scale
        signal = signal.contiguous(memory_format=torch.channels_last)
        weights = {name: self.get_buffer(name.replace(".", "_")) for name in self._names}
        features = []
        for layer in ALEXNET.features(signal, weights):
            exact = layer.to(self.shift.dtype)
            length = torch.linalg.vector_norm(exact, dim=1, keepdim=True)
            features.append(exact / (length + EPSILON))
        return features
