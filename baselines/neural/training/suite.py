"""A recipe for `ours` -> the runs of a fair comparison: it, and hyperpriors at its budget. Pure.

One network of `ours` serves all its rate levels, a hyperprior serves one rate. Each hyperprior sees
as many crops as `ours` sees for each level, and one of them as many as `ours` in all, so that what
budget alone gives can be seen. Crops are of the same side, batches of the same size, the schedule
has the same shape, and the loss is the same 150 MSE + weight bpp.
"""

from bisect import bisect_left
from dataclasses import replace
from typing import NamedTuple

from baselines.compressai.architecture import ZooConfig
from baselines.compressai.network import MATCHED_WIDTHS, rate_weight
from baselines.neural.cost import macs_per_pixel
from baselines.neural.crdr.sizes import NAMED
from baselines.neural.training.recipe import Recipe, Stage

ARCHITECTURE = "bmshj2018-hyperprior"
HYPERPRIOR = f"compressai:{ARCHITECTURE}"
LAMBDAS = (0.0008, 0.0022, 0.0062, 0.018)  # CompressAI's; about the first four levels of `ours`
WHOLE = 3  # the number of the one that is trained with the whole budget as well
LEARNING_RATE = 1e-3
LARGEST_WIDTH = 320  # of the published hyperpriors


class Member(NamedTuple):
    """One run of a suite."""

    name: str  # of its folder, and of the checkpoint that it becomes
    model: str
    lmbda: float  # 0 for `ours`
    widths: tuple[int, int]  # CompressAI's N and M; zeros for `ours`
    recipe: Recipe


def matched_suite(recipe: Recipe, learning_rate: float | None = None) -> tuple[Member, ...]:
    """`ours` first, then the hyperpriors by rate, then the one with the whole budget.

    learning_rate: of the hyperpriors, instead of `LEARNING_RATE`.
    """
    widths = matched_widths(recipe.sizes)
    levels = NAMED[recipe.sizes].rate_levels
    members = [Member("ours", "ours", 0.0, (0, 0), recipe)]
    budgets = [(number, "", levels) for number in range(1, len(LAMBDAS) + 1)]
    for number, kind, parts in [*budgets, (WHOLE, "-whole", 1)]:
        lmbda = LAMBDAS[number - 1]
        single = single_rate(recipe, lmbda, parts, learning_rate)
        members.append(Member(f"hyperprior{kind}-{number}", HYPERPRIOR, lmbda, widths, single))
    return tuple(members)


def single_rate(
    recipe: Recipe, lmbda: float, parts: int = 1, learning_rate: float | None = None
) -> Recipe:
    """The recipe of a network for one rate: at least one of `parts` equal parts of its crops.

    lmbda: in CompressAI's convention. A recipe that consists of one single-rate stage is taken as
    it is. Of any other, the stages that autocast and those in float32 become one stage each, in the
    order of the recipe and with the schedule of the first of them; crops are as large as the
    largest of the recipe. The first learning rate is `LEARNING_RATE` unless given; a second one is
    to it as those of the recipe are.
    """
    first = recipe.stages[0]
    if len(recipe.stages) == 1 and first.kind == "single_rate" and parts == 1:
        rate = first.learning_rate if learning_rate is None else learning_rate
        only = replace(first, lambdas=(rate_weight(lmbda),), learning_rate=rate)
        return replace(recipe, stages=(only,))
    rate = LEARNING_RATE if learning_rate is None else learning_rate
    stages = []
    for float32 in dict.fromkeys(stage.float32 for stage in recipe.stages):
        alike = [stage for stage in recipe.stages if stage.float32 == float32]
        like = alike[0]
        crops = -(-sum(stage.crops for stage in alike) // parts)
        stages.append(
            Stage(
                kind="single_rate",
                steps=-(-crops // like.batch),
                batch=like.batch,
                crop_px=max(stage.crop_px for stage in recipe.stages),
                learning_rate=rate * (like.learning_rate / first.learning_rate),
                lambdas=(rate_weight(lmbda),),
                decay_at=like.decay_at,
                decay=like.decay,
                final_share=like.final_share,
                warm_up_steps=like.warm_up_steps,
                prior_rate_factor=like.prior_rate_factor,
                quantile_learning_rate=like.quantile_learning_rate,
                clip_norm=like.clip_norm,
                balanced=like.balanced,
                float32=float32,
            )
        )
    return replace(recipe, stages=tuple(stages))


def matched_widths(size: str) -> tuple[int, int]:
    """CompressAI's N and M for the work of a named size of `ours`, as near as whole numbers come.

    The latent has as many channels as `MATCHED_WIDTHS` has for the size `micro`, in proportion,
    neither width more than `LARGEST_WIDTH`: `full` has no match.

    >>> matched_widths("micro") == MATCHED_WIDTHS, matched_widths("small")
    (True, (167, 229))
    """
    share = MATCHED_WIDTHS[1] / NAMED["micro"].latent
    latent = min(LARGEST_WIDTH, round(share * NAMED[size].latent))
    target = macs_per_pixel("crdr", NAMED[size])

    def work(n: int) -> float:
        return macs_per_pixel("compressai", ZooConfig(ARCHITECTURE, (n, latent)))

    widths = range(2, LARGEST_WIDTH + 1)
    above = bisect_left(widths, target, key=work)  # the work rises with the width
    nearest = min(widths[max(0, above - 1) : above + 1], key=lambda n: abs(work(n) - target))
    return nearest, latent
