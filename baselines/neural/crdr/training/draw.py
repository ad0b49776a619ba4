"""Random draws of the rate q and the realism weight beta, for each crop or each region of it.

Drawn from a numpy generator that the caller seeds with the step, so that nothing depends on what
was drawn before.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.neural.blocks.control import Control
from baselines.neural.crdr.realism import HIGHEST_BETA
from baselines.neural.crdr.training.stage import ConditionedStage

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

    Published: one whole q and one beta for the batch. With `mixed_levels` every crop has its own:
    q is whole for half of them, each level as often as the others, and uniform in [0, 4] for the
    rest. Maps are made of a left and a right, or an upper and a lower, region.
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
