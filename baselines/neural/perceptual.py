"""LPIPS with AlexNet, as in lpips 0.1.4, as a loss with gradients for reconstructions."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from benchmark.system.backbone import ALEXNET, EPSILON, SCALE, SHIFT


class Perceptual(nn.Module):
    """LPIPS with fixed weights, not stored with a state; in float32 even under autocast."""

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
        for i, channel_weights in enumerate(ALEXNET.channel_weights()):
            self._add_buffer(f"channel_weights{i}", channel_weights)

    def _add_buffer(self, name: str, values: Tensor) -> None:
        self.register_buffer(name.replace(".", "_"), values, persistent=False)

    def forward(self, originals: Tensor, images: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return distances (N,) between images (N, 3, H, W), about [-1, 1], and `originals`."""
        # originals get no gradient; weights: (N,) per image, or (N, h, w) per position
        with torch.no_grad():
            all_original_features = self._unit_features(originals)
        distances = images.new_zeros(len(images), dtype=self.shift.dtype)
        for i, (original_features, features) in enumerate(
            zip(all_original_features, self._unit_features(images), strict=True)
        ):
            channel_weights = self.get_buffer(f"channel_weights{i}")
            squares = (original_features - features).square()
            position_distances = (squares * channel_weights).sum(1)
            if weights is not None and weights.ndim == 1:
                position_distances = position_distances * weights[:, None, None]
            elif weights is not None:
                size = position_distances.shape[1:]
                pooled_weights = adaptive_avg_pool2d(weights[:, None], size)  # type: ignore[arg-type]
                position_distances = position_distances * pooled_weights[:, 0]
            distances = distances + position_distances.mean((1, 2))
        return distances

    def _unit_features(self, images: Tensor) -> list[Tensor]:
        inputs = (images.to(self.shift.dtype) - self.shift) / self.scale
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        weights = {name: self.get_buffer(name.replace(".", "_")) for name in self._names}
        features = []
        for layer in ALEXNET.features(inputs, weights):
            vectors = layer.to(self.shift.dtype)
            length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
            features.append(vectors / (length + EPSILON))
        return features
