"""Memory, work and time of a recipe's stages, from steps at full size; nothing is written."""

from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from baselines.neural.training.photographs import Photographs
from baselines.neural.training.run import Run
from baselines.neural.training.trainer import Learner, first_crops

FIRST_STEPS = 5  # on a GPU, which allocates, chooses kernels and records in them; 1 on a CPU
TIMED_STEPS, TIMED_SECONDS = 20, 20.0  # at most; a step is finished in any case


class StageCost(NamedTuple):
    """Memory, work and time that a stage takes."""

    objective: str
    steps: int
    memory_bytes: int  # at most allocated for tensors on a GPU; 0 on a CPU
    macs: float  # multiply-accumulates of a step, of all networks forwards and backwards
    seconds: float  # of a step


def stage_costs(run: Run, device: str, seen: Photographs) -> Iterator[StageCost]:
    """Yield what the stages of a run take; raises what training does."""
    recipe, on_gpu = run.recipe, device != "cpu"
    for index, stage in enumerate(recipe.stages):
        network = run.build()
        if recipe.initialise == "pca":  # what is measured of a base: without it, no step can be
            network.initialise(first_crops(recipe, seen), recipe.stages[0].lambdas)
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with FlopCounterMode(display=False) as counted:  # a step anew: a graph counts nothing
            Learner(network, recipe, index, seen, graph=False).update()
        learner = Learner(network, recipe, index, seen)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(FIRST_STEPS if on_gpu else 1):
            learner.update().numbers  # noqa: B018 - waits for the device
        started, steps = perf_counter(), 0
        while steps < TIMED_STEPS and perf_counter() - started < TIMED_SECONDS:
            learner.update().numbers  # noqa: B018
            steps += 1
        seconds = (perf_counter() - started) / steps
        memory = torch.cuda.max_memory_allocated() if on_gpu else 0
        macs = counted.get_total_flops() / 2  # of convolutions: a product and a sum
        yield StageCost(stage.objective, stage.steps, memory, macs, seconds)
