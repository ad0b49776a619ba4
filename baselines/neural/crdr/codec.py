"""Pixels, q and beta <-> the bytes of a stream, with one checkpoint on one device.

::

    pixels ─ pad ─ analysis(q) ─ y ─ latent strings ─ container ─> bytes
    bytes ─ container ─ latent strings ─ y as decoded ─ synthesis(q, beta) ─ round, crop ─> pixels

Analysis and synthesis are floating point: the encoder's choice of symbols and the decoder's last
bit of a pixel may depend on the machine; the symbols, once chosen, do not. Beta only passes through
the encoder, into the header.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from baselines.neural.bitstream.container import (
    BETA_GRID,
    CHECKPOINT_BYTES,
    Q_GRID,
    ControlGrid,
    Stream,
    Tiling,
    pack,
    tiles,
    unpack,
)
from baselines.neural.bitstream.level_map import Levels, level_steps, map_shape
from baselines.neural.bitstream.windows import analysis_margin, tiling_of, window
from baselines.neural.blocks.raster import padded, to_images, to_pixels
from baselines.neural.checkpoint.checkpoint import Checkpoint
from baselines.neural.crdr.coder import Y_PER_Z, CRDRCoder
from baselines.neural.crdr.model import Controls
from baselines.neural.entropy.fixed.selftest import Choice
from benchmark.codec import Pixels
from benchmark.errors import CorruptStream, ImageRefused, Unavailable

BLOCK, LATENT = 64, 16  # pixels that a position of z, of y, stands for


class PictureCodec:
    """Both directions.

    choice: of the integer kernel; the fastest exact one on the device unless given. Raises
    `Unavailable` for a checkpoint whose tables are missing or do not fit its network.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device | str = "cpu",
        choice: Choice | None = None,
    ) -> None:
        self._device = torch.device(device)
        self.identity = checkpoint.card.identity[:CHECKPOINT_BYTES]
        try:
            self._coder = CRDRCoder(checkpoint.model, checkpoint.tables, device, choice)
        except (KeyError, ValueError) as error:
            raise Unavailable(
                f"the checkpoint {self.identity.hex()} cannot code: its integer tables are missing "
                f"or do not fit its network ({error}); `bench checkpoint import` makes them"
            ) from error

    def encode(
        self,
        pixels: Pixels,
        q: float | Levels,
        beta: float | Levels,
        tiling: Tiling | None = None,
    ) -> bytes:
        """The stream of an image; without `tiling`, a large one is cut as `tiling_of` says.

        q in [0, 4], beta in [0, 5.12]: a number, rounded to the header's grid before anything else,
        or a level for each block of 64 x 64 pixels. Raises `ValueError` for others, `ImageRefused`
        for an image that no stream can hold.
        """
        height, width, _ = pixels.shape
        rate, realism = _on_grid(q, Q_GRID), _on_grid(beta, BETA_GRID)
        for control in (rate, realism):
            if not isinstance(control, int) and control.shape != map_shape(width, height):
                raise ValueError(f"a map of shape {control.shape}, not {map_shape(width, height)}")
        tiling = tiling or tiling_of(width, height)
        frame = Stream(self.identity, width, height, rate, realism, (), tiling)
        pieces = tiles(width, height, tiling)
        try:
            pack(frame._replace(payloads=(b"",) * len(pieces)))
        except ValueError as error:
            raise ImageRefused(f"this codec cannot hold {error}") from error
        whole = padded(pixels)
        margin = analysis_margin(tiling)
        strings = []
        with _inference():
            for tile in pieces:
                seen = window(tile, margin, width, height, 1)
                images = to_images(whole[seen.rows, seen.columns], self._device)
                blocks = window(tile, margin, width, height, BLOCK)
                level = _level(rate, Q_GRID, blocks.rows, blocks.columns)
                latents = self._coder.analyse(images, Controls(level, 0.0))
                own = window(tile, margin, width, height, LATENT)
                strings.append(
                    self._coder.encode(latents[:, :, own.own_rows, own.own_columns].contiguous())
                )
        return pack(frame._replace(payloads=tuple(strings)))

    def decode(self, data: bytes, beta: float | None = None) -> Pixels:
        """The image; `beta` in [0, 5.12] instead of what the stream says.

        Raises `CorruptStream` for bytes that are no stream of this checkpoint, `ValueError` for a
        beta out of range.
        """
        stream = self._unpacked(data)
        realism = stream.beta if beta is None else BETA_GRID.step(beta)
        pixels = np.empty((stream.height, stream.width, 3), np.uint8)
        with _inference():
            latents = self._latents(stream)
            for tile in tiles(stream.width, stream.height, stream.tiling):
                margin = stream.tiling.margin if stream.tiling else 0
                seen = window(tile, margin, stream.width, stream.height, LATENT)
                controls = Controls(
                    _level(stream.q, Q_GRID, seen.rows, seen.columns, Y_PER_Z),
                    _level(realism, BETA_GRID, seen.rows, seen.columns, Y_PER_Z),
                )
                images = self._coder.synthesise(latents[:, :, seen.rows, seen.columns], controls)
                top, left = seen.own_rows.start * LATENT, seen.own_columns.start * LATENT
                pixels[tile.top :, tile.left :][: tile.height, : tile.width] = to_pixels(
                    images[:, :, top : top + tile.height, left : left + tile.width]
                )
        return pixels

    def latents(self, data: bytes) -> Tensor:
        """What the entropy path gives, (1, M, H / 16, W / 16) in float32: the same everywhere."""
        with _inference():
            return self._latents(self._unpacked(data))

    def _unpacked(self, data: bytes) -> Stream:
        stream = unpack(data)
        if stream.checkpoint != self.identity:
            raise CorruptStream(
                f"the stream was made with the checkpoint {stream.checkpoint.hex()}, "
                f"not with this one, {self.identity.hex()}"
            )
        return stream

    def _latents(self, stream: Stream) -> Tensor:
        width, height = stream.width, stream.height
        rows, columns = (Y_PER_Z * blocks for blocks in map_shape(width, height))
        latents = torch.empty(1, self._coder.latent_channels, rows, columns, device=self._device)
        pieces = tiles(width, height, stream.tiling)
        for tile, payload in zip(pieces, stream.payloads, strict=True):
            own = window(tile, 0, width, height, LATENT)
            blocks = map_shape(tile.width, tile.height)
            latents[:, :, own.rows, own.columns] = self._coder.decode(
                payload, *(Y_PER_Z * count for count in blocks)
            )
        return latents


def _on_grid(control: float | Levels, grid: ControlGrid) -> int | Levels:
    return control if isinstance(control, np.ndarray) else grid.step(control)


def _level(
    control: int | Levels, grid: ControlGrid, rows: slice, columns: slice, per_block: int = 1
) -> float | Tensor:
    """What a network takes: a number, or (1, 1, h, w), a part of the map, finer by `per_block`."""
    if isinstance(control, int):
        return grid.value(control)
    steps = level_steps(control, grid.highest) / grid.steps_per_unit
    fine = steps.repeat(per_block, axis=0).repeat(per_block, axis=1)[rows, columns]
    return torch.from_numpy(fine.astype(np.float32))[None, None]


@contextmanager
def _inference() -> Iterator[None]:
    """Without gradients, and on a GPU in full float32 with the same kernels in every call."""
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ),
    ):
        yield
