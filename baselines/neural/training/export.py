"""The checkpoint of a run, finished or not, as a codec takes it, with its card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from baselines.neural.checkpoint.card import Card
from baselines.neural.checkpoint.checkpoint import make_checkpoint
from baselines.neural.training.checkpointing import BEST, load_state
from baselines.neural.training.journal import JOURNAL, Journal, step_of
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run import make_network, read_record
from benchmark.codec import Pixels
from benchmark.errors import Unavailable

CPU = torch.device("cpu")


class Budget(NamedTuple):
    """Training that the network of a run has had so far."""

    steps: int
    crops: int
    planned_steps: int

    @property
    def finished(self) -> bool:
        """True where the recipe is finished."""
        return self.steps == self.planned_steps


def write_checkpoint(
    run: Path,
    target: Path,
    *,
    command: str,
    training_data: str,
    commit: str,
    images: Sequence[Pixels],
    half: bool = False,
    which: Literal["last", "best"] = "last",
) -> Card:
    """Write the network of `run` to `target`; its card says how much of the recipe it has seen.

    command: that made the run. training_data: in words. commit: of the code. images: photographs
    whose activations say how fine the integers of the entropy path can be. which: the last saved
    state, or, of the last stage before realism, that with the best validation. Raises `Unavailable`
    for a folder without a saved state.
    """
    state = load_state(run, CPU)
    if state is None:
        raise Unavailable(f"{run} holds no saved training: there is nothing to export")
    record = read_record(run)
    subject, recipe = record.subject, record.recipe
    step = state["step"]
    if which == "best":
        state_of_best = load_state(run, CPU, BEST)
        if state_of_best is None:
            raise Unavailable(f"{run} holds no validated network yet: export the last one")
        state, step = state_of_best, state_of_best["step"]
    spent = budget(recipe, state["index"], step)
    architecture, config = subject.load(recipe.sizes)
    network = make_network(subject, recipe)
    network.load_state_dict(state["network"])
    crop_px = recipe.stages[state["index"]].crop_px
    seen = f"{training_data}, {spent.crops} crops of {crop_px} px"
    if not spent.finished:
        seen += f", stopped after {spent.steps} of {spent.planned_steps} steps"
    stopped = f"{spent.steps} of {spent.planned_steps} training steps"
    caveat = recipe.caveat if spent.finished else stopped
    card = Card(
        architecture=subject.architecture,
        config=config,
        training_data=seen,
        steps=spent.steps,
        crops=spent.crops,
        command=command,
        commit=commit,
        measured=_measured(run, state["index"], step),
        caveat=caveat if architecture.rate_levels(config) > 1 else "",
    )
    return make_checkpoint(target, network, card, images, half=half)


def budget(recipe: Recipe, index: int, step: int) -> Budget:
    """Return the training up to a step of a stage, steps counted over all stages."""
    return Budget(
        recipe.steps_before(index) + step,
        recipe.crops_before(index) + step * recipe.stages[index].batch,
        recipe.steps_before(len(recipe.stages)),
    )


def _measured(run: Path, index: int, step: int) -> dict[str, float]:
    """Return the last validation up to a step, its rates named as the estimates that they are.

    By q and beta: "validation_q2_beta0_estimated_bpp", "validation_q2_beta0_psnr_db".
    """
    found: dict[str, float] = {}
    for entry in Journal(run / JOURNAL).entries():
        if "validation" in entry and step_of(entry) <= (index, step):
            for point in entry["validation"]:
                name = f"validation_q{point['q']:g}_beta{point['beta']:g}"
                found[f"{name}_estimated_bpp"] = point["bpp"]
                found[f"{name}_psnr_db"] = point["psnr_db"]
    return found
