"""Base class of learned codecs' networks, and torch settings for running them."""

import ctypes
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from baselines.neural.bitstream.container import ControlBlock
from baselines.neural.blocks.control import IndexedLevels, Level
from benchmark.codec import Pixels
from benchmark.registry import import_target


class Estimate(NamedTuple):
    """Reconstructions of a batch, with the bits that an ideal coder needs for each image."""

    images: Tensor  # (N, 3, H, W), about [-1, 1], not clamped
    y_bits: Tensor  # (N,)
    z_bits: Tensor  # (N,), of the hyper-latent; zeros if there is none
    latents: Tensor | None = None  # as decoded, for a conditional loss or discriminator
    rounded_bits: Tensor | None = None  # (N,), of all latents, rounded; None if not counted


class LatentCoder(Protocol):
    """Coder of a trained network on a device: converts between images, latents and bytes."""

    network: Any
    stride: int  # divides 256, the smallest step of tiles
    latent_stride: int  # divides `stride`
    latent_channels: int
    margin: int  # pixels that transforms see around a tile: 0 to 4080, a multiple of 16

    def analyse(self, images: Tensor, controls: Any) -> Tensor:
        """Return the latents (1, C, h, w) of `images`, float32 (1, 3, H, W) in [-1, 1]."""
        features = images.contiguous(memory_format=torch.channels_last)
        return self.network.analyse(features, controls)

    def encode(self, latents: Tensor) -> bytes:
        """Return the entropy-coded bytes of latents (1, C, h, w)."""

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Return the decoded latents (1, C, rows, columns); raises `CorruptStream`."""

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of decoded latents."""
        features = latents.contiguous(memory_format=torch.channels_last)
        return self.network.synthesise(features, controls)


class Network(nn.Module):
    """Base class of learned codecs' networks; `config` is the argument of `Architecture.build`."""

    sizes: Any  # dimensions, a dataclass
    stride: int = 64  # pixels; divides the sides of images
    tables_type: ClassVar[str] = ""  # "module:function" to call with network and photographs
    coder_type: ClassVar[str] = ""  # "module:class" to call with network, tables and device
    control_block: ClassVar[ControlBlock] = ControlBlock()  # form of controls in a header
    recordable: ClassVar[bool] = True  # whether CUDA graphs can capture the network's steps
    counts_rounded: bool = False  # whether `forward` returns `Estimate.rounded_bits`
    quantised_bits: Mapping[str, int] = {}  # bit width by name prefix; the last match counts

    def forward(self, images: Tensor, controls: Any, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct `images`, float32 of shape (N, 3, H, W) in [-1, 1].

        `controls` come from `controls_at`. Bits are of latents with noise if `noisy`, else rounded.
        """
        raise NotImplementedError

    def controls_at(self, rate: Level | IndexedLevels, realism: Level | IndexedLevels) -> Any:
        """Return the controls for `forward` at a rate level and a realism weight; here, None."""
        return None

    def initialise(self, crops: Tensor, lambdas: Sequence[float]) -> None:
        """Set initial values from photographs, `crops` (N, 3, H, W) in [-1, 1]."""
        # lambdas: weight of bpp at each rate level, relative to 150 MSE of values in [0, 1]
        raise NotImplementedError

    def tables(self, images: Sequence[Pixels] = ()) -> dict[str, Tensor]:
        """Make the integer tensors that a coder needs from photographs; return them by name."""
        return import_target(self.tables_type)(self, images) if self.tables_type else {}

    def coder(self, tables: Mapping[str, Tensor], device: torch.device | str = "cpu") -> Any:
        """Make the `LatentCoder`; raises `ValueError` or `KeyError` for unusable tables."""
        if not self.coder_type:
            raise ValueError(f"a {type(self).__name__} has no coder")
        return import_target(self.coder_type)(self, tables, device)

    def priors(self) -> Sequence[nn.Module]:
        """Return the factorised priors, modules with the parameter `quantiles` (channels, 3)."""
        return ()

    def auxiliary_loss(self) -> Tensor:
        """Return the loss that trains the parameters "quantiles", a scalar."""
        losses = [prior.quantile_loss() for prior in self.priors()]  # type: ignore[operator]
        return torch.stack(losses).sum()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each optimiser group, in order: "prior", "rest", "quantiles"."""
        # a stage scales the learning rate of "prior"; only `auxiliary_loss` trains "quantiles"
        quantiles = {prior.quantiles for prior in self.priors()}
        prior = {weight for module in self.priors() for weight in module.parameters()}
        groups: dict[str, list[nn.Parameter]] = {"prior": [], "rest": [], "quantiles": []}
        for weight in self.parameters():
            name = "quantiles" if weight in quantiles else "prior" if weight in prior else "rest"
            groups[name].append(weight)
        return groups

    def freezable_parts(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return the parameters of each part that a stage can freeze, by attribute name."""
        # a stage at a single rate does not train "rate_control"; a stage without realism does not
        # train "realism_control"
        parts: dict[str, list[nn.Parameter]] = {}
        for path, parameter in self.named_parameters():
            for name in dict.fromkeys(path.split(".")):
                parts.setdefault(name, []).append(parameter)
        return {name: values for name, values in parts.items() if not name.isdigit()}

    def further_macs_per_pixel(self) -> Mapping[str, float]:
        """Return multiply-accumulates per pixel of layers that are not convolutions, by part."""
        return {}

    def initialise_parts(self, parts: Collection[str]) -> None:
        """Set initial values of parts before the first stage that trains them."""

    def settle(self) -> None:
        """Compute parameters that training only approximates; called for a copy on the CPU."""

    def stored_state(self) -> dict[str, Tensor]:
        """Return the tensors to store in a checkpoint, by name."""
        return self.state_dict(keep_vars=True)

    def load_stored_state(self, state: Mapping[str, Tensor]) -> None:
        """Assign tensors as `stored_state` returns them, without copying them to another device."""
        self.load_state_dict(dict(state), assign=True)


# Parameters of glibc's `mallopt`, and the environment variables that set them
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
MALLOC_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
MAX_KEPT_BYTES = 512 << 20  # of freed memory that glibc keeps
MAX_KEPT_BLOCK_BYTES = 128 << 20  # larger blocks go back to the system when they are freed
INSTRUCTIONS = ("amx_bf16", "avx512_bf16")  # torch's names of CPU features with bfloat16
BLOCK = 64  # pixels; the hyper-latent has 1/64 of an image's sides
GREY = 127.5  # 8-bit level that is 0 in [-1, 1]


@contextmanager
def inference() -> Iterator[None]:
    """Disable gradients; on a GPU, use full float32 and the same kernels in every call."""
    keep_freed_memory()
    with (
        torch.inference_mode(),
        full_float32(),
        cudnn_flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield


@contextmanager
def full_float32() -> Iterator[None]:
    """Multiply float32 on GPUs without TF32, which keeps only 10 of 23 bits of a factor."""
    # restores the caller's settings in both interfaces of torch; within this context torch refuses
    # to read the older one, `allow_tf32`
    backends: Any = torch.backends
    cudnn, previous = backends.cudnn, backends.cudnn.fp32_precision
    # convolutions and products inherit this setting, unless they have been set themselves
    cudnn.fp32_precision = "ieee"
    operations = [
        (operation, operation.fp32_precision)
        for operation in (cudnn.conv, backends.cuda.matmul)
        if operation.fp32_precision != "ieee"
    ]
    for operation, _ in operations:
        operation.fp32_precision = "ieee"
    try:
        yield
    finally:
        for operation, precision in operations:
            operation.fp32_precision = precision
        was_inherited = previous == backends.fp32_precision
        cudnn.fp32_precision = "none" if was_inherited else previous


@contextmanager
def cudnn_flags(**flags: bool) -> Iterator[None]:
    """Set cuDNN's flags; unlike torch's context, never read `allow_tf32` (see `full_float32`)."""
    cudnn = torch.backends.cudnn
    previous = {name: getattr(cudnn, name) for name in flags}
    try:
        for name, value in flags.items():
            setattr(cudnn, name, value)
        yield
    finally:
        for name, value in previous.items():
            setattr(cudnn, name, value)


@cache
def keep_freed_memory() -> None:
    """Keep up to 512 MiB of freed memory in this process, unless the user configured malloc."""
    # by default glibc returns blocks above 32 MiB to the system when they are freed; zeroing the
    # new pages takes a sixth of a large network's time
    if any(name in os.environ for name in MALLOC_VARIABLES):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library or operating system
        return
    mallopt(MMAP_THRESHOLD, MAX_KEPT_BLOCK_BYTES)
    mallopt(TRIM_THRESHOLD, MAX_KEPT_BYTES)


def has_bfloat16(device: str) -> bool:
    """Return whether "cpu" or "cuda" has instructions for bfloat16, which is slow without them."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in INSTRUCTIONS)


def pad_pixels(pixels: Pixels, stride: int = BLOCK) -> Pixels:
    """Pad pixels (h, w, 3) by mirroring at the bottom and right, to multiples of `stride`."""
    for axis in (0, 1):
        side = pixels.shape[axis]
        if padding := -side % stride:
            widths = [(0, padding if dim == axis else 0) for dim in range(3)]
            pixels = np.pad(pixels, widths, mode="reflect" if padding < side else "edge")
    return pixels


def make_images(pixels: Pixels, device: torch.device) -> Tensor:
    """Convert pixels (h, w, 3) to float32 (1, 3, h, w) in [-1, 1]."""
    # a copy: torch warns about read-only arrays
    planes = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(device)
    return planes[None].float().div_(GREY).sub_(1)


def make_pixels(images: Tensor) -> Pixels:
    """Convert images (1, 3, h, w), about [-1, 1], to clamped and rounded pixels (h, w, 3)."""
    levels = images[0].add(1).mul_(GREY).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()
