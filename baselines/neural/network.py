"""The network of a learned codec, as the trainer and the checkpoint see it; how torch runs it."""

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
from baselines.neural.blocks.control import Level, PlacedLevels
from benchmark.codec import Pixels
from benchmark.registry import imported


class Estimate(NamedTuple):
    """A batch of reconstructions, and the bits that an ideal coder would take for each."""

    images: Tensor  # (N, 3, H, W), about [-1, 1], not clamped
    y_bits: Tensor  # (N,)
    z_bits: Tensor  # (N,), of the hyper-latent; zeros for a codec without it
    latents: Tensor | None = None  # as decoded, for a loss or discriminator conditioned on them
    rounded_bits: Tensor | None = None  # (N,) of all latents as rounded, for a loss that wants them


class LatentCoder(Protocol):
    """Coder of a trained network on a device, between images, latents and bytes.

    The transforms are by default the network's own. Images are padded to multiples of `stride`.
    `margin`, in pixels, is what transforms see around a tile; 0 to 4080, a multiple of 16.
    """

    network: Any
    stride: int  # divides 256, the smallest step of tiles
    latent_stride: int  # divides `stride`
    latent_channels: int
    margin: int

    def analyse(self, images: Tensor, controls: Any) -> Tensor:
        """Return the latents (1, C, h, w) of `images`, float32 (1, 3, H, W) in [-1, 1]."""
        seen = images.contiguous(memory_format=torch.channels_last)
        return self.network.analyse(seen, controls)

    def encode(self, latents: Tensor) -> bytes:
        """Return the entropy-coded bytes of latents (1, C, h, w)."""

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Return the latents (1, C, rows, columns) that a decoder has; raises `CorruptStream`."""

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of latents as `decode` returned them."""
        seen = latents.contiguous(memory_format=torch.channels_last)
        return self.network.synthesise(seen, controls)


class Network(nn.Module):
    """Base class of the networks of learned codecs; a method overrides what differs.

    `config` is what `Architecture.build` was called with. `stride`, in pixels, divides the sides of
    images. `quantised_bits` are the bits of weights for which few suffice, by the beginning of the
    parameters' names; of several, the last counts.
    """

    sizes: Any  # dimensions, a dataclass
    stride: int = 64
    tables_type: ClassVar[str] = ""  # "module:function" of the network and photographs
    coder_type: ClassVar[str] = ""  # "module:class", made with the network, tables and a device
    control_block: ClassVar[ControlBlock] = ControlBlock()  # form of controls in a header
    recordable: ClassVar[bool] = True  # whether CUDA graphs can record its steps: none reads a GPU
    counts_rounded: bool = False  # whether `forward` is to give `Estimate.rounded_bits`
    quantised_bits: Mapping[str, int] = {}

    def forward(self, images: Tensor, controls: Any, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct `images`, float32 of shape (N, 3, H, W) in [-1, 1].

        `controls` come from `controls_at`. With `noisy`, bits are of latents with noise, else
        rounded.
        """
        raise NotImplementedError

    def controls_at(self, rate: Level | PlacedLevels, realism: Level | PlacedLevels) -> Any:
        """Return the controls for `forward` at a rate level and a realism weight; here, None."""
        return None

    def initialise(self, crops: Tensor, lambdas: Sequence[float]) -> None:
        """Set start values from photographs, `crops` of shape (N, 3, H, W) in [-1, 1].

        `lambdas`, for each rate level, weigh bpp, with 150 MSE of values in [0, 1] beside it.
        """
        raise NotImplementedError

    def tables(self, images: Sequence[Pixels] = ()) -> dict[str, Tensor]:
        """Return the integer tensors that a coder needs, made for photographs like `images`."""
        return imported(self.tables_type)(self, images) if self.tables_type else {}

    def coder(self, tables: Mapping[str, Tensor], device: torch.device | str = "cpu") -> Any:
        """Return the `LatentCoder` with its tables; raises `ValueError`, `KeyError`."""
        if not self.coder_type:
            raise ValueError(f"a {type(self).__name__} codes nothing itself")
        return imported(self.coder_type)(self, tables, device)

    def priors(self) -> Sequence[nn.Module]:
        """Return the factorised priors, modules with the parameter `quantiles` (channels, 3)."""
        return ()

    def auxiliary_loss(self) -> Tensor:
        """Return the loss that trains the group "quantiles", a scalar with a gradient for it."""
        losses = [prior.quantile_loss() for prior in self.priors()]  # type: ignore[operator]
        return torch.stack(losses).sum()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters that are optimised alike, in their order: "prior" and "rest".

        A stage of a recipe scales the learning rate of "prior". Those of "quantiles" are trained by
        `auxiliary_loss` alone, with an optimiser apart.
        """
        quantiles = {prior.quantiles for prior in self.priors()}
        prior = {weight for module in self.priors() for weight in module.parameters()}
        named: dict[str, list[nn.Parameter]] = {"prior": [], "rest": [], "quantiles": []}
        for weight in self.parameters():
            name = "quantiles" if weight in quantiles else "prior" if weight in prior else "rest"
            named[name].append(weight)
        return named

    def freezable(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return the parameters of each part that a stage can freeze, by the part's name.

        A part is every module or parameter list by its attribute name. A stage at a single rate, or
        without realism, does not train "rate_control" or "realism_control".
        """
        parts: dict[str, list[nn.Parameter]] = {}
        for path, parameter in self.named_parameters():
            for name in dict.fromkeys(path.split(".")):
                parts.setdefault(name, []).append(parameter)
        return {name: members for name, members in parts.items() if not name.isdigit()}

    def further_macs_per_pixel(self) -> Mapping[str, float]:
        """Return multiply-accumulates per pixel that are not convolutions', by part."""
        return {}

    def start_parts(self, parts: Collection[str]) -> None:
        """Set start values of parts before the first stage that trains them, in a random start."""

    def settle(self) -> None:
        """Solve for what training only approximates, once, on a copy of the network on the CPU."""

    def stored_state(self) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint's file by name: parameters, and buffers if any."""
        return self.state_dict(keep_vars=True)

    def load_stored_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the tensors of `stored_state`, on their device."""
        self.load_state_dict(dict(state), assign=True)


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
        full_float32(),
        cudnn_flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield


@contextmanager
def full_float32() -> Iterator[None]:
    """Have GPUs multiply float32 in full, without TF32, which keeps 10 of 23 bits of a factor.

    Settings of the caller are restored, and may be of either interface of torch. Inside, torch
    refuses to read the older one, `allow_tf32`.
    """
    backends: Any = torch.backends
    cudnn, before = backends.cudnn, backends.cudnn.fp32_precision
    # Both inherit it; setting them would cut them off from what the caller sets later.
    cudnn.fp32_precision = "ieee"
    explicit = [
        (operation, operation.fp32_precision)
        for operation in (cudnn.conv, backends.cuda.matmul)
        if operation.fp32_precision != "ieee"
    ]
    for operation, _ in explicit:
        operation.fp32_precision = "ieee"
    try:
        yield
    finally:
        for operation, precision in explicit:
            operation.fp32_precision = precision
        inherited = before == backends.fp32_precision
        cudnn.fp32_precision = "none" if inherited else before


@contextmanager
def cudnn_flags(**flags: bool) -> Iterator[None]:
    """Set flags of cuDNN by name; torch's own context reads `allow_tf32` (see `full_float32`)."""
    cudnn = torch.backends.cudnn
    before = {name: getattr(cudnn, name) for name in flags}
    try:
        for name, value in flags.items():
            setattr(cudnn, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(cudnn, name, value)


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
        if missing := -side % stride:
            widths = [(0, missing if of == axis else 0) for of in range(3)]
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
