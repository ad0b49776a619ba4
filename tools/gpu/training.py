"""Measure training on a GPU: runs of `bench train`, memory, reading, losses, crops per second."""

import gc
import math
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.neural.training.photographs import (
    PhotographSet,
    hold_photographs,
    open_photographs,
    photograph_paths,
)
from baselines.neural.training.recipe import Recipe, load_recipe
from baselines.neural.training.run import MILESTONE, TrainingRun
from baselines.neural.training.trainer import Learner, stage_costs
from tools.gpu.conditions import ROOT, Cells, Conditions, calls_per_second, measure_rows, run_module
from tools.gpu.results import Result

MAX_LOSS_DIFFERENCE = 1e-3  # relative; a GPU may sum in another order
STARTS, STEPS_FROM_FILES = 10, 12  # the fourth step is captured while files are read ahead
WAIT_SECONDS = 30.0  # time limit for the first saved state of a run
RECIPE = """
sizes = "{size}"
seed = 1
autocast = true
report_every_steps = 10

[[stage]]
objective = "multi_rate"
steps = {steps}
batch = {batch}
crop_px = {crop_px}
learning_rate = 8e-4
decay_at = 0.5
lambdas = [3.4, 1.2, 0.4, 0.13, 0.05]
mixed_levels = true

[[stage]]
objective = "realism"
steps = {steps}
batch = {batch}
crop_px = {crop_px}
learning_rate = 3e-4
decay_at = 0.5
lambdas = [3.4, 1.2, 0.4, 0.13, 0.05]
mixed_levels = true
lpips_per_beta = {lpips_per_beta}
gan_per_beta = 4e-4
discriminator_channels = [32, 64, 128, 128]
"""
GPU_VALUES = {"size": "micro", "steps": 200, "batch": 16, "crop_px": 256, "lpips_per_beta": 0.4}
SMALL = {"size": "tiny", "steps": 8, "batch": 2, "crop_px": 64, "lpips_per_beta": 0}


def train(conditions: Conditions) -> Cells:
    """Measure runs of two short stages, reading from files, and memory."""
    yield "killed and resumed", partial(_kill_and_resume, conditions)
    yield "hyperprior-1", partial(_suite, conditions)
    yield "photographs from files", partial(_read_files, conditions)
    yield "memory of two stages", partial(_memory, conditions)


def _train_arguments(conditions: Conditions) -> list[object]:
    path = conditions.scratch / "recipe.toml"
    path.write_text(RECIPE.format(**(SMALL if conditions.small else GPU_VALUES)))
    data = conditions.pictures(60)
    return ["train", "--recipe", path, "--data", data, "--device", conditions.device]


def _kill_and_resume(conditions: Conditions) -> Result:
    """Kill a run after its first saved state; resume and export it; code an image with it."""
    recipe_steps = SMALL["steps"] if conditions.small else GPU_VALUES["steps"]
    folder = conditions.scratch / "run"
    arguments = [
        *_train_arguments(conditions),
        "--out",
        folder,
        "--milestone-steps",
        int(recipe_steps) // 2,
    ]
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    deadline = time.monotonic() + WAIT_SECONDS
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not any(folder.glob(MILESTONE.format("*"))) and process.poll() is None:
            if time.monotonic() > deadline and not conditions.small:
                break
            time.sleep(0.02)
        process.kill()
    run = TrainingRun(folder, folder / "ours.safetensors", load_recipe(str(arguments[2])))
    num_saved = run.steps_saved()
    run_module("benchmark", *arguments)
    codec = f"ours:beta=0:checkpoint={run.target}"
    rows = measure_rows(
        *(conditions.scratch / "trained", "--codecs", codec, "--points", "ours.q=2"),
        *("--dataset", conditions.dataset, "--limit", 1, "--metrics", "psnr"),
        *("--device", conditions.device),
    )
    text = f"resumed at step {num_saved} of {run.recipe.steps}, exported, "
    text += f"{rows['psnr_db'][0]:.1f} dB at {rows['bpp'][0]:.2f} bpp"
    return Result(text, passed=0 < num_saved < run.recipe.steps and run.is_complete())


def _suite(conditions: Conditions) -> Result:
    options = ("--suite", "matched", "--members", "hyperprior-1")
    output = run_module(
        "benchmark", *_train_arguments(conditions), *options, "--out", conditions.scratch / "suite"
    )
    return Result(output.strip().rpartition("\n")[2].rpartition("/")[2], passed=True)


def _memory(conditions: Conditions) -> Result:
    """Check that a stage's memory is freed after it, for two stages."""
    if conditions.device != "cuda":
        return Result("only a GPU has allocated memory to measure", absent=True)
    recipe = replace(_recipe(conditions, "mini", 1), stages=load_recipe("gpu-half-hour").stages)
    network = _run(recipe).build().to(conditions.device)
    sizes = []
    for index in range(2):
        torch.cuda.reset_peak_memory_stats()
        learner = Learner(network, recipe, index, _photographs())
        for _ in range(8):
            learner.update()
        del learner
        torch.cuda.synchronize()
        sizes += [torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()]
    peak, remaining_gib, next_peak, final_gib = (size / 2**30 for size in sizes)
    text = f"{peak:.2f} GiB in the first stage, {remaining_gib:.2f} after it, "
    text += f"{next_peak:.2f} in the second, {final_gib:.2f} after it"
    return Result(text, passed=remaining_gib < peak / 2)


def _read_files(conditions: Conditions) -> Result:
    """Check that losses are finite if steps are captured while photographs are decoded."""
    paths = photograph_paths([conditions.pictures(40)])
    starts, steps = (1, 5) if conditions.small else (STARTS, STEPS_FROM_FILES)
    losses = []
    for _ in range(starts):
        recipe = _recipe(conditions, "micro", 0)
        learner = _learner(conditions, recipe, 0, photographs=open_photographs(paths, 1))
        updates = [learner.update() for _ in range(steps)]
        losses += [update.numbers["loss"] for update in updates]
    text = f"{starts} starts of {steps} steps"
    return Result(text, passed=all(map(math.isfinite, losses)))


def losses(conditions: Conditions) -> Cells:
    """Compare losses of steps captured as a CUDA graph, in float32, with those of `--no-graph`."""
    for index, (kind, steps) in enumerate({"rates": 100, "realism": 40}.items()):
        yield f"losses of {kind}", partial(_losses, conditions, index, steps)


def _losses(conditions: Conditions, index: int, steps: int) -> Result:
    curves = []
    for graph in (True, False):
        recipe = _recipe(conditions, "micro", index, autocast=False)
        learner = _learner(conditions, recipe, index, graph=graph)
        updates = [learner.update() for _ in range(2 if conditions.small else steps)]
        curves.append([update.numbers["loss"] for update in updates])
    difference = float(np.max(np.abs(np.divide(curves[0], curves[1]) - 1)))
    passed = difference <= MAX_LOSS_DIFFERENCE
    return Result(f"{difference:.1e} apart in {len(curves[0])} steps", passed=passed)


def steps(conditions: Conditions) -> Cells:
    """Measure crops per second of `gpu-half-hour`, with and without a CUDA graph."""
    make_measurement = partial(partial, crops_per_second, conditions)
    yield "small, realism, recorded", make_measurement("small", 1)
    yield "small, realism, --no-graph", make_measurement("small", 1, graph=False)
    yield "mini, rates, recorded", make_measurement("mini", 0, compare_forecast=True)
    yield "small, rates, recorded", make_measurement("small", 0)
    yield "mini, rates, --no-graph", make_measurement("mini", 0, graph=False)


def crops_per_second(
    conditions: Conditions,
    size: str,
    index: int,
    graph: bool = True,
    compare_forecast: bool = False,
) -> Result:
    """Time a stage of `gpu-half-hour`; compare_forecast: and the forecast that `--check` prints."""
    recipe, gpu = _recipe(conditions, size, index), conditions.device == "cuda"
    cost: Any = None
    if compare_forecast:
        (cost,) = stage_costs(_run(recipe), conditions.device, _photographs())
    gc.collect()
    learner = _learner(conditions, recipe, index, graph=graph)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(1 if conditions.small else 8):  # steps with maps are not captured
        learner.update()
    rate = calls_per_second(learner.update, conditions.device, 0 if conditions.small else 5)
    memory = torch.cuda.max_memory_allocated() if gpu else 0
    numbers = {"crops_per_s": rate * recipe.stages[index].batch}
    text = f"{numbers['crops_per_s']:.0f} crops per second"
    text += f", {memory / 2**30:.2f} GiB" if memory else ""
    if cost:
        numbers["foreseen_s_off"] = abs(cost.seconds * rate - 1)
        text += f", forecast {1 / cost.seconds:.3g} steps per second, measured {rate:.3g}"
    if cost and memory:
        numbers["foreseen_bytes_off"] = abs(cost.memory_bytes / memory - 1)
        text += f", forecast {cost.memory_bytes / 2**30:.2f} GiB"
    return Result(text, numbers=numbers)


def _recipe(conditions: Conditions, size: str, index: int, **changes: Any) -> Recipe:
    """Return `gpu-half-hour` for a size, with its stage `index` made endless."""
    recipe = load_recipe("gpu-half-hour")
    small: dict[str, Any] = {"batch": 5, "crop_px": 64} if conditions.small else {}
    stages = (replace(recipe.stages[index], steps=1_000_000, **small),) * (index + 1)
    size = "tiny" if conditions.small else size
    return replace(recipe, sizes=size, stages=stages, **changes)


def _run(recipe: Recipe) -> TrainingRun:
    return TrainingRun(Path(), Path(), recipe)


def _photographs() -> PhotographSet:
    return hold_photographs(
        [*np.random.default_rng(0).integers(0, 256, (8, 512, 768, 3), np.uint8)]
    )


def _learner(
    conditions: Conditions,
    recipe: Recipe,
    index: int,
    graph: bool = True,
    photographs: PhotographSet | None = None,
) -> Learner:
    torch.manual_seed(0)
    layout: Any = {"memory_format": torch.channels_last}  # as the trainer does
    network = _run(recipe).build().to(conditions.device, **layout)
    return Learner(network, recipe, index, photographs or _photographs(), graph=graph)
