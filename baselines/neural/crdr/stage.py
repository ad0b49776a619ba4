"""Stages of CRDR's objectives, and the random rates and realism weights of their crops."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.neural.blocks.control import Control
from baselines.neural.crdr.discriminators import DISCRIMINATORS
from baselines.neural.crdr.model import HIGHEST_BETA
from baselines.neural.training.losses.gan import GAN_LOSSES
from baselines.neural.training.recipe import AtLeastOne, Share, Stage, Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionedStage(Stage):
    """Stage that trains for a rate q and a realism weight beta, drawn for every crop.

    The loss of a crop is ::

        s (150 MSE + lambda bpp + (lpips + beta lpips_per_beta) LPIPS + beta gan_per_beta GAN)

    with MSE of values in [0, 1] and s = 1, or lambda^-.5 where `balanced`. Between whole q, lambda
    is interpolated geometrically. With a `beta_growth` g, what beta is there grows exponentially,
    from 0 at 0 to 5.12 at 5.12: it is 5.12 (e^(g beta / 5.12) - 1) / (e^g - 1). Where
    `targets_bpp` are given, lambda holds while the batch takes more bits than its target, and
    `lambda_below` otherwise.
    """

    lambda_below: Weight = 0.0
    targets_bpp: tuple[Weight, ...] = ()
    balanced: bool = False
    mixed_levels: bool = False  # every crop its own q, drawn between the levels too
    lpips: Weight = 0.0
    lpips_per_beta: Weight = 0.0
    gan_per_beta: Weight = 0.0
    beta_growth: Weight = 0.0  # of the weights with beta; 0: as published, in proportion
    objective: str = "hrrgan"  # of the GAN
    discriminator: str = "independent"
    discriminator_channels: tuple[AtLeastOne, ...] = (64, 128, 256, 512)
    discriminator_learning_rate: Weight = 1e-4
    zero_beta_share: Share = 0.0  # of the crops, on top of what the uniform draw gives
    map_share: Share = 0.0  # of the batches: q and beta by region

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        for name, table in (("objective", GAN_LOSSES), ("discriminator", DISCRIMINATORS)):
            if getattr(self, name) not in table:
                known = ", ".join(table)
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {known}")
        if len(self.discriminator_channels) < 2:
            raise ValueError("discriminator_channels are fewer than two")
        if self.targets_bpp and len(self.targets_bpp) != len(self.lambdas):
            raise ValueError("targets_bpp has not as many entries as lambdas")
        if self.targets_bpp and (self.mixed_levels or self.map_share):
            raise ValueError("targets_bpp come without mixed_levels and map_share")
        if self.targets_bpp and not self.lambda_below:
            raise ValueError("targets_bpp need a lambda_below")

    @property
    def has_lpips(self) -> bool:
        """True if LPIPS is part of the loss."""
        return self.lpips > 0 or self.lpips_per_beta > 0

    def check_network(self, rate_levels: int) -> None:
        """Raise `ValueError` for another number of lambdas than the network has rate levels."""
        expected = 1 if self.kind == "single_rate" else rate_levels
        if len(self.lambdas) != expected:
            raise ValueError(f"a {self.kind} stage has {expected} lambdas")


BETA_STEPS = 100  # the published draw: 5.12 times a whole number of hundredths
CELL_PX = 64  # the finest region that a level can have

Floats = NDArray[np.floating[Any]]


class DrawnLevels(NamedTuple):
    """Rate and realism weight of the crops of a batch."""

    q: NDArray[np.float32]  # float32 (n,), or (n, cells, cells) for a map
    beta: NDArray[np.float32]  # likewise

    def part(self, first: int, last: int) -> "DrawnLevels":
        """Return the levels of some of the crops."""
        return DrawnLevels(self.q[first:last], self.beta[first:last])

    @property
    def is_map(self) -> bool:
        """True where each region of a crop has its own levels."""
        return self.q.ndim == 3

    @property
    def q_of_crops(self) -> NDArray[np.float32]:
        """Rate of each crop's first region, (n,): the crop's own where its regions agree."""
        return self.q.reshape(len(self.q), -1)[:, 0]

    @property
    def q_differs(self) -> bool:
        """True where q varies within a crop: no discriminator scores such an image."""
        return bool((self.q.reshape(len(self.q), -1) != self.q_of_crops[:, None]).any())


def draw_levels(stage: ConditionedStage, random: np.random.Generator) -> DrawnLevels:
    """Draw the levels of `stage.batch` crops.

    Published: one whole q and one beta for the batch. With `mixed_levels`, q is whole for half of
    the crops, each level as often as the others, and uniform in [0, 4] for the rest. Maps have two
    halves.
    """
    count, highest = stage.batch, len(stage.lambdas) - 1
    if stage.kind == "single_rate":
        q = np.zeros(count)
    elif stage.mixed_levels:
        q = _stratified(count, highest, random)
    else:
        q = np.full(count, float(random.integers(0, highest + 1)))
    beta = np.zeros(count)
    if stage.kind == "realism":
        drawn = random.integers(0, BETA_STEPS + 1, count if stage.mixed_levels else 1)
        beta = np.broadcast_to(drawn * (HIGHEST_BETA / BETA_STEPS), count).copy()
        beta[random.random(count) < stage.zero_beta_share] = 0.0
        if stage.crop_px > CELL_PX and random.random() < stage.map_share:
            return _map(stage, random)
    return DrawnLevels(q.astype(np.float32), beta.astype(np.float32))


def _stratified(count: int, highest: int, random: np.random.Generator) -> Floats:
    whole = random.random(count) < 0.5
    # Evenly spread over the levels, so that the mixture differs little from batch to batch.
    spread = (np.arange(count) + random.random()) % count / count
    levels = np.floor(spread * (highest + 1))
    between = (np.arange(count) + random.random(count)) / count * highest
    random.shuffle(levels)
    random.shuffle(between)
    return np.where(whole, levels, between)


def _map(stage: ConditionedStage, random: np.random.Generator) -> DrawnLevels:
    cells = stage.crop_px // CELL_PX
    places = np.arange(cells)
    q, beta = (np.empty((stage.batch, cells, cells), np.float32) for _ in range(2))
    for one in range(stage.batch):
        second = places >= random.integers(1, cells)
        region = np.broadcast_to(second, (cells, cells))
        region = region if random.random() < 0.5 else region.T
        for values, highest in ((q, len(stage.lambdas) - 1), (beta, HIGHEST_BETA)):
            first_level, second_level = random.random(2) * highest
            values[one] = np.where(region, second_level, first_level)
    return DrawnLevels(q, beta)


def control(values: NDArray[np.float32], device: torch.device) -> Control:
    """Return levels (n,) or (n, cells, cells) in the form that networks take."""
    levels = torch.from_numpy(np.ascontiguousarray(values)).to(device)
    if levels.ndim == 1:
        return Control(levels, None)
    distinct, where = torch.unique(levels, return_inverse=True)
    return Control(distinct, where)
