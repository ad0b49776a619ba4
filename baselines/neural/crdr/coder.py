"""The coder of CRDR, and its controls q and beta in a stream's header."""

from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from baselines.neural.bitstream.container import ByteReader, ControlBlock
from baselines.neural.bitstream.control_grid import ControlGrid
from baselines.neural.bitstream.level_map import BLOCK, Levels, level_steps
from baselines.neural.crdr.architecture import PUBLISHED_FREQUENCIES
from baselines.neural.crdr.model import HIGHEST_BETA, Controls, CRDRNetwork, Synthesis
from baselines.neural.entropy.hyperprior_coder import TransformCoder
from baselines.neural.exact.layers import exact_transform, sine_cosine

Q_MAP, BETA_MAP = 1, 2  # flags
Q_GRID = ControlGrid("q", 16, 64)
BETA_GRID = ControlGrid("beta", 25, 128)


class HeaderControls(NamedTuple):
    """q and beta in a stream: steps of their grids, or maps of levels."""

    q: int | Levels
    beta: int | Levels

    @classmethod
    def nearest(cls, q: float | Levels, beta: float | Levels) -> "HeaderControls":
        """Return q and beta, each rounded to its grid, or maps as they are; raises `ValueError`."""
        return cls(
            q if isinstance(q, np.ndarray) else Q_GRID.step(q),
            beta if isinstance(beta, np.ndarray) else BETA_GRID.step(beta),
        )


class CRDRControlBlock(ControlBlock):
    """The control block of CRDR: q, then beta, each a byte or a map according to its flag."""

    flags = Q_MAP | BETA_MAP

    def write(self, controls: HeaderControls, width: int, height: int) -> tuple[int, bytes]:
        """Return the flags and the bytes."""
        q, beta = controls
        flags = Q_MAP * (not isinstance(q, int)) | BETA_MAP * (not isinstance(beta, int))
        return flags, Q_GRID.write(q) + BETA_GRID.write(beta)

    def read(self, reader: ByteReader, flags: int, width: int, height: int) -> HeaderControls:
        """Return what `write` was given; raises `CorruptStream`."""
        q = Q_GRID.read(reader, width, height, is_map=bool(flags & Q_MAP))
        return HeaderControls(
            q, BETA_GRID.read(reader, width, height, is_map=bool(flags & BETA_MAP))
        )

    def window(self, controls: HeaderControls, rows: slice, columns: slice, unit: int) -> Controls:
        """Return the network's controls in a window of the image, counted in `unit` pixels."""
        return Controls(
            _level(controls.q, Q_GRID, rows, columns, BLOCK // unit),
            _level(controls.beta, BETA_GRID, rows, columns, BLOCK // unit),
        )


def _level(
    control: int | Levels, grid: ControlGrid, rows: slice, columns: slice, per_block: int
) -> float | Tensor:
    """Return a number, or (1, 1, h, w): a part of the map, repeated `per_block` times each way."""
    if isinstance(control, int):
        return grid.value(control)
    steps = level_steps(control, grid.highest) / grid.steps_per_unit
    fine = steps.repeat(per_block, axis=0).repeat(per_block, axis=1)[rows, columns]
    return torch.from_numpy(fine.astype(np.float32))[None, None]


class CRDRCoder(TransformCoder):
    """Images to latents to bytes, and back, with a checkpoint; see `TransformCoder`."""

    network: CRDRNetwork
    channels_last = ("analysis", "synthesis")
    _exact: Synthesis | None = None

    def synthesise(self, latents: Tensor, controls: Controls) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of y as decoded; float64 if exact."""
        if self._exact is None:
            return super().synthesise(latents, controls)
        levels = self.network.synthesis_controls(latents, controls)
        return self._exact(latents.double(), *levels)

    def exactly(self) -> "CRDRCoder":
        """Return the same coder, whose images have the same bits on every machine."""
        other = copy(self)
        other._exact = exact_synthesis(self.network.synthesis)
        return other


def exact_synthesis(synthesis: Synthesis) -> Synthesis:
    """Return a copy that takes float64 latents; raises `ValueError` for a layer without a form."""
    exact = exact_transform(synthesis)
    exact.embedding.features = exact_fourier
    return exact


def exact_fourier(betas: Tensor, frequencies: int = PUBLISHED_FREQUENCIES) -> Tensor:
    """Return `model.fourier` of betas (K,) in float64, by doubling the angle: (K, 2 F)."""
    sine, cosine = sine_cosine((betas.double() * (1 / HIGHEST_BETA) - 0.5) * 2)
    sines, cosines = [sine], [cosine]
    for _ in range(frequencies - 1):
        sine, cosine = 2 * sine * cosine, 1 - 2 * sine * sine
        sines.append(sine)
        cosines.append(cosine)
    return torch.stack([*sines, *cosines], dim=1)
