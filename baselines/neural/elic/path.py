"""The space-channel context of ELIC in integers: exact scale indices and means, pass by pass.

::

    z symbols ─ + median ─ hyper ──────────────────────────────┐
    decoded groups before ─ channel_k ─────────────────────────┼ aggregation_k ─> scales, means
    decoded anchors (none in the first pass) ─ spatial_k ──────┘

    decoded values = symbols + means

A group is coded in two pieces, its anchors and then the other positions, each (N, width, count) in
the order of rows. `elic.model` computes the same in floating point.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.neural.elic.context import CheckerboardConvolution, anchors, colours
from baselines.neural.entropy.fixed.convolution import FixedSequence
from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, OUTPUT_FRACTION, Precision
from baselines.neural.entropy.fixed.integer_path import (
    Ends,
    IntegerPath,
    PieceParameters,
    channels_first,
    values_of,
)
from baselines.neural.entropy.fixed.tables import scale_index
from baselines.neural.entropy.hyperprior_coder import TransformCoder

FIRST = {"hyper": "z", "channel": "support", "spatial": "support", "aggregation": "features"}


class ElicPath(IntegerPath):
    """Integer network of a checkpoint of ELIC; see `IntegerPath`."""

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        self.groups: tuple[int, ...] = model.sizes.groups
        self.num_pieces = 2 * len(self.groups)

    def pieces(self, latents: Tensor) -> list[Tensor]:
        """Return anchors and other positions of each group of y (N, M, h, w), in turn."""
        height, width = latents.shape[2:]
        places = colours(height, width, latents.device)
        groups = torch.split(latents.flatten(2), list(self.groups), dim=1)
        return [group[:, :, chosen] for group in groups for chosen in places]

    def begin(self, z_symbols: Tensor) -> "DecodedGroups":
        """Begin decoding with the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        return DecodedGroups(self, self.branches["hyper"](self.hyper_activations(z_symbols)))

    def _ends(self, name: str) -> Ends:
        kind = name.partition(".")[0]
        if kind == "aggregation":
            return Ends(FIRST[kind], OUTPUT_FRACTION, Precision.FINE)
        last = self.fractional_bits["features"]
        return Ends(FIRST[kind], last, Precision.FINE, ACTIVATION_LIMIT, torch.int16)

    def _branch(self, name: str, modules: nn.Module) -> FixedSequence:
        plain = [
            one.plain() if isinstance(one, CheckerboardConvolution) else one
            for one in modules.children()
        ]
        return super()._branch(name, nn.Sequential(*plain))


class DecodedGroups:
    """Latents in decoding: call `parameters` and `accept` in turn for each of the path's pieces."""

    def __init__(self, path: ElicPath, hyper: Tensor) -> None:
        self._path, self._hyper = path, hyper
        _, height, width, _ = hyper.shape
        self._places = colours(height, width, hyper.device)
        self._is_other = ~anchors(height, width, hyper.device)[:, :, None]
        self._piece = 0
        self._means: Tensor | None = None  # (N, positions, width)
        self._features: list[Tensor] = []  # of the group: channel context, hyper-decoder
        self._decoded: list[Tensor] = []  # int32 (N, h, w, width), group by group

    def parameters(self) -> PieceParameters:
        """Return the parameters of the next piece's symbols, (N, width, positions)."""
        group, others = divmod(self._piece, 2)
        path, width = self._path, self._path.groups[group]
        if not others:
            self._begin_group(group)
        spatial = self._spatial(group) if others else self._none(2 * width)
        merged = torch.cat([spatial, *self._features], dim=3).flatten(1, 2)[:, self._places[others]]
        outputs = path.branches[f"aggregation.{group}"](merged[:, None])[:, 0]
        scales, self._means = outputs[..., :width], outputs[..., width:]
        indices = scale_index(scales, path.thresholds)
        return PieceParameters(_positions_last(indices), _positions_last(self._means))

    def accept(self, symbols: Tensor) -> None:
        """Take the symbols (N, width, positions) of the piece whose parameters came last."""
        if self._means is None:
            raise ValueError("a piece's symbols come after its parameters")
        places = self._places[self._piece % 2]
        group = self._decoded[-1].view(len(symbols), -1, symbols.shape[1])  # rows of positions
        group[:, places] = values_of(symbols.permute(0, 2, 1), self._means)
        self._means = None
        self._piece += 1

    def decoded(self) -> Tensor:
        """Return y after all groups, int32 (N, M, h, w) on the grid 2^-12; exact in float32."""
        if self._piece != self._path.num_pieces:
            raise ValueError(f"{self._piece} of {self._path.num_pieces} pieces are decoded")
        return channels_first(torch.cat(self._decoded, dim=3))

    def _begin_group(self, group: int) -> None:
        self._features = [self._hyper]
        if group:
            known = self._path.on_grid(torch.cat(self._decoded, dim=3), "support")
            self._features.insert(0, self._path.branches[f"channel.{group}"](known))
        self._decoded.append(self._none(self._path.groups[group]).to(torch.int32))

    def _spatial(self, group: int) -> Tensor:
        """Return what the other positions see of the anchors, which are decoded; zero at these."""
        seen = self._path.on_grid(self._decoded[-1], "support")  # zero where nothing is decoded
        features = self._path.branches[f"spatial.{group}"](seen)
        return features * self._is_other

    def _none(self, channels: int) -> Tensor:
        return self._hyper.new_zeros(*self._hyper.shape[:3], channels)


def _positions_last(values: Tensor) -> Tensor:
    return values.permute(0, 2, 1).contiguous()


class ElicCoder(TransformCoder):
    """Images to latents to bytes, and back, with the space-channel context as integer path."""

    path_type: ClassVar[type[IntegerPath]] = ElicPath
