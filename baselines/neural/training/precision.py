"""Precision in which a process trains: bfloat16 where its processor computes in it, else float32.

A run may go on in the other precision on another machine; its state counts the steps of each.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from baselines.neural.inference import has_bfloat16
from baselines.neural.training.recipe import Recipe, Stage
from benchmark.errors import UsageError

Precision = Literal["bfloat16", "float32"]


def precision_of(recipe: Recipe, stage: Stage, device: str) -> Precision:
    """Return the precision of a stage's convolutions in this process."""
    asked = recipe.autocast and not stage.float32
    return "bfloat16" if asked and has_bfloat16(device) else "float32"


def steps_as_asked(recipe: Recipe, index: int, step: int) -> dict[str, int]:
    """Return the steps of each precision up to a step of a stage, all as the recipe asks.

    For states of a trainer that always followed the recipe and did not count the steps.
    """
    counts: dict[str, int] = {}
    for number, stage in enumerate(recipe.stages[: index + 1]):
        name = "bfloat16" if recipe.autocast and not stage.float32 else "float32"
        counts[name] = counts.get(name, 0) + (stage.steps if number < index else step)
    return {name: steps for name, steps in counts.items() if steps}


@contextmanager
def exact_float32(wanted: bool) -> Iterator[None]:
    """Keep GPUs from TF32, their default in convolutions, which keeps 10 of 23 bits of a factor."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    if wanted:
        matmul.allow_tf32 = convolution.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Have torch use kernels with the same bits in every call; raise `UsageError` without one."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):  # torch has no type of its own for it
            raise
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--deterministic is not possible here: {reason}") from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.deterministic = before[1]
