"""Measure crops per second of a training step, run in several ways; compare the ratios.

    python tests/speed/training.py [--sizes micro] [--batch 16] [--crop 128] [--seconds 20]
                                   [--only WORD]

Each way is a process or two of its own that trains on random pixels: the speed of a step does not
depend on what is in the pictures. Compilation and two steps of warm-up are not counted. On a GPU
only the ways of one process are tried.
"""

import argparse
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.crdr.sizes import NAMED
from baselines.neural.crdr.stage import ConditionedStage
from baselines.neural.training.learner import Learner
from baselines.neural.training.photographs import Photographs, pack
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.workers import Workers, in_processes

WARM_UP_STEPS = 2
LEAST_STEPS = 3
# name: processes, threads of each, bfloat16, channels last, compiled
WAYS = {
    "float32": (1, 2, False, False, False),
    "float32, channels last": (1, 2, False, True, False),
    "bfloat16, channels last": (1, 2, True, True, False),
    "bfloat16, channels last, compiled": (1, 2, True, True, True),
    "two processes, float32, channels last": (2, 1, False, True, False),
    "two processes, bfloat16, channels last": (2, 1, True, True, False),
    "two processes, bfloat16, channels last, compiled": (2, 1, True, True, True),
}


def measure(
    workers: Workers,
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
    network = CRDRNetwork(NAMED[recipe.sizes]).to(device)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    learner = Learner(network, recipe, 0, photographs, workers)
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
    if workers.leads:
        crops = (steps - WARM_UP_STEPS) * recipe.stages[0].batch
        print(f"{crops / (perf_counter() - started):8.1f} crops/s   {name}", flush=True)


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Print every way, or those whose names contain a word."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="micro", choices=NAMED)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    noise = np.random.default_rng(0).integers(0, 256, (8, 512, 768, 3), np.uint8)
    photographs = pack(noise)
    stage = ConditionedStage(
        kind="multi_rate",
        steps=1_000_000,
        batch=given.batch,
        crop_px=given.crop,
        learning_rate=1e-6,
        lambdas=(3.4, 1.2, 0.4, 0.13, 0.05),
        decay_at=1.0,
        balanced=True,
        mixed_levels=True,
    )
    recipe = Recipe(name="speed", sizes=given.sizes, stages=(stage,))
    for name, (processes, threads, autocast, channels_last, compiled) in WAYS.items():
        if given.only not in name or (processes > 1 and device.type != "cpu"):
            continue
        one = replace(recipe, processes=processes, autocast=autocast, compiled=compiled)
        in_processes(
            processes,
            measure,
            one,
            photographs,
            device,
            threads,
            channels_last,
            given.seconds,
            name,
        )


if __name__ == "__main__":
    main()
