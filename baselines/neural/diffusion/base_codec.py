"""Base codec of a diffusion decoder: DIRAC and HFD send its bytes. Torch is imported for coding.

Ghouse, Petersen, Wiggers, Xu, Sautière, "A residual diffusion model for high perceptual quality
codec augmentation" (2023, arXiv 2301.05489), and Hoogeboom, Agustsson, Mentzer, Versari, Toderici,
Theis, "High-fidelity image compression with score-based generative models" (2023, arXiv
2305.18231), both built from their abstracts: missing constants are fields of `DiffusionSizes`.
"""

import inspect
import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmark.codec import Codec, Pixels, Setting
from benchmark.errors import BadOption
from benchmark.spec import codec_class, load_codec, parse_codec, sole_variant

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("dirac", "hfd")  # diffusion decoders, which cannot be bases


class BaseCodec:
    """Base codec of a diffusion decoder, opened by its spec."""

    # The codec may have `setting_of`, from a stream to its setting, and `reconstruct`, from images
    # (N, 3, H, W) in [-1, 1] and a setting to decoded pictures of the same form and bits (N,).

    def __init__(self, text: str) -> None:
        if parse_codec(text).name in METHODS:
            raise BadOption(f"base={text}: a diffusion decoder cannot be the base of another")
        self.spec = sole_variant(text, "base")
        self.codec: Codec = load_codec(self.spec)
        # A network for all rates cannot read the setting from its streams.
        self._states_level = getattr(self.codec, "levels", ()) != (0,)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the codec's weights, "" if it has none; `Unavailable` as in `describe`."""
        options = inspect.signature(codec_class(self.spec)).parameters.keys()
        return self.codec.describe().fingerprint if options & {"checkpoint", "weights"} else ""

    def code_crops(self, crops: "Tensor", setting: Setting) -> "tuple[Tensor, Tensor]":
        """Code crops (N, 3, H, W) in [-1, 1]; return 8-bit pictures in [-1, 1], and bits (N,)."""
        import torch

        def round_to_bytes(images: "Tensor") -> "Tensor":
            return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)

        if self._states_level and hasattr(self.codec, "reconstruct"):
            images, bits = self.codec.reconstruct(crops, setting)
            return round_to_bytes(images).float() / 127.5 - 1, bits
        crop_pixels = round_to_bytes(crops).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        streams = [self.codec.encode(pixels, setting) for pixels in crop_pixels]
        decoded_pixels = np.stack([self.codec.decode(data) for data in streams])
        images = torch.from_numpy(decoded_pixels).permute(0, 3, 1, 2).to(crops.device)
        bits = torch.tensor([8.0 * len(data) for data in streams], device=crops.device)
        return images.float() / 127.5 - 1, bits

    def position(
        self, data: bytes, pixels: Pixels, settings: Sequence[float], rates: Sequence[float],
        overhead_bytes: float,
    ) -> float:  # fmt: skip
        """Return a stream's position (from 0) among settings, else among rates in log2 of bpp."""
        # bpp counts bits without `overhead_bytes`
        if self._states_level and hasattr(self.codec, "setting_of"):
            return interpolate_position(self.codec.setting_of(data).value, settings)
        bits = 8 * max(1.0, len(data) - overhead_bytes)
        return interpolate_position(math.log2(bits / (pixels.shape[0] * pixels.shape[1])), rates)


def interpolate_position(value: float, levels: Sequence[float]) -> float:
    """Return the position of a value among monotonic `levels`, interpolated linearly."""
    order = np.argsort(levels)
    return float(np.interp(value, np.asarray(levels, float)[order], order.astype(float)))
