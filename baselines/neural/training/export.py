"""A run, finished or not -> the checkpoint that a codec takes, with its card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from baselines.neural.checkpoint.card import Card
from baselines.neural.checkpoint.checkpoint import make_checkpoint
from baselines.neural.training.checkpointing import FILE as STATE
from baselines.neural.training.checkpointing import load_state
from baselines.neural.training.journal import Journal
from baselines.neural.training.recipe import Recipe, recipe_from
from baselines.neural.training.run import FILE as RECIPE
from baselines.neural.training.run import Subject, make_network
from benchmark.codec import Pixels
from benchmark.errors import Unavailable

CPU = torch.device("cpu")


class Budget(NamedTuple):
    """What the network of a run has seen so far."""

    steps: int
    crops: int
    planned_steps: int

    @property
    def finished(self) -> bool:
        """Whether the recipe is through."""
        return self.steps == self.planned_steps


def export(
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
    subject, recipe = read_request(run)
    step = state["step"]
    if which == "best":
        state_of_best = load_state(run, CPU, "best.pt")
        if state_of_best is None:
            raise Unavailable(f"{run} holds no validated network yet: export the last one")
        state, step = state_of_best, state_of_best["step"]
    spent = budget(recipe, state["index"], step)
    network = make_network(subject, recipe)
    network.load_state_dict(state["network"])
    crop_px = recipe.stages[state["index"]].crop_px
    seen = f"{training_data}, {spent.crops} crops of {crop_px} px"
    if not spent.finished:
        seen += f", stopped after {spent.steps} of {spent.planned_steps} steps"
    measured = _measured(run, state["index"], step)
    stopped = f"{spent.steps} of {spent.planned_steps} training steps"
    single_rate = subject.model != "ours"
    card = Card(
        architecture="compressai" if single_rate else "crdr",
        config=network.config,
        training_data=seen,
        steps=spent.steps,
        crops=spent.crops,
        command=command,
        commit=commit,
        measured=measured,
        caveat="" if single_rate else recipe.caveat if spent.finished else stopped,
    )
    return make_checkpoint(target, network, card, images, half=half)


def budget(recipe: Recipe, index: int, step: int) -> Budget:
    """At a step of a stage, steps counted over all stages."""
    return Budget(
        recipe.steps_before(index) + step,
        recipe.crops_before(index) + step * recipe.stages[index].batch,
        recipe.steps_before(len(recipe.stages)),
    )


def read_request(run: Path) -> tuple[Subject, Recipe]:
    """What a run was begun with; raises `Unavailable` where there is none."""
    path = run / RECIPE
    if not path.exists():
        raise Unavailable(f"{run} is no run: it has no {RECIPE} and no {STATE}")
    record = json.loads(path.read_text())
    recipe = dict(record["recipe"])
    name, stages = recipe.pop("name"), recipe.pop("stages")
    subject = record["subject"]
    return (
        Subject(subject["model"], subject["lmbda"], tuple(subject["widths"])),
        recipe_from(name, {**recipe, "stage": stages}),
    )


def _measured(run: Path, index: int, step: int) -> dict[str, float]:
    """The last validation up to a step, estimated rates: named so that nobody takes them for real.

    By q and beta: "validation_q2_beta0_estimated_bpp", "validation_q2_beta0_psnr_db".
    """
    found: dict[str, float] = {}
    for entry in Journal(run / "journal.jsonl").entries():
        if "validation" in entry and (entry["stage"], entry["step"]) <= (index, step):
            for point in entry["validation"]:
                name = f"validation_q{point['q']:g}_beta{point['beta']:g}"
                found[f"{name}_estimated_bpp"] = point["bpp"]
                found[f"{name}_psnr_db"] = point["psnr_db"]
    return found
