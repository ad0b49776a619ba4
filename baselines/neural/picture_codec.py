"""The codec of any checkpoint: encodes pixels and controls to a stream, and decodes it.

::

    pixels ─ pad ─ analyse ─ latents ─ encode ─ container ─> bytes
    bytes ─ container ─ decode ─ latents ─ synthesise ─ round, crop ─> pixels

Analysis and synthesis are floating point: the encoder's choice of symbols and the last bit of a
pixel may depend on the machine; the decoded symbols do not.
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
    pack,
    size_fault,
    tiles,
    tiling_of,
    unpack,
    whole_blocks,
    window,
)
from baselines.neural.checkpoint import Checkpoint
from baselines.neural.network import Estimate, LatentCoder, inference, padded, to_images, to_pixels
from benchmark.codec import Pixels
from benchmark.errors import CorruptStream, ImageRefused, Unavailable


class Piece(NamedTuple):
    """Part of an image that an encoder sees for a tile; the whole image if it has none."""

    images: Tensor  # float32 (1, 3, H, W) in [-1, 1], sides multiples of the coder's stride
    inside: tuple[int, int]  # first rows and columns, which are no padding
    controls: Any  # as the coder takes them
    rows: slice  # the tile's, in positions of the latents
    columns: slice


class PictureCodec:
    """Encoder and decoder of a checkpoint, on a device; raises `Unavailable` for its tables."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._block = checkpoint.network.control_block
        self._network = checkpoint.network
        self.identity = checkpoint.card.identity[:CHECKPOINT_BYTES]
        self._last: tuple[bytes, list[Any]] = b"", []  # stream, entropy coder of each tile
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
        payload_of: Callable[[Piece], bytes] | None = None,
    ) -> bytes:
        """Return the stream of an image; without `tiling`, a large one is cut by `tiling_of`.

        `payload_of` encodes a piece in place of analysis and rounding. Raises `ImageRefused` for
        the size of an image.
        """
        height, width, _ = pixels.shape
        stride, unit = self.coder.stride, self.coder.latent_stride
        tiling = tiling or tiling_of(width, height, self.coder.margin)
        if fault := size_fault(width, height, tiling):
            raise ImageRefused(f"this codec cannot hold {fault}")
        pieces = tiles(width, height, tiling)
        whole = padded(pixels, stride)
        margin = whole_blocks(tiling.margin, stride) if tiling else 0
        payloads, encoders = [], []
        with inference():
            for tile in pieces:
                seen, blocks, own = (
                    window(tile, margin, width, height, pixels, stride)
                    for pixels in (1, stride, unit)
                )
                piece = Piece(
                    to_images(whole[seen.rows, seen.columns], self._device),
                    (min(height, seen.rows.stop) - seen.rows.start,
                     min(width, seen.columns.stop) - seen.columns.start),
                    self._block.window(controls, blocks.rows, blocks.columns, stride),
                    own.own_rows,
                    own.own_columns,
                )  # fmt: skip
                payloads.append((payload_of or self._payload)(piece))
                encoders.append(getattr(self.coder, "last_encoder", None))
        stream = Stream(self.identity, width, height, controls, tuple(payloads), tiling)
        try:
            data = pack(stream, self._block)
        except ValueError as error:
            raise ImageRefused(f"this codec cannot hold {error}") from error
        self._last = data, encoders
        return data

    def ideal_bits(self, data: bytes) -> float | None:
        """Return the sum of -log2 p over the symbols of the last stream; None if `data` is another.

        p are the integer tables' probabilities, so that the rest of a stream is header and coder.
        """
        last, encoders = self._last
        if data != last or not all(encoders):
            return None
        return sum(encoder.ideal_bits() for encoder in encoders)

    def checked(self, data: bytes) -> bytes:
        """Return a stream, two bytes longer, whose decoder compares its latents with those here."""
        stream = unpack(data, self._block, self.identity)
        latents = _latents_checksum(self.latents(data))
        return pack(stream._replace(latents=latents), self._block)

    def _payload(self, piece: Piece) -> bytes:
        latents = self.coder.analyse(piece.images, piece.controls)
        return self.coder.encode(latents[:, :, piece.rows, piece.columns].contiguous())

    def decode(self, data: bytes, change: Callable[[Any], Any] | None = None) -> Pixels:
        """Return the image, its controls mapped by `change`; raises `CorruptStream`."""
        stream = unpack(data, self._block, self.identity)
        width, height, unit = stream.width, stream.height, self.coder.latent_stride
        controls = change(stream.controls) if change else stream.controls
        margin = stream.tiling.margin if stream.tiling else 0
        pixels = np.empty((height, width, 3), np.uint8)
        with inference():
            latents = self._latents(stream)
            for tile in tiles(width, height, stream.tiling):
                seen = window(tile, margin, width, height, unit, self.coder.stride)
                images = self.coder.synthesise(
                    latents[:, :, seen.rows, seen.columns],
                    self._block.window(controls, seen.rows, seen.columns, unit),
                )
                top, left = seen.own_rows.start * unit, seen.own_columns.start * unit
                pixels[tile.top :, tile.left :][: tile.height, : tile.width] = to_pixels(
                    images[:, :, top : top + tile.height, left : left + tile.width]
                )
        return pixels

    def estimate(self, images: Tensor, controls: Any = None) -> Estimate:
        """Return reconstructions and bits of images (N, 3, H, W) in [-1, 1], without a stream."""
        whole = slice(None)
        with inference():
            shown = self._block.window(controls, whole, whole, 1)
            return self._network(images, shown, noisy=False)

    def exactly(self) -> "PictureCodec":
        """Return a codec whose pixels are the same on every machine, by `CRDRCoder.exactly`."""
        other = copy(self)
        other.coder = self.coder.exactly()  # type: ignore[attr-defined]
        return other

    def latents(self, data: bytes) -> Tensor:
        """Return the latents (1, C, h, w) that a stream holds, the same on every machine."""
        with inference():
            return self._latents(unpack(data, self._block, self.identity))

    def _latents(self, stream: Stream) -> Tensor:
        stride, unit = self.coder.stride, self.coder.latent_stride
        width, height = stream.width, stream.height
        rows, columns = (whole_blocks(side, stride) // unit for side in (height, width))
        latents = torch.empty(1, self.coder.latent_channels, rows, columns, device=self._device)
        pieces = tiles(width, height, stream.tiling)
        for tile, payload in zip(pieces, stream.payloads, strict=True):
            own = window(tile, 0, width, height, unit, stride)
            sides = (whole_blocks(side, stride) // unit for side in (tile.height, tile.width))
            latents[:, :, own.rows, own.columns] = self.coder.decode(payload, *sides)
        # Only where it is asked for: a checksum waits for the device.
        if stream.latents is not None and stream.latents != _latents_checksum(latents):
            raise CorruptStream(
                "the decoded latents are not those of the encoder: this processor or a library "
                "computes the entropy model wrongly; decode elsewhere"
            )
        return latents


def _latents_checksum(latents: Tensor) -> bytes:
    """Return the checksum of latents (1, C, h, w), as float32 with the lowest byte first."""
    return checksum(latents.cpu().numpy().astype("<f4").tobytes())
