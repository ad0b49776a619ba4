"""ELIC's network: residual transforms with attention, and a space-channel context::

    x ─ analysis ─ y ───────────────────────── quantise ─ y_hat ─ synthesis ─> x_hat
                   └ hyper_analysis ─ z             └ mean, scale of each group, in two passes
                                      └ round ─ z_hat ─ hyper_synthesis ─ context ─┘

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022): one network per rate. Our choice: in training, contexts and decoder
see rounded latents, with 1 as the gradient of rounding; a stage of the objective `elic` may let
the contexts see noisy latents. A decoder computes the context in integers (`ElicPath`)::

    z symbols ─ + median ─ hyper ──────────────────────────────┐
    earlier decoded groups ─ channel_k ────────────────────────┼ aggregation_k ─> scales, means
    decoded anchors (none in the first pass) ─ spatial_k ──────┘
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.architecture import ElicSizes
from baselines.neural.blocks.layers import (
    RectifiedAttention,
    analysis_layers,
    convolution,
    rectified_stack,
    synthesis_layers,
)
from baselines.neural.blocks.start_values import set_latent_gain, start_transforms
from baselines.neural.entropy.factorised import FactorisedPrior, add_noise
from baselines.neural.entropy.hyperprior import (
    CodedLatents,
    LatentNetwork,
    hyper_analysis,
    hyper_synthesis,
    quantise_about,
)
from baselines.neural.entropy.integer.grid import ACTIVATION_LIMIT, OUTPUT_FRACTION, WeightLimit
from baselines.neural.entropy.integer.integer_path import (
    BranchFormat,
    Decoding,
    IntegerPath,
    IntegerSequence,
    PieceParameters,
    channels_first,
    values_from_symbols,
)

# (group, mean (N, c, h, w)) -> the group's values, rounded to integer steps from the mean
RoundGroup = Callable[[int, Tensor], Tensor]


class CodedGroups(NamedTuple):
    """Decoded latents, means and scales of all groups, each (N, M, h, w)."""

    decoded: Tensor
    mean: Tensor
    scale: Tensor


class CheckerboardConvolution(nn.Conv2d):
    """Convolution that sees only positions of the checkerboard's other colour."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)

    def masked_weight(self) -> Tensor:
        """Return the weights, set to zero at positions of the centre's colour."""
        rows, columns = self.kernel_size
        centre = rows // 2 + columns // 2
        x, y = (torch.arange(side, device=self.weight.device) for side in (columns, rows))
        return self.weight * ((y[:, None] + x - centre) % 2).to(self.weight)

    def make_convolution(self) -> nn.Conv2d:
        """Return an ordinary convolution with the masked weights."""
        result = convolution(self.in_channels, self.out_channels, self.kernel_size[0])
        with torch.no_grad():
            result.weight.copy_(self.masked_weight())
            result.bias.copy_(self.bias)  # type: ignore[union-attr,arg-type]
        return result

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H, W)."""
        return functional.conv2d(features, self.masked_weight(), self.bias, padding=self.padding)


def anchors(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return a mask of positions with an even sum of row and column, bool (height, width)."""
    rows, columns = (torch.arange(side, device=device) for side in (height, width))
    return (rows[:, None] + columns) % 2 == 0


def colours(height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return the flat indices of anchors and of other positions, int64, row by row.

    >>> [indices.tolist() for indices in colours(2, 3)], colours(2, 2)[0].tolist()
    ([[0, 2, 4], [1, 3, 5]], [0, 3])
    """
    # With a mask, the CPU would wait until the device has counted its positions.
    even_indices = torch.arange(0, height * width, 2, device=device)
    odd_indices = torch.arange(1, height * width, 2, device=device)
    if width % 2:  # colours alternate from the end of a row to the next row
        return even_indices, odd_indices
    in_odd_row = even_indices // width % 2  # 1 in rows that begin with the other colour
    return even_indices + in_odd_row, odd_indices - in_odd_row


def aggregation_widths(sizes: ElicSizes, group: int) -> tuple[int, ...]:
    """Return the widths of a group's aggregation: inputs, hidden layers, outputs."""
    outputs = 2 * sizes.groups[group]
    inputs = outputs * (2 if group else 1) + sizes.support
    interpolated_widths = (inputs + (outputs - inputs) * thirds // 3 for thirds in (1, 2))
    hidden = sizes.aggregation or (max(width, sizes.support) for width in interpolated_widths)
    return (inputs, *hidden, outputs)


class SpaceChannelContext(nn.Module):
    """Means and scales of y's groups, in the order in which they are decoded."""

    # Anchors, positions with an even sum of row and column, depend only on earlier groups: their
    # spatial context is zero. Other positions also see the anchors around them.

    def __init__(self, sizes: ElicSizes) -> None:
        super().__init__()
        self.groups = sizes.groups
        count = len(self.groups)
        kernels = (sizes.channel_kernel,) * 3
        earlier_channels = [sum(self.groups[:k]) for k in range(count)]
        # The first group has no earlier groups.
        self.channel = nn.ModuleList(
            rectified_stack(
                (earlier_channels[k], *sizes.channel_context, 2 * self.groups[k]), kernels
            )
            if k
            else nn.Sequential()
            for k in range(count)
        )
        self.spatial = nn.ModuleList(
            CheckerboardConvolution(width, 2 * width, sizes.spatial_kernel) for width in self.groups
        )
        self.aggregation = nn.ModuleList(
            rectified_stack(aggregation_widths(sizes, k), (1, 1, 1)) for k in range(count)
        )

    def features(self, group: int, hyper_output: Tensor, decoded: Sequence[Tensor]) -> list[Tensor]:
        """Return the aggregation's inputs after the spatial context, in order."""
        if not group:
            return [hyper_output]
        return [self.channel[group](torch.cat(list(decoded), dim=1)), hyper_output]

    def predict_parameters(
        self, group: int, spatial: Tensor, features: Sequence[Tensor], positions: Tensor
    ) -> Tensor:
        """Return a group's scale and mean at n flat `positions`: (N, 2 c, n)."""
        # index_select, since the gradient of indexing sorts, which takes most of a step's kernels
        merged = torch.cat([spatial, *features], dim=1).flatten(2).index_select(2, positions)
        result: Tensor = self.aggregation[group](merged[:, :, None])
        return result[:, :, 0]

    def forward(self, hyper_output: Tensor, round_group: RoundGroup) -> CodedGroups:
        """Return decoded latents and their distributions; hyper_output: (N, support, h, w)."""
        height, width = hyper_output.shape[2:]
        anchor_positions, other_positions = colours(height, width, hyper_output.device)
        row_order = torch.cat([anchor_positions, other_positions]).argsort()
        is_anchor = anchors(height, width, hyper_output.device)
        decoded: list[Tensor] = []
        parameters: list[Tensor] = []
        for k, channels in enumerate(self.groups):
            features = self.features(k, hyper_output, decoded)
            no_spatial = hyper_output.new_zeros(len(hyper_output), 2 * channels, height, width)
            anchor_parameters = self.predict_parameters(k, no_spatial, features, anchor_positions)
            other_zeros = anchor_parameters.new_zeros(
                *anchor_parameters.shape[:2], len(other_positions)
            )
            mean = torch.cat([anchor_parameters, other_zeros], dim=2)[:, channels:].index_select(
                2, row_order
            )
            rounded_anchors = torch.where(
                is_anchor, round_group(k, mean.reshape(no_spatial[:, channels:].shape)), 0
            )
            other_parameters = self.predict_parameters(
                k, self.spatial[k](rounded_anchors), features, other_positions
            )
            group_parameters = (
                torch.cat([anchor_parameters, other_parameters], dim=2)
                .index_select(2, row_order)
                .reshape(no_spatial.shape)
            )
            decoded.append(round_group(k, group_parameters[:, channels:]))
            parameters.append(group_parameters)
        scales, means = zip(*(parameter.chunk(2, dim=1) for parameter in parameters), strict=True)
        return CodedGroups(torch.cat(decoded, dim=1), torch.cat(means, 1), torch.cat(scales, 1))


GAIN = 1.25  # levels of y per unit of an orthonormal transform of [-1, 1], at lambda = 1
INITIAL_STD = 0.003  # of the weights of the last layer for a group's parameters


class ElicNetwork(LatentNetwork):
    """ELIC's network; images are in [-1, 1]."""

    integer_model_type = f"{__name__}:ElicPath"

    def __init__(self, sizes: ElicSizes) -> None:
        super().__init__()
        self.sizes = sizes
        encoder = analysis_layers(sizes, RectifiedAttention)
        decoder = synthesis_layers(sizes, attention=RectifiedAttention)
        self.analysis = nn.Sequential(*(layer for layer, _ in encoder))
        self.synthesis = nn.Sequential(*(layer for layer, _ in decoder))
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_synthesis = hyper_synthesis(sizes, sizes.support)
        self.prior = FactorisedPrior(sizes.hyper_latent)
        self.context = SpaceChannelContext(sizes)
        self.quantised_bits = self.bits_of_blocks("analysis", "synthesis")
        self.noisy_contexts = False  # whether contexts see noisy latents in training

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Quantise y (N, M, h, w) group by group; see `LatentNetwork.code`."""
        rounded_z, z_bits = self.code_hyper(latents, noisy=noisy)
        make_values = _noise_groups if noisy and self.noisy_contexts else _round_groups
        coded = self.context(self.hyper_synthesis(rounded_z), make_values(latents, self.sizes))
        mean, scale = coded.mean.float(), coded.scale.float()
        values, bits = quantise_about(latents, mean, scale, noisy=noisy)
        return CodedLatents(values, bits.sum((1, 2, 3)), z_bits)

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the entropy model's sequences of convolutions, which run in integers, by name."""
        branches: dict[str, nn.Module] = {"hyper": self.hyper_synthesis}
        for k in range(len(self.sizes.groups)):
            if k:
                branches[f"channel.{k}"] = self.context.channel[k]
            spatial = self.context.spatial[k]
            assert isinstance(spatial, CheckerboardConvolution)
            branches[f"spatial.{k}"] = nn.Sequential(spatial)
            branches[f"aggregation.{k}"] = self.context.aggregation[k]
        return branches

    def entropy_supports(self) -> tuple[str, ...]:
        """Return "support", y as contexts see it, and "features", the aggregation's inputs."""
        return "support", "features"

    def visit_activations(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z, support and features."""
        z = self.prior.rounded(self.hyper_analyse(latents))
        record("z", z)
        hyper_output = self.hyper_synthesis(z)
        record("features", hyper_output)
        decoded = self.context(hyper_output, _round_groups(latents, self.sizes)).decoded
        record("support", decoded)
        groups = torch.split(decoded, list(self.sizes.groups), dim=1)
        for k, group in enumerate(groups):
            record("features", self.context.spatial[k](group))
            if k:
                record("features", self.context.features(k, hyper_output, groups[:k])[0])

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Initialise as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1]."""
        gain = GAIN / math.sqrt(lambdas[0])
        latent_std = gain * start_transforms(self.analysis, self.synthesis, self.sizes, images)
        set_latent_gain(self.analysis, self.synthesis, gain)
        with torch.no_grad():
            self.hyper_analysis[0].weight.div_(latent_std[:, None, None])  # type: ignore[operator]
            group_stds = torch.split(latent_std, list(self.sizes.groups))
            for group_std, aggregation in zip(group_stds, self.context.aggregation, strict=True):
                last_layer: nn.Conv2d = aggregation[-1]  # type: ignore[index]
                nn.init.normal_(last_layer.weight, std=INITIAL_STD)
                nn.init.zeros_(last_layer.bias)  # type: ignore[arg-type]
                last_layer.bias[: len(group_std)] = group_std  # type: ignore[index]


def _round_groups(latents: Tensor, sizes: ElicSizes) -> Callable[[int, Tensor], Tensor]:
    groups = torch.split(latents, list(sizes.groups), dim=1)

    def round_group(group: int, mean: Tensor) -> Tensor:
        values, centre = groups[group], mean.float()
        return values + ((values - centre).round() + centre - values).detach()

    return round_group


def _noise_groups(latents: Tensor, sizes: ElicSizes) -> Callable[[int, Tensor], Tensor]:
    """Add noise to all groups at once, so that a group's noise is the same in every call."""
    groups = torch.split(add_noise(latents), list(sizes.groups), dim=1)
    return lambda group, _mean: groups[group]


INPUT_ACTIVATIONS = {
    "hyper": "z",
    "channel": "support",
    "spatial": "support",
    "aggregation": "features",
}


class ElicPath(IntegerPath):
    """Integer network of an ELIC checkpoint; see `IntegerPath`."""

    # A group is coded in two pieces, anchors and then other positions, each (N, channels,
    # positions) in row order. Decoded values are symbols + means.

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        self.groups: tuple[int, ...] = model.sizes.groups

    def pieces(self, latents: Tensor) -> list[Tensor]:
        """Split y (N, M, h, w) into anchors and other positions, group by group."""
        height, width = latents.shape[2:]
        both_colours = colours(height, width, latents.device)
        groups = torch.split(latents.flatten(2), list(self.groups), dim=1)
        return [group[:, :, positions] for group in groups for positions in both_colours]

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        hyper_output = self.branches["hyper"](self.hyper_activations(z_symbols))
        count, height, width, _ = hyper_output.shape
        both_colours = colours(height, width, hyper_output.device)
        is_other = ~anchors(height, width, hyper_output.device)[:, :, None]
        decoded: list[Tensor] = []  # int32 (N, h, w, channels), group by group
        for k, channels in enumerate(self.groups):
            features = [hyper_output]
            if k:
                earlier_groups = self.quantise_activation(torch.cat(decoded, dim=3), "support")
                features.insert(0, self.branches[f"channel.{k}"](earlier_groups))
            group = hyper_output.new_zeros(count, height, width, channels, dtype=torch.int32)
            decoded.append(group)
            spatial = hyper_output.new_zeros(count, height, width, 2 * channels)
            for positions in both_colours:
                if positions is both_colours[1]:  # the other positions see the anchors
                    # activations are zero at positions that are not decoded yet
                    anchor_activations = self.quantise_activation(group, "support")
                    spatial = self.branches[f"spatial.{k}"](anchor_activations) * is_other
                merged = torch.cat([spatial, *features], dim=3).flatten(1, 2)[:, positions]
                outputs = self.branches[f"aggregation.{k}"](merged[:, None])[:, 0]
                scales, means = outputs[..., :channels], outputs[..., channels:]
                indices = _move_positions_last(self.scale_index(scales))
                symbols = yield PieceParameters(indices, _move_positions_last(means))
                rows = group.view(count, -1, channels)
                rows[:, positions] = values_from_symbols(symbols.permute(0, 2, 1), means)
        return channels_first(torch.cat(decoded, dim=3))

    def _branch_format(self, name: str) -> BranchFormat:
        kind = name.partition(".")[0]
        if kind == "aggregation":
            return BranchFormat(INPUT_ACTIVATIONS[kind], OUTPUT_FRACTION, WeightLimit.FINE)
        output_bits = self.fractional_bits["features"]
        return BranchFormat(
            INPUT_ACTIVATIONS[kind], output_bits, WeightLimit.FINE, ACTIVATION_LIMIT
        )

    def _make_branch(self, name: str, modules: nn.Module) -> IntegerSequence:
        layers = [
            child.make_convolution() if isinstance(child, CheckerboardConvolution) else child
            for child in modules.children()
        ]
        return super()._make_branch(name, nn.Sequential(*layers))


def _move_positions_last(values: Tensor) -> Tensor:
    return values.permute(0, 2, 1).contiguous()
