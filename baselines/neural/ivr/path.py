"""The entropy model of IVR in integers: rows of the table of distributions, from z's symbols."""

from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.neural.entropy.fixed.grid import OUTPUT_FRACTION, Precision
from baselines.neural.entropy.fixed.integer_path import (
    Ends,
    IntegerPath,
    PieceParameters,
    channels_first,
    values_of,
)
from baselines.neural.entropy.fixed.selftest import Choice
from baselines.neural.entropy.latent_network import LatentNetwork
from baselines.neural.ivr.laplace import FINEST_PLACES, NUM_SCALES

PLACE_BITS = FINEST_PLACES.bit_length() - 1


class IvrPath(IntegerPath):
    """Integer network of a checkpoint of IVR; see `IntegerPath`. y is one piece."""

    num_pieces = 1
    num_thresholds = NUM_SCALES - 1

    def __init__(
        self,
        model: LatentNetwork,
        tables: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        choice: Choice | None = None,
    ) -> None:
        super().__init__(model, tables, device=device, choice=choice)
        self._starts = self._table(tables, "row_start", NUM_SCALES)
        self._shifts = self._table(tables, "row_shift", NUM_SCALES)
        self.num_rows = int(self._starts[-1]) + (FINEST_PLACES >> int(self._shifts[-1]))

    def pieces(self, latents: Tensor) -> list[Tensor]:
        """Return y itself."""
        return [latents]

    def begin(self, z_symbols: Tensor) -> "DecodedLatent":
        """Begin decoding with the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        outputs = self.branches["hyper"](self.hyper_activations(z_symbols))
        means, log_scales = channels_first(outputs).chunk(2, dim=1)
        return DecodedLatent(self.parameters_of(means, log_scales))

    def parameters_of(self, means: Tensor, log_scales: Tensor) -> PieceParameters:
        """Return rows and integers of y's symbols, of means and scales on the grid 2^-12.

        A symbol counts from the integer nearest to its mean, which is on that grid too; the row
        says where the mean lies around it.
        """
        scales = torch.bucketize(log_scales.contiguous(), self.thresholds)
        shifted = means.to(torch.int64) + (1 << (OUTPUT_FRACTION - 1))
        place = (shifted & ((1 << OUTPUT_FRACTION) - 1)) >> (OUTPUT_FRACTION - PLACE_BITS)
        rows = self._starts[scales] + (place >> self._shifts[scales])
        nearest = (shifted >> OUTPUT_FRACTION) << OUTPUT_FRACTION
        return PieceParameters(rows.to(torch.int32), nearest.to(torch.int32))

    def _ends(self, name: str) -> Ends:
        return Ends("z", OUTPUT_FRACTION, Precision.FINE)


class DecodedLatent:
    """The latent in decoding: its only piece."""

    def __init__(self, parameters: PieceParameters) -> None:
        self._parameters = parameters
        self._values: Tensor | None = None

    def parameters(self) -> PieceParameters:
        """Return the parameters of y's symbols, each (N, M, h, w)."""
        return self._parameters

    def accept(self, symbols: Tensor) -> None:
        """Take the symbols of y (N, M, h, w)."""
        self._values = values_of(symbols, self._parameters.means)

    def decoded(self) -> Tensor:
        """Return y, int32 (N, M, h, w) on the grid 2^-12; exact in float32."""
        if self._values is None:
            raise ValueError("the piece is not decoded")
        return self._values
