"""Members of the suite `generative`: the rates of PQ-MIM, for the squared error and perceptual.

A rate is a number of codebooks: 4, 8, 16 or 32, which with 256 entries are .125 to 1 bpp before the
transformer. Our choice: each rate has a network of its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from baselines.neural.pqmim.architecture import FACTOR, PqMimArchitecture, PqMimSizes
from baselines.neural.training.field_suite import HIFIC, adversarial_fields, trained_weights
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.suites import (
    Member,
    phases_of,
    stage_of,
    without_realism,
)
from benchmark.errors import UsageError

BOOKS = (4, 8, 16, 32)  # of the levels 1 to 4
PERCEPTUAL = "perceptual"
USUAL = (*(f"pqmim-{level}" for level in (1, 2, 3, 4)), "pqmim-perceptual")
CODEBOOK_RATE = 5.0  # learning rate of the codebooks, over that of the transforms


def pqmim(recipe: Recipe, learning_rate: float, names: Sequence[str]) -> list[Member]:
    """Return the members `pqmim-LEVEL` and `pqmim-perceptual-LEVEL`; see `Members`.

    `pqmim` and `pqmim-perceptual` stand for all levels, the latter without the highest.
    """
    asked: list[str] = []
    for name in names:
        asked += USUAL if name == "pqmim" else (name,)
    members: dict[str, Member] = {}
    for name in asked:
        kind, _, level = name.removeprefix("pqmim-").rpartition("-")
        if name == f"pqmim-{PERCEPTUAL}":
            result = [_member(one, recipe, learning_rate, perceptual=True) for one in (1, 2, 3)]
        elif kind in ("", PERCEPTUAL) and level in map(str, range(1, len(BOOKS) + 1)):
            result = [_member(int(level), recipe, learning_rate, perceptual=bool(kind))]
        else:
            raise UsageError(
                f"pqmim has no member {name}: they are pqmim-1 to pqmim-{len(BOOKS)}, and "
                f"pqmim-{PERCEPTUAL}-1 to -{len(BOOKS)}"
            )
        members |= {one.name: one for one in result}
    return list(members.values())


def _member(level: int, recipe: Recipe, rate: float, *, perceptual: bool) -> Member:
    architecture = PqMimArchitecture()
    sizes = replace(architecture.presets[recipe.sizes], books=BOOKS[level - 1])
    phases, parts = phases_of(recipe), len(recipe.stages[-1].lambdas)
    name = f"pqmim-perceptual-{level}" if perceptual else f"pqmim-{level}"
    own: dict[str, Any] = {"lambdas": (), "prior_rate_factor": CODEBOOK_RATE}
    chosen = phases if perceptual else without_realism(phases)
    weights = trained_weights(HIFIC, recipe)
    stages = [
        stage_of(
            phase,
            recipe,
            "pqmim_autoencoder",
            parts,
            rate,
            **own,
            **adversarial_fields(phase, weights),
        )
        for phase in chosen
    ]
    stages.append(_transformer_stage(recipe, sizes, parts, rate, own))
    return Member(name, "pqmim", tuple(stages), architecture.config_to_json(sizes))


def _transformer_stage(
    recipe: Recipe, sizes: PqMimSizes, parts: int, rate: float, own: dict[str, Any]
) -> Stage:
    """Return the stage of the transformer, which sees as many pixels as the autoencoder has seen.

    Its crops are whole windows, with the schedule of the recipe's first stage.
    """
    side = sizes.window * FACTOR
    first = phases_of(recipe)[0]
    like = stage_of(first, recipe, "pqmim_transformer", parts, rate, **own)
    area = side**2 / like.crop_px**2
    batch = max(1, round(like.batch / area / recipe.processes)) * recipe.processes
    crops = sum(stage.crops for stage in recipe.stages) / parts / area
    return replace(like, crop_px=side, batch=batch, steps=max(1, round(crops / batch)))
