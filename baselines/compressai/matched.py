"""The suite `matched`: runs of a recipe for `ours`, and of hyperpriors compute-matched to it.

Each hyperprior, of a single rate, sees as many crops as `ours` sees for each level, and one of
them as many as `ours` in all. Sides of crops, batches, schedules and the loss, 150 MSE + weight
bpp, are the same.
"""

from bisect import bisect_left
from dataclasses import replace
from pathlib import Path

from baselines.neural.architecture import ZooSizes, load_architecture, rate_levels
from baselines.neural.costs import macs_per_pixel
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run import Subject
from baselines.neural.training.session import TrainingRun
from baselines.neural.training.suites import phases_of, stage_of

HYPERPRIOR = "bmshj2018-hyperprior"
LAMBDAS = (0.0008, 0.0022, 0.0062, 0.018)  # CompressAI's; about the first four levels of `ours`
# N and M for the work of CRDR's `micro`, 14.6 k multiply-accumulates per pixel. With the zoo's own
# M / N, 1.5 to 1.7, principal components would end at 30.9 dB on Kodak, whatever the rate; those of
# these widths reach 35.4 dB, those of `micro` 34.2 dB.
MATCHED_WIDTHS = (48, 172)
WHOLE = 3  # number of the hyperprior that is trained with the whole budget as well
LEARNING_RATE = 1e-3
LARGEST_WIDTH = 320  # of the published hyperpriors


def rate_weight(lmbda: float) -> float:
    """Return the weight of a bit per pixel beside 150 MSE in [0, 1], from CompressAI's lambda.

    CompressAI minimises lambda 255^2 MSE + bpp. The function is its own inverse.

    >>> round(rate_weight(0.0067), 4)
    0.3443
    """
    return 150 / (lmbda * 255**2)


def matched_suite(
    recipe: Recipe, folder: Path, learning_rate: float | None = None
) -> tuple[TrainingRun, ...]:
    """Return `ours` first, then the hyperpriors by rate, then the hyperprior with the whole budget.

    Each has a folder of its name in `folder`, and its checkpoint beside that. learning_rate: of the
    hyperpriors, instead of `LEARNING_RATE`.
    """
    ours = Subject(recipe.architecture)
    _, dimensions = ours.load(recipe.sizes)
    widths, levels = matched_widths(recipe.sizes), rate_levels(dimensions)
    members = [("ours", ours, recipe)]
    budgets = [(number, "", levels) for number in range(1, len(LAMBDAS) + 1)]
    for number, kind, parts in [*budgets, (WHOLE, "-whole", 1)]:
        lmbda = LAMBDAS[number - 1]
        subject = compressai(HYPERPRIOR, lmbda, widths)
        single = single_rate(recipe, lmbda, parts, learning_rate)
        members.append((f"hyperprior{kind}-{number}", subject, single))
    return tuple(
        TrainingRun(name, folder / name, folder / f"{name}.safetensors", subject, trained)
        for name, subject, trained in members
    )


def compressai(model: str, lmbda: float, widths: tuple[int, int]) -> Subject:
    """Return a network of CompressAI's, `lmbda` and `widths` (N and M) in its conventions."""
    return Subject("compressai", {"model": model, "lmbda": lmbda, "widths": list(widths)})


def single_rate(
    recipe: Recipe, lmbda: float, parts: int = 1, learning_rate: float | None = None
) -> Recipe:
    """Return the recipe of a network for a rate: at least one of `parts` parts of its crops.

    lmbda: in CompressAI's convention. A recipe of a single-rate stage is taken as it is. Of
    others, the stages that autocast and those in float32 become a stage each, with the schedule
    of the first of them and the largest crops. The first learning rate is `LEARNING_RATE` unless
    given.
    """
    first = recipe.stages[0]
    lambdas = (rate_weight(lmbda),)
    if len(recipe.stages) == 1 and first.kind == "single_rate" and parts == 1:
        rate = learning_rate or first.learning_rate
        return replace(recipe, stages=(replace(first, lambdas=lambdas, learning_rate=rate),))
    rate = learning_rate or LEARNING_RATE
    stages = [
        stage_of(
            *(phase, recipe, "single_rate", parts, rate),
            lambdas=lambdas,
            balanced=getattr(phase.like, "balanced", False),
        )
        for phase in phases_of(recipe, realism=False)
    ]
    return replace(recipe, stages=tuple(stages))


def matched_widths(size: str) -> tuple[int, int]:
    """Return CompressAI's N and M for the work of a named size of `ours`, as near as can be.

    The latent has as many channels as `MATCHED_WIDTHS` has for the size `micro`, in proportion,
    neither width more than `LARGEST_WIDTH`: `full` has no match. `small` has (167, 229).
    """
    sizes = load_architecture("crdr").sizes
    latent = min(
        LARGEST_WIDTH, round(MATCHED_WIDTHS[1] / sizes["micro"].latent * sizes[size].latent)
    )
    target = macs_per_pixel("crdr", sizes[size])

    def work(n: int) -> float:
        return macs_per_pixel("compressai", ZooSizes(HYPERPRIOR, (n, latent)))

    widths = range(2, LARGEST_WIDTH + 1)
    above = bisect_left(widths, target, key=work)  # the work rises with the width
    nearest = min(widths[max(0, above - 1) : above + 1], key=lambda n: abs(work(n) - target))
    return nearest, latent
