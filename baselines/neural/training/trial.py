"""Trials of a recipe: steps of each stage at full size, their memory, time and arithmetic work.

Without a GPU, tensors are fake (torch's FakeTensorMode): sizes are followed, nothing is computed.
"""

import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from baselines.neural.training.learner import Learner
from baselines.neural.training.loop import first_crops
from baselines.neural.training.objective import Batch, StepGuard
from baselines.neural.training.photographs import Photographs, pack
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run import Subject
from baselines.neural.training.workers import Workers
from benchmark.errors import UsageError

LEAST_PX = 64  # of a crop that any network takes
FIRST_STEPS, TIMED_STEPS = 5, (5, 50)  # the first ones also allocate; timed on a CPU, on a GPU
NOISE = pack([np.random.default_rng(0).integers(0, 256, (LEAST_PX, LEAST_PX, 3), np.uint8)])


class StageTrial(NamedTuple):
    """Memory, work and time that a stage takes of each process."""

    kind: str
    steps: int
    memory_bytes: int  # at most allocated for tensors
    macs: float  # multiply-accumulates of a step, of all networks forwards and backwards
    seconds: float | None  # of a step; None where nothing was computed


def trials(
    subject: Subject, recipe: Recipe, device: str, workers: Workers, seen: Photographs = NOISE
) -> Iterator[StageTrial]:
    """Try the stages of a recipe in turn, in each of the processes; nothing is written.

    device: "fake" is a processor that computes nothing. Raises what training raises.
    """
    for index in range(len(recipe.stages)):
        counted = StageTrial(recipe.stages[index].kind, recipe.stages[index].steps, 0, 0.0, None)
        try:
            counted = _fake_step(subject, recipe, index, workers.count)
        except RuntimeError as error:  # of torch, where values decide what is run
            if device == "fake":
                why = f"a {counted.kind} stage cannot be tried without being computed"
                raise UsageError(f"{why}: add --device cpu, or try it on a GPU") from error
        if device == "fake":
            yield counted
            continue
        on_gpu = device != "cpu"
        learner = _learner(subject, recipe, index, device, seen, workers=workers)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(FIRST_STEPS):
            learner.update().skipped  # noqa: B018 - waits for the device
        started = perf_counter()
        [learner.update() for _ in range(TIMED_STEPS[on_gpu])][-1].skipped  # noqa: B018
        seconds = (perf_counter() - started) / TIMED_STEPS[on_gpu]
        memory = torch.cuda.max_memory_allocated() if on_gpu else counted.memory_bytes
        yield counted._replace(seconds=seconds, memory_bytes=memory)


class _AlwaysCounts(StepGuard):
    def counts(self, norm: Tensor, loss: Tensor, largest: float) -> bool:
        return True


def _learner(
    subject: Subject, recipe: Recipe, index: int, device: str, seen: Photographs, **more: Any
) -> Learner:
    architecture, config = subject.load(recipe.sizes)
    network = architecture.build(config)
    if recipe.initialise == "pca":  # what is measured of a base: without it, no step can be
        network.initialise(first_crops(recipe, seen), recipe.stages[0].lambdas)
    network = network.to(device, memory_format=torch.channels_last)
    return Learner(network, recipe, index, seen, **more)


def _fake_step(subject: Subject, recipe: Recipe, index: int, count: int) -> StageTrial:
    """Follow two steps of one of `count` processes: the second has an optimiser's state as well."""
    stage = recipe.stages[index]
    if getattr(stage, "map_share", 0):
        stage = replace(stage, map_share=0.0)  # type: ignore[call-arg]  # whose sizes differ
    own = replace(stage, batch=stage.batch // count, steps=max(2, stage.steps))  # of one process
    stages = (*recipe.stages[:index], own, *recipe.stages[index + 1 :])
    alone = replace(recipe, stages=stages, processes=1, compiled=False)
    learner = _learner(
        subject, alone, index, "cpu", NOISE, workers=Workers(), guard=_AlwaysCounts()
    )
    with torch.no_grad():  # objectives make what depends on the latent with their first crop
        crop = torch.zeros(1, 3, LEAST_PX, LEAST_PX)
        learner.objective.loss(learner.network, Batch(crop, 0, range(1)), 0)
    objective = learner.objective  # which may own LPIPS and discriminators
    owned = [*vars(objective).values(), *vars(objective._adversary or objective).values()]
    memory = _Memory({learner.network, *(part for part in owned if isinstance(part, nn.Module))})
    flops = FlopCounterMode(display=False)
    with ExitStack() as modes:
        for mode in (FakeTensorMode(allow_non_fake_inputs=True), memory, flops):
            modes.enter_context(mode)
        pixels = torch.zeros(own.batch, 3, own.crop_px, own.crop_px, dtype=torch.uint8)
        learner._crops = SimpleNamespace(take=lambda _step: pixels)  # type: ignore[assignment]
        for _ in range(2):
            learner.update()
    return StageTrial(stage.kind, stage.steps, memory.most, flops.get_total_flops() / 4, None)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what is in lists, tuples and dicts, at any depth."""
    if isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value


class _Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count of the bytes of all tensors that are in use, for fake ones in place of real ones."""

    def __init__(self, modules: set[nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: set[StorageWeakRef] = set()
        tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
        self.most = self._now = sum(tensor.untyped_storage().nbytes() for tensor in tensors)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what it allocates."""
        kwargs = kwargs or {}
        inputs = [value for value in _leaves((args, kwargs)) if isinstance(value, Tensor)]
        # What an objective draws on the CPU, and levels of it, stay real: they decide what is run.
        if inputs and not any(isinstance(value, FakeTensor) for value in inputs):
            whole = not any(value.is_floating_point() for value in inputs)
            if whole or func.name() in ("aten::lift_fresh", "aten::_local_scalar_dense"):
                with unset_fake_temporarily():
                    return func(*args, **kwargs)
        result = func(*args, **kwargs)
        for value in _leaves(result):
            if isinstance(value, FakeTensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key: Any = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        size = storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._now += size
        self.most = max(self.most, self._now)

        def free() -> None:
            self._known.discard(key)
            self._now -= size

        weakref.finalize(storage, free)
