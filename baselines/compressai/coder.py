"""The coder of CompressAI's networks with a hyperprior, by CompressAI's own entropy coder.

The entropy model's parameters are computed in floating point: a stream decodes right on the kind of
device, with the versions and the number of threads that it was made with.
"""

import torch
from torch import Tensor

from baselines.compressai.network import ZooNetwork
from baselines.formats.varint import varint
from baselines.neural.bitstream.container import ByteReader
from benchmark.errors import CorruptStream

SPARE_BYTES = 1 << 16  # zeros behind a string, for where a damaged one leads CompressAI's decoder


class ZooCoder:
    """Entropy coder and transforms of one CompressAI network, whose tables are up to date."""

    stride, latent_stride, margin = 64, 16, 0

    def __init__(self, network: ZooNetwork, device: torch.device | str = "cpu") -> None:
        self._net = network.codec.to(device)
        self._has_means = network.has_means
        self.latent_channels = int(self._net.M)

    def analyse(self, images: Tensor, controls: None) -> Tensor:
        """Return y (1, M, H / 16, W / 16) of images (1, 3, H, W) in [-1, 1]."""
        latents: Tensor = self._net.g_a((images + 1) / 2)
        return latents

    def synthesise(self, latents: Tensor, controls: None) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of y as decoded."""
        images: Tensor = self._net.g_s(latents) * 2 - 1
        return images

    def encode(self, latents: Tensor) -> bytes:
        """Return the bytes of y: the length of z's string as a varint, z's string, y's string."""
        bottleneck, gaussian = self._net.entropy_bottleneck, self._net.gaussian_conditional
        hyper = self._net.h_a(latents if self._has_means else latents.abs())
        (z_string,) = bottleneck.compress(hyper)
        means, indexes = self._parameters(bottleneck.decompress([z_string], hyper.shape[2:]))
        (y_string,) = gaussian.compress(latents, indexes, means=means)
        return b"".join([varint(len(z_string)), z_string, y_string])

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Return y (1, M, rows, columns) as decoded; damaged bytes may give wrong latents.

        Raises `CorruptStream` for lengths that do not add up.
        """
        reader = ByteReader(data)
        z_string = reader.take(reader.varint())
        spare = bytes(SPARE_BYTES + 15 * len(data) + 4 * rows * columns * self.latent_channels)
        try:
            hyper = self._net.entropy_bottleneck.decompress(
                [z_string + spare], (rows // 4, columns // 4)
            )
            means, indexes = self._parameters(hyper)
            latents: Tensor = self._net.gaussian_conditional.decompress(
                [reader.rest() + spare], indexes, means=means
            )
        except (RuntimeError, ValueError) as error:
            raise CorruptStream(f"CompressAI cannot decode the string: {error}") from error
        return latents

    def _parameters(self, hyper: Tensor) -> tuple[Tensor | None, Tensor]:
        predicted = self._net.h_s(hyper)
        scales, means = predicted.chunk(2, 1) if self._has_means else (predicted, None)
        return means, self._net.gaussian_conditional.build_indexes(scales)
