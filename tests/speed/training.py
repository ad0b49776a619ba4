"""Measure crops per second of a training step, run in several ways; compare the ratios.

    python tests/speed/training.py [--member charm-3] [--recipe night] [--stage 1] [--sizes micro]
                                   [--batch 16] [--crop 128] [--seconds 20] [--only WORD]

Without --member, the network is that of the recipe: `ours`. With it, it is one of the suite
`field`, with the stages that the suite gives it; adversarial stages need AlexNet's weights. Each
way is a process or two of its own that trains on random pixels: the speed of a step does not depend
on what is in the pictures. bfloat16 is bfloat16 here, whether or not the processor has instructions
for it. Two steps of warm-up are not counted. On a GPU only the ways of one process
are tried.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import numpy as np
import torch
from harness import options

from baselines.neural.training import optimisers
from baselines.neural.training.photographs import Photographs, pack
from baselines.neural.training.ranks import Ranks, in_processes
from baselines.neural.training.recipe import Recipe, load_recipe
from baselines.neural.training.run import Run
from baselines.neural.training.suites import suite
from baselines.neural.training.trainer import Learner

WARM_UP_STEPS = 2
LEAST_STEPS = 3
# name: processes, threads of each, bfloat16, channels last
WAYS = {
    "float32": (1, 2, False, False),
    "float32, channels last": (1, 2, False, True),
    "bfloat16, channels last": (1, 2, True, True),
    "two processes, float32, channels last": (2, 1, False, True),
    "two processes, bfloat16, channels last": (2, 1, True, True),
}


def measure(
    workers: Ranks,
    recipe: Recipe,
    photographs: Photographs,
    device: torch.device,
    threads: int,
    channels_last: bool,
    seconds: float,
    name: str,
) -> None:
    """Print the crops a second of one way."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = Run(Path(), Path(), recipe).build().to(device)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    with patch.object(optimisers, "has_bfloat16", lambda _device: True):
        learner = Learner(network, recipe, 0, photographs, workers)
        crops_per_second = _measured(learner, workers, seconds)
    if workers.leads:
        print(f"{crops_per_second:8.1f} crops/s   {name}", flush=True)


def _measured(learner: Learner, workers: Ranks, seconds: float) -> float:
    steps, started = 0, 0.0
    over = torch.zeros(1)
    while not over.item():
        if steps == WARM_UP_STEPS:
            synchronise()
            started = perf_counter()
        learner.update()
        steps += 1
        done = steps >= WARM_UP_STEPS + LEAST_STEPS and perf_counter() - started > seconds
        over = workers.average([], torch.tensor([float(done)])).ceil()
    synchronise()
    crops = (steps - WARM_UP_STEPS) * learner.stage.batch
    return crops / (perf_counter() - started)


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measured_recipe(given: argparse.Namespace) -> Recipe:
    """Return a recipe whose only stage is the one to measure, long enough not to end."""
    recipe = load_recipe(given.recipe)
    if given.sizes:
        recipe = replace(recipe, sizes=given.sizes)
    if given.member:
        recipe = suite("field", recipe, Path(), [given.member])[0].recipe
    stage = recipe.stages[given.stage - 1]
    changed = {"batch": given.batch or stage.batch, "crop_px": given.crop or stage.crop_px}
    long = replace(stage, steps=1_000_000, learning_rate=1e-6, float32=False, **changed)
    return replace(recipe, stages=(long,))


def main() -> None:
    """Print every way, or those whose names contain a word."""
    given = options(
        __doc__,
        recipe="night",
        member="",
        stage=1,
        sizes="",
        batch=0,
        crop=0,
        seconds=20.0,
        only="",
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    noise = np.random.default_rng(0).integers(0, 256, (8, 512, 768, 3), np.uint8)
    photographs, recipe = pack(noise), measured_recipe(given)
    for name, (processes, threads, autocast, channels_last) in WAYS.items():
        if given.only not in name or (processes > 1 and device.type != "cpu"):
            continue
        one = replace(recipe, processes=processes, autocast=autocast)
        way = (one, photographs, device, threads, channels_last, given.seconds, name)
        in_processes(processes, measure, *way)


if __name__ == "__main__":
    main()
