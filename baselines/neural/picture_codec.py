"""Codec of any checkpoint: encodes pixels and controls to a stream, and decodes it::

    pixels ─ pad ─ analyse ─ latents ─ encode ─ container ─> bytes
    bytes ─ container ─ decode ─ latents ─ synthesise ─ round, crop ─> pixels

Analysis and synthesis run in floating point: the symbols that an encoder chooses and the last bit
of a pixel may depend on the machine; the symbols that a decoder reads do not.
"""

from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from baselines.neural.bitstream.container import (
    CHECKPOINT_BYTES,
    Stream,
    Tiling,
    checksum,
    choose_tiling,
    pack,
    size_fault,
    tiles,
    unpack,
    whole_blocks,
    window,
)
from baselines.neural.checkpoint import Checkpoint
from baselines.neural.network import (
    Estimate,
    LatentCoder,
    inference,
    make_images,
    make_pixels,
    pad_pixels,
)
from benchmark.codec import Pixels
from benchmark.errors import CorruptStream, ImageRefused, Unavailable


class Piece(NamedTuple):
    """Part of an image that an encoder sees for a tile; the whole image without tiles."""

    images: Tensor  # float32 (1, 3, H, W) in [-1, 1], sides multiples of the coder's stride
    image_sides: tuple[int, int]  # number of rows and columns that are not padding
    controls: Any  # in the coder's form
    rows: slice  # rows of the latents that belong to the tile
    columns: slice  # columns of the latents


class PictureCodec:
    """Encoder and decoder of a checkpoint on a device."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._block = checkpoint.network.control_block
        self._network = checkpoint.network
        self.identity = checkpoint.card.identity[:CHECKPOINT_BYTES]
        self._last_stream: tuple[bytes, list[Any]] = b"", []  # bytes, entropy coder of each tile
        try:
            self.coder: LatentCoder = checkpoint.network.coder(checkpoint.tables, device)
        except (KeyError, ValueError) as error:
            raise Unavailable(
                f"the checkpoint {self.identity.hex()} cannot code: its integer tables are missing "
                f"or do not fit its network ({error}); export it again"
            ) from error

    def encode(
        self,
        pixels: Pixels,
        controls: Any = None,
        tiling: Tiling | None = None,
        make_payload: Callable[[Piece], bytes] | None = None,
    ) -> bytes:
        """Return the stream, in tiles if large. `make_payload` replaces analysis and coding."""
        height, width, _ = pixels.shape
        stride, unit = self.coder.stride, self.coder.latent_stride
        tiling = tiling or choose_tiling(width, height, self.coder.margin)
        if fault := size_fault(width, height, tiling):
            raise ImageRefused(f"this codec cannot code the image: {fault}")
        pieces = tiles(width, height, tiling)
        padded_pixels = pad_pixels(pixels, stride)
        margin = whole_blocks(tiling.margin, stride) if tiling else 0
        payloads, encoders = [], []
        with inference():
            for tile in pieces:
                pixel_window, block_window, latent_window = (
                    window(tile, margin, width, height, pixels, stride)
                    for pixels in (1, stride, unit)
                )
                piece_pixels = padded_pixels[pixel_window.rows, pixel_window.columns]
                piece = Piece(
                    make_images(piece_pixels, self._device),
                    (min(height, pixel_window.rows.stop) - pixel_window.rows.start,
                     min(width, pixel_window.columns.stop) - pixel_window.columns.start),
                    self._block.window(controls, block_window.rows, block_window.columns, stride),
                    latent_window.tile_rows,
                    latent_window.tile_columns,
                )  # fmt: skip
                payloads.append((make_payload or self._encode_piece)(piece))
                encoders.append(getattr(self.coder, "last_encoder", None))
        stream = Stream(self.identity, width, height, controls, tuple(payloads), tiling)
        try:
            data = pack(stream, self._block)
        except ValueError as error:
            raise ImageRefused(f"this codec cannot code the image: {error}") from error
        self._last_stream = data, encoders
        return data

    def ideal_bits(self, data: bytes) -> float | None:
        """Return the sum of -log2 p over the last stream's symbols; None for another stream."""
        last_data, encoders = self._last_stream
        if data != last_data or not all(encoders):
            return None
        return sum(encoder.ideal_bits() for encoder in encoders)

    def add_checksum(self, data: bytes) -> bytes:
        """Add a checksum of two bytes to a stream, with which decoders verify the latents."""
        stream = unpack(data, self._block, self.identity)
        stream = stream._replace(latents_checksum=_latents_checksum(self.latents(data)))
        return pack(stream, self._block)

    def _encode_piece(self, piece: Piece) -> bytes:
        latents = self.coder.analyse(piece.images, piece.controls)
        return self.coder.encode(latents[:, :, piece.rows, piece.columns].contiguous())

    def decode(self, data: bytes, change: Callable[[Any], Any] | None = None) -> Pixels:
        """Return the image, with controls changed by `change`; raises `CorruptStream`."""
        stream = unpack(data, self._block, self.identity)
        width, height, unit = stream.width, stream.height, self.coder.latent_stride
        controls = change(stream.controls) if change else stream.controls
        margin = stream.tiling.margin if stream.tiling else 0
        pixels = np.empty((height, width, 3), np.uint8)
        with inference():
            latents = self._decode_latents(stream)
            for tile in tiles(width, height, stream.tiling):
                latent_window = window(tile, margin, width, height, unit, self.coder.stride)
                images = self.coder.synthesise(
                    latents[:, :, latent_window.rows, latent_window.columns],
                    self._block.window(controls, latent_window.rows, latent_window.columns, unit),
                )
                top, left = (
                    latent_window.tile_rows.start * unit,
                    latent_window.tile_columns.start * unit,
                )
                pixels[tile.top :, tile.left :][: tile.height, : tile.width] = make_pixels(
                    images[:, :, top : top + tile.height, left : left + tile.width]
                )
        return pixels

    def estimate(self, images: Tensor, controls: Any = None) -> Estimate:
        """Return reconstructions and bits of images (N, 3, H, W) in [-1, 1] without coding."""
        all_blocks = slice(None)
        with inference():
            network_controls = self._block.window(controls, all_blocks, all_blocks, 1)
            return self._network(images, network_controls, noisy=False)

    def make_exact(self) -> "PictureCodec":
        """Return a copy whose pixels are the same on every machine; see `CRDRCoder`."""
        exact = copy(self)
        exact.coder = self.coder.make_exact()  # type: ignore[attr-defined]
        return exact

    def latents(self, data: bytes) -> Tensor:
        """Decode a stream's latents (1, C, h, w), the same on every machine."""
        with inference():
            return self._decode_latents(unpack(data, self._block, self.identity))

    def _decode_latents(self, stream: Stream) -> Tensor:
        stride, unit = self.coder.stride, self.coder.latent_stride
        width, height = stream.width, stream.height
        rows, columns = (whole_blocks(side, stride) // unit for side in (height, width))
        latents = torch.empty(1, self.coder.latent_channels, rows, columns, device=self._device)
        pieces = tiles(width, height, stream.tiling)
        for tile, payload in zip(pieces, stream.payloads, strict=True):
            latent_window = window(tile, 0, width, height, unit, stride)
            sides = (whole_blocks(side, stride) // unit for side in (tile.height, tile.width))
            latents[:, :, latent_window.rows, latent_window.columns] = self.coder.decode(
                payload, *sides
            )
        recorded_checksum = stream.latents_checksum  # without it do not wait for the device
        if recorded_checksum is not None and recorded_checksum != _latents_checksum(latents):
            raise CorruptStream(
                "the decoded latents differ from those of the encoder: this processor or a library "
                "computes the entropy model wrongly; decode on another machine"
            )
        return latents


def _latents_checksum(latents: Tensor) -> bytes:
    return checksum(latents.cpu().numpy().astype("<f4").tobytes())
