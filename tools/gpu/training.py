"""Steps per second and memory of a training step, by size of the network and by precision."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch

from baselines.neural.training.learner import Learner
from baselines.neural.training.photographs import pack
from baselines.neural.training.recipe import Recipe, load_recipe
from baselines.neural.training.run import Subject, make_network
from baselines.neural.training.workers import Workers
from tools.gpu.conditions import Conditions
from tools.gpu.networks import SIZES
from tools.gpu.part import Cell, Found, failures, measured, table

TITLE = "Training"
CLAIM = "No target: the rate stage of the recipe `lease` on random pixels, its batch and its crops."
RECIPE = "lease"
SECONDS, SMALL_SECONDS = 15.0, 0.0
WARM_UP_STEPS = 3
SMALL = {"batch": 2, "crop_px": 64}


def cells(conditions: Conditions) -> Iterator[Cell]:
    """Yield a cell for every size and precision."""
    for size in ("tiny",) if conditions.small else SIZES:
        for precision in ("bfloat16", "float32"):
            yield Cell(f"{size}/{precision}", partial(timed, conditions, size, precision))


def timed(conditions: Conditions, size: str, precision: str) -> dict[str, Any]:
    """Train for some seconds; the first steps do not count."""
    recipe = _recipe(conditions, size, precision)
    noise = np.random.default_rng(0).integers(0, 256, (8, 512, 768, 3), np.uint8)
    torch.manual_seed(0)
    network = make_network(Subject(recipe.architecture), recipe).to(conditions.device)
    learner = Learner(network, recipe, 0, pack(noise), Workers())
    on_gpu = conditions.device == "cuda"
    for _ in range(WARM_UP_STEPS):
        learner.update()
    conditions.synchronise(conditions.device)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    least = SMALL_SECONDS if conditions.small else SECONDS
    started, steps = perf_counter(), 0
    while not steps or perf_counter() - started < least:
        learner.update()
        steps += 1
        if steps % 10 == 0:
            conditions.synchronise(conditions.device)  # the queue must not outgrow the seconds
    conditions.synchronise(conditions.device)
    seconds = perf_counter() - started
    return {
        "precision": learner.precision,
        "steps_per_second": steps / seconds,
        "batch": learner.stage.batch,
        "crop_px": learner.stage.crop_px,
        "peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
    }


def _recipe(conditions: Conditions, size: str, precision: str) -> Recipe:
    recipe = load_recipe(RECIPE)
    stage = replace(recipe.stages[0], steps=1_000_000, **(SMALL if conditions.small else {}))
    return replace(recipe, sizes=size, autocast=precision == "bfloat16", stages=(stage,))


def section(found: Found) -> list[str]:
    """Return a table with a row for each size and precision."""
    lines = [
        (
            key.partition("/")[0], row["precision"], f"{row['batch']} x {row['crop_px']} px",
            f"{row['steps_per_second']:.2f}",
            f"{row['batch'] * row['steps_per_second']:.0f}",
            "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.2f}",
        )
        for key, row in measured(found).items()
    ]  # fmt: skip
    header = ("size", "precision", "batch", "steps/s", "crops/s", "peak memory, GiB")
    return [*table(header, lines), *failures(found)]
