"""Fields of a recipe's stage with one of CRDR's objectives, checked against each other."""

from dataclasses import dataclass

from baselines.neural.crdr.training.discriminators import DISCRIMINATORS
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
            raise ValueError(
                "targets_bpp hold for a batch of one level: no mixed_levels, no map_share"
            )
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

    def find_resources(self) -> None:
        """Raise `Unavailable` where LPIPS is asked for and its weights are missing."""
        if self.has_lpips:
            from baselines.neural.perceptual import Perceptual

            Perceptual()
