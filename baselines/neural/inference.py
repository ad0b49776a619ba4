"""Settings of torch for encoders, decoders and training, and conversion of pixels to images."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor

from benchmark.codec import Pixels

# Parameters of glibc's `mallopt`, and the variables by which a user sets them.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
MOST_KEPT_BYTES = 512 << 20
LARGEST_KEPT_BYTES = 128 << 20
INSTRUCTIONS = ("amx_bf16", "avx512_bf16")  # of processors for bfloat16, as torch names them
BLOCK = 64  # pixels; the deepest latent halves an image six times
GREY = 127.5  # level of 0


@contextmanager
def inference() -> Iterator[None]:
    """Switch gradients off; on a GPU, use full float32 and the same kernels in every call."""
    keep_freed_memory()
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ),
    ):
        yield


@cache
def keep_freed_memory() -> None:
    """Have this process keep up to 512 MiB of freed memory, unless the user has settings.

    By default glibc returns every tensor of more than 32 MiB to the system, and zeroing new pages
    takes a sixth of the time of a large network.
    """
    if any(name in os.environ for name in OWN_SETTINGS):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    mallopt(MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
    mallopt(TRIM_THRESHOLD, MOST_KEPT_BYTES)


def has_bfloat16(device: str) -> bool:
    """Return whether "cpu" or "cuda" has instructions for bfloat16, without which it is slow."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in INSTRUCTIONS)


def padded(pixels: Pixels, stride: int = BLOCK) -> Pixels:
    """Return pixels (h, w, 3), mirrored at the bottom and the right to multiples of `stride`."""
    for axis in (0, 1):
        side = pixels.shape[axis]
        missing = -side % stride
        if missing:
            widths = [(0, 0)] * 3
            widths[axis] = (0, missing)
            pixels = np.pad(pixels, widths, mode="reflect" if missing < side else "edge")
    return pixels


def to_images(pixels: Pixels, device: torch.device) -> Tensor:
    """Return pixels (h, w, 3) as float32 (1, 3, h, w) in [-1, 1]."""
    # A copy, since torch warns of arrays that are not to be written.
    planes = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(device)
    return planes[None].float().div_(GREY).sub_(1)


def to_pixels(images: Tensor) -> Pixels:
    """Return images (1, 3, h, w) about [-1, 1] as pixels (h, w, 3), clamped and rounded."""
    levels = images[0].add(1).mul_(GREY).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()
