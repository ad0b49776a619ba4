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

from baselines.neural.elic.model import CheckerboardConvolution, anchors, colours
from baselines.neural.entropy.fixed.convolution import FixedSequence
from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, OUTPUT_FRACTION, Precision
from baselines.neural.entropy.fixed.integer_path import (
    Decoding,
    Ends,
    IntegerPath,
    PieceParameters,
    channels_first,
    values_of,
)
from baselines.neural.entropy.hyperprior_coder import TransformCoder

FIRST = {"hyper": "z", "channel": "support", "spatial": "support", "aggregation": "features"}


class ElicPath(IntegerPath):
    """Integer network of a checkpoint of ELIC; see `IntegerPath`."""

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        self.groups: tuple[int, ...] = model.sizes.groups

    def pieces(self, latents: Tensor) -> list[Tensor]:
        """Return anchors and other positions of each group of y (N, M, h, w), in turn."""
        height, width = latents.shape[2:]
        places = colours(height, width, latents.device)
        groups = torch.split(latents.flatten(2), list(self.groups), dim=1)
        return [group[:, :, chosen] for group in groups for chosen in places]

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        hyper = self.branches["hyper"](self.hyper_activations(z_symbols))
        count, height, width, _ = hyper.shape
        places = colours(height, width, hyper.device)
        is_other = ~anchors(height, width, hyper.device)[:, :, None]
        decoded: list[Tensor] = []  # int32 (N, h, w, channels), group by group
        for k, channels in enumerate(self.groups):
            features = [hyper]
            if k:
                known = self.on_grid(torch.cat(decoded, dim=3), "support")
                features.insert(0, self.branches[f"channel.{k}"](known))
            group = hyper.new_zeros(count, height, width, channels, dtype=torch.int32)
            decoded.append(group)
            spatial = hyper.new_zeros(count, height, width, 2 * channels)
            for chosen in places:
                if chosen is places[1]:  # the other positions see the anchors
                    seen = self.on_grid(group, "support")  # zero where nothing is decoded
                    spatial = self.branches[f"spatial.{k}"](seen) * is_other
                merged = torch.cat([spatial, *features], dim=3).flatten(1, 2)[:, chosen]
                outputs = self.branches[f"aggregation.{k}"](merged[:, None])[:, 0]
                scales, means = outputs[..., :channels], outputs[..., channels:]
                indices = _positions_last(self.scale_index(scales))
                symbols = yield PieceParameters(indices, _positions_last(means))
                rows = group.view(count, -1, channels)
                rows[:, chosen] = values_of(symbols.permute(0, 2, 1), means)
        return channels_first(torch.cat(decoded, dim=3))

    def _ends(self, name: str) -> Ends:
        kind = name.partition(".")[0]
        if kind == "aggregation":
            return Ends(FIRST[kind], OUTPUT_FRACTION, Precision.FINE)
        last = self.fractional_bits["features"]
        return Ends(FIRST[kind], last, Precision.FINE, ACTIVATION_LIMIT, torch.int16)

    def _branch(self, name: str, modules: nn.Module) -> FixedSequence:
        plain = [
            child.plain() if isinstance(child, CheckerboardConvolution) else child
            for child in modules.children()
        ]
        return super()._branch(name, nn.Sequential(*plain))


def _positions_last(values: Tensor) -> Tensor:
    return values.permute(0, 2, 1).contiguous()


class ElicCoder(TransformCoder):
    """Images to latents to bytes, and back, with the space-channel context as integer path."""

    path_type: ClassVar[type[IntegerPath]] = ElicPath
