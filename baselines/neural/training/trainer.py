"""Training of a network through all stages of a recipe, in a folder that a later call resumes.

A killed run resumes from its last saved step, on the same kind of machine to the same weights:
crops, rates, realism weights and noise follow from the number of the step. A deadline
or a signal ends it after a whole step, with everything saved. A diverged network raises a
`BenchError`.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from baselines.neural.network import BLOCK, Network, keep_freed_memory
from baselines.neural.training import run as files
from baselines.neural.training.how import How, Log
from baselines.neural.training.objective import Batch, Loss, Objective, Setup
from baselines.neural.training.optimisers import (
    LARGEST_LOSS,
    Optimisers,
    RecordedStep,
    deterministic_kernels,
    kernels_of,
    precision_of,
)
from baselines.neural.training.photographs import (
    CropStream,
    DeviceCrops,
    Drawing,
    Photographs,
    draw_crops,
    open_photographs,
    photograph_paths,
)
from baselines.neural.training.recipe import Recipe, objective_class
from baselines.neural.training.run import Run
from benchmark.errors import FOREIGN, BenchError, Unavailable, UsageError
from benchmark.plugins import failed_in
from benchmark.registry import names_file
from benchmark.system.atomic import handle_signals

Begins = Callable[[int, int], None]
FINISHED, OUT_OF_TIME, INTERRUPTED = "finished", "the time is over", "interrupted"
SAVE_EVERY_SECONDS = 60.0  # at least
COST = 0.01  # of the time, that training may wait for saves
INITIAL_CROPS, INITIAL_SIDE_PX = 64, 128
SMALL_WEIGHTS = 2_000_000  # as `tiny` and `micro` have
LARGEST_GAP = 100  # steps left out in turn: not a hard batch, but a network beyond help


def train(run: Run, how: How, begins: Begins | None = None) -> str:
    """Begin the run, or resume it; return why it ended.

    begins: is called with the steps that are saved and those that were reported, once nothing is
    refused any more. Raises `UsageError` for a folder of another run, in
    use or not writable, folders without photographs and an operation without a deterministic
    kernel, `Unavailable` for a missing device, and for weights that any of the stages will need.
    """
    for stage in run.recipe.stages:
        stage.find_resources()  # now, not hours later
    try:
        with files.owned(run):
            try:
                interrupted = _train(run, how, begins)
            except KeyboardInterrupt:
                return INTERRUPTED  # before the first step: nothing has changed
            if run.steps_reported() == run.recipe.steps:
                return FINISHED
            return INTERRUPTED if interrupted else OUT_OF_TIME
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{error.filename or run.folder} cannot be used: {reason}") from error


def _train(run: Run, how: How, begins: Begins | None) -> bool:
    how = replace(how, device=device_of(how.device))
    if any(min(pixels.shape[:2]) < BLOCK for pixels in how.validation):
        raise UsageError(f"A photograph to validate with is smaller than {BLOCK} pixels.")
    paths = [path for path in photograph_paths(how.data) if path not in how.held_out]
    files.take_over(run)
    files.write_record(run, how, paths)
    files.require_room(run.folder, run.build())
    for index, stage in enumerate(run.recipe.stages):
        if names_file(stage.objective):
            _try_out(run, index, how)
    if begins:
        begins(run.steps_saved(), run.steps_reported())
    return go(run, how, open_photographs(paths))


def _try_out(run: Run, index: int, how: How) -> None:
    """Raise `UsageError` where a loss of the user's own fails, before hours of other stages."""
    stage, network = run.recipe.stages[index], run.build()
    kind = objective_class(stage.objective)
    crops = torch.rand(2, 3, stage.crop_px, stage.crop_px) * 2 - 1
    try:
        objective = kind(stage, Setup(run.recipe, index, torch.device("cpu")))
        loss = objective.loss(network, Batch(crops), 0)
        if not isinstance(loss, Loss) or loss.total.ndim or not loss.total.requires_grad:
            raise TypeError("loss() is to return a Loss, whose total is a number with a gradient")
        loss.total.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        if not all(tensor.isfinite().all() for tensor in (loss.total, *gradients)):
            raise ValueError("the loss, or its gradient, is not finite")
        if how.validation:
            objective.validate(network, how.validation[:1])
    except BenchError:
        raise
    except FOREIGN as error:
        raise failed_in(stage.objective, kind, "a step", error) from error


def device_of(asked: str) -> str:
    """Return the device to train on, "cpu" or "cuda"; raises `Unavailable`."""
    if asked == "cuda" and not torch.cuda.is_available():
        raise Unavailable("torch cannot use a GPU here: leave --device cuda out.")
    return "cpu" if asked == "cpu" or not torch.cuda.is_available() else "cuda"


def first_crops(recipe: Recipe, photographs: Photographs) -> Tensor:
    """Return crops for start values, which no stage sees, (n, 3, h, w) in [-1, 1]."""
    total = recipe.crops_before(len(recipe.stages))
    place = INITIAL_SIDE_PX, range(total, total + INITIAL_CROPS), recipe.seed
    return draw_crops(photographs, *place).float() / 127.5 - 1


def go(run: Run, how: How, photographs: Photographs) -> bool:
    """Train all stages, from wherever the run is; return whether a signal ended it."""
    loop, threads = _Loop(run, how), _threads(run.build(), how.device)
    with handle_signals(loop.stop), deterministic_kernels(how.deterministic), threads:
        loop.go(photographs)
    return loop.asked_to_stop


@contextmanager
def _threads(network: Network, device: str) -> Iterator[None]:
    """Have a small network take one thread, unless OMP_NUM_THREADS says otherwise.

    Its layers are too short to be shared: threads that wait for each other take longer than one,
    and many times as long where others use the cores, too.
    """
    before = torch.get_num_threads()
    weights = sum(weight.numel() for weight in network.parameters())
    if device == "cpu" and weights < SMALL_WEIGHTS and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Loop:
    """The one state of a call: what is counted, saved and reported over its steps."""

    def __init__(self, run: Run, how: How) -> None:
        self.run, self.how, self.recipe = run, how, run.recipe
        self.device = torch.device(how.device)
        on_gpu = self.device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(self.device) if on_gpu else how.device
        self.asked_to_stop = False
        self.updates: list[Update] = []  # since the last report, unread: reading waits for a GPU
        self.precision_steps: dict[str, int] = {}  # of the run
        for draft in run.folder.glob(".*.part"):  # of a process that was killed as it wrote
            draft.unlink(missing_ok=True)
        self.log: Log = how.log(run.folder, self.recipe) if how.log else lambda _report: None

    def stop(self, *_signal: object) -> None:
        self.asked_to_stop = True

    def go(self, photographs: Photographs) -> None:
        saved = files.load_state(self.run.folder, self.device)
        torch.manual_seed(self.recipe.seed)
        network, first = self.run.build(), 0
        if saved is not None:
            with files.restoring(self.run.folder):
                first = range(len(self.recipe.stages) + 1)[saved["index"]]
        else:
            if self.run.start is not None:
                self.run.load_start(network)
            elif self.recipe.initialise == "pca":
                crops = first_crops(self.recipe, photographs)
                network.initialise(crops, self.recipe.stages[0].lambdas)
            files.cut(self.run.folder, 0, 0)
        layout = {"memory_format": torch.channels_last, "non_blocking": True}
        network = network.to(self.device, **layout)  # type: ignore[call-overload]
        random = self.recipe.initialise == "random" and self.run.start is None
        for index in range(first, len(self.recipe.stages)):
            if saved is None and random:
                trained = [  # parts; those that no stage before has trained get start values
                    network.freezable().keys()
                    - {*objective_class(stage.objective).frozen, *stage.frozen}
                    for stage in self.recipe.stages[: index + 1]
                ]
                torch.manual_seed(_seed(self.recipe.seed, 4, index))
                network.start_parts(trained[-1].difference(*trained[:-1]))
            inputs = photographs, self.run.folder
            learner = Learner(network, self.recipe, index, *inputs, graph=not self.how.no_graph)
            if saved is not None:
                with files.restoring(self.run.folder):
                    learner.load_state(saved)
                    self.precision_steps = saved["precision_steps"]
                files.cut(self.run.folder, index, learner.step)
                saved = None
            stopped = self.learn(learner)
            del learner  # on a GPU, before that of the next stage takes memory
            if stopped:
                return

    def learn(self, learner: "Learner") -> bool:
        """Train to the end of the stage; true where it was to stop earlier."""
        saved_at = reported_at = monotonic()
        save_seconds, stop = 0.0, False
        every = self.how.milestone_steps
        while learner.step < learner.stage.steps and not stop:
            self.updates.append(learner.update())
            if learner.has_diverged():
                raise BenchError(
                    f"{self.run.folder}: the network has diverged: the last {LARGEST_GAP} steps, "
                    f"up to step {learner.step} of stage {learner.index + 1}, were left out, for a "
                    f"loss that was not finite or above {LARGEST_LOSS:g} or a gradient that was "
                    "not finite; train again in a new folder at a learning rate below "
                    f"{learner.stage.learning_rate:g}"
                )
            done = self.precision_steps.get(learner.precision, 0)
            self.precision_steps[learner.precision] = done + 1
            stop = self.asked_to_stop or self.how.is_over
            due = learner.due(self.recipe.report_every_steps)
            due |= learner.due(self.recipe.validate_every_steps)
            if stop or due:
                self.report(learner, reported_at)
                reported_at, self.updates = monotonic(), []
            milestone = self.recipe.step_in_all(learner.index, learner.step)
            kept = milestone if every and milestone % every == 0 else None
            late = monotonic() - saved_at > max(SAVE_EVERY_SECONDS, save_seconds / COST)
            last = learner.step == learner.stage.steps
            if stop or last or kept is not None or late:
                begun = monotonic()
                state = learner.state() | {"precision_steps": self.precision_steps}
                state["device"] = self.device_name
                files.save_state(self.run.folder, state, milestone=kept)
                saved_at = monotonic()
                save_seconds = saved_at - begun
        return stop

    def report(self, learner: "Learner", begun: float) -> None:
        """Report the updates since `begun`, by the clock."""
        counted = [update.numbers for update in self.updates if not update.left_out]
        # After the numbers, which wait for the steps that a GPU has queued
        speed = len(self.updates) / (monotonic() - begun)
        validation = None
        if learner.due(self.recipe.validate_every_steps) and self.how.validation:
            with learner.with_mean(), kernels_of("float32"):
                validation = learner.objective.validate(learner.network, self.how.validation)
        means = {
            name: float(np.mean([numbers[name] for numbers in counted if name in numbers]))
            for name in sorted({name for numbers in counted for name in numbers})
        }
        entry: dict[str, Any] = {
            "stage": learner.index,
            "step": learner.step,
            "skipped": learner.skipped,
            "precision": learner.precision,
            "steps_per_second": speed,
            "crops_per_second": speed * learner.stage.batch,
            **means,
        }
        if validation is not None:
            entry["validation_loss"] = validation.loss
            entry["validation"] = [point._asdict() for point in validation.points]
        files.report(self.run.folder, entry)
        self.log(entry)


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])


class Update(NamedTuple):
    """Outcome of a step, on the device until it is read, which waits for the device."""

    left_out: Tensor | bool  # the loss or its gradient was not finite, or exploded
    values: Mapping[str, Tensor | float]

    @property
    def numbers(self) -> dict[str, float]:
        """Means over the batch."""
        return {name: float(value) for name, value in self.values.items()}


class Learner:
    """Training of a network in a stage, on the network's device."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        index: int,
        photographs: Photographs,
        folder: Path | None = None,
        graph: bool = True,
    ) -> None:
        """Begin the stage of that index; objectives keep files in the `folder` of the run.

        graph: whether to record steps of a GPU, where stage and optimiser allow it.
        """
        keep_freed_memory()
        self.network, self.index, self.stage = network, index, recipe.stages[index]
        self.step = 0
        # Steps that were left out, in all and the last in turn: tensors where steps stay unread.
        self._skipped: Tensor | int = 0
        self._gap: Tensor | int = 0
        self._recipe = recipe
        self._steps = steps = Optimisers()
        device, stage = next(network.parameters()).device, self.stage
        self._on_gpu = device.type == "cuda"
        setup = Setup(recipe, index, device, steps, photographs, folder)
        self.precision = precision_of(recipe, stage, device.type)
        # SOAP counts its steps on the processor, and waits for the GPU where it computes bases.
        kind, may_record = objective_class(stage.objective), graph and self._on_gpu
        may_record &= network.recordable and stage.optimiser == "adam"
        steps.recorded = may_record and kind.is_recordable(stage)
        self.objective: Objective = kind(stage, setup)
        _freeze(network, stage.frozen, self.objective.frozen)
        groups = {  # without what is frozen
            name: [weight for weight in weights if weight.requires_grad]
            for name, weights in network.parameter_groups().items()
        }
        self._auxiliary = groups.pop("quantiles", [])
        main = [
            {"params": weights, "factor": stage.prior_rate_factor if name == "prior" else 1.0}
            for name, weights in groups.items()
            if weights
        ]
        self._parameters = [weight for weights in groups.values() for weight in weights]
        make = steps.soap if stage.optimiser == "soap" else steps.adam
        self._optimisers = [make(main, stage.learning_rate)]
        if self._auxiliary:
            self._optimisers.append(steps.adam(self._auxiliary, stage.quantile_learning_rate))
        # No part holds a method of the learner: a cycle would leave it on the GPU once dropped.
        self._recorded = RecordedStep(device) if steps.recorded else None
        self._numbers = partial(recipe.crop_numbers, index)
        drawing = Drawing(photographs, stage.crop_px, recipe.seed, stage.reduced_share)
        self._crops: CropStream | DeviceCrops
        if DeviceCrops.fit(drawing, device):
            self._crops = DeviceCrops(drawing, self._numbers, device)
        else:
            self._crops = CropStream(drawing, self._numbers, stage.steps, device)
        named = {name: w for name, w in network.named_parameters() if w.requires_grad}
        self._averaged = named if recipe.ema else {}
        self._mean = {name: weight.detach().clone() for name, weight in self._averaged.items()}

    @property
    def skipped(self) -> int:
        """Steps of the stage that were left out; reading it waits for the device."""
        return int(self._skipped)

    def has_diverged(self) -> bool:
        """Return whether the last `LARGEST_GAP` steps were left out; a GPU is asked as seldom."""
        if self._on_gpu and self.step % LARGEST_GAP:
            return False
        return int(self._gap) >= LARGEST_GAP

    def due(self, every: int) -> bool:
        """Return whether it is time for what is done every so many steps, and at the end."""
        return self.step % every == 0 or self.step == self.stage.steps

    def update(self) -> Update:
        """Do a step: update the network, its auxiliary parameters, then the discriminators.

        On a GPU nothing is read back: the step is queued, and may not be done on return.
        """
        pixels = self._crops.take(self.step)
        with kernels_of(self.precision):
            # The noise in place of rounding.
            torch.manual_seed(_seed(self._recipe.seed, 3, self.index, self.step, 0))
            factor = self.stage.rate_factor(self.step)
            random = self.objective.random_inputs(self.step) if self._recorded else None
            if self._recorded is None or random is None:
                values, left_out = self._step(pixels, None, factor), self._steps.left_out
            else:
                inputs = pixels, random, torch.tensor(factor)
                outputs, left_out = self._recorded(self._recordable, *inputs)
                values = dict(zip(self._names, outputs.unbind(), strict=True))
            if self._on_gpu or not left_out:
                self._move_mean()
        self._skipped = self._skipped + left_out
        self._gap = (self._gap + 1) * left_out
        self.step += 1
        return Update(left_out, values)

    def _recordable(self, pixels: Tensor, random: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        values = self._step(pixels, random, factor)
        self._names = tuple(values)  # of every recorded step
        return torch.stack(list(values.values())), torch.as_tensor(self._steps.left_out)

    def _step(
        self, pixels: Tensor, random: Tensor | None, factor: float | Tensor
    ) -> dict[str, Any]:
        """Update all parameters, unless the step is left out; return numbers."""
        for group in self._optimisers[0].param_groups:
            self._steps.set_rate(group, self.stage.learning_rate * group["factor"] * factor)
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        crops = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        batch = Batch(crops, self._numbers(self.step), random)
        loss = self.objective.loss(self.network, batch, self.step)
        loss.total.backward()  # type: ignore[no-untyped-call]
        if self._auxiliary:
            self.network.auxiliary_loss().backward()  # type: ignore[no-untyped-call]
        named = {"loss": loss.total, **loss.numbers}
        values: dict[str, Any] = {name: of.detach().float() for name, of in named.items()}
        norm = nn.utils.clip_grad_norm_(self._parameters, self.stage.clip_norm or math.inf)
        self._steps.decide(norm, values["loss"])
        if not self._on_gpu and self._steps.left_out:
            return values
        for optimiser in self._optimisers:
            self._steps.step(optimiser)
        if loss.after_step is not None:
            values |= loss.after_step(factor)
        return values

    def _move_mean(self) -> None:
        """Move the mean of weights towards them; at the stage's end the network takes it over."""
        if self._mean:
            decay = min(self._recipe.ema, (1 + self.step) / (10 + self.step))
            weights = [weight.data for weight in self._averaged.values()]
            move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            move(list(self._mean.values()), weights, self.step)
            if self.step + 1 == self.stage.steps:
                self._take_over(self._mean)

    def _take_over(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._averaged.items():
            weight.data.copy_(values[name])

    @contextmanager
    def with_mean(self) -> Iterator[None]:
        """Have the network hold the mean of its weights, where the recipe asks for it."""
        kept = {name: weight.detach().clone() for name, weight in self._averaged.items()}
        self._take_over(self._mean)
        try:
            yield
        finally:
            self._take_over(kept)

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, network included."""
        states = [optimiser.state_dict() for optimiser in self._optimisers]
        return {
            "index": self.index,
            "step": self.step,
            "skipped": self.skipped,
            "network": self.network.state_dict(),
            "optimisers": states,
            "objective": self.objective.state(),
            **({"mean": self._mean} if self._mean else {}),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.step, self._skipped = state["step"], state["skipped"]
        self.network.load_state_dict(state["network"])
        for optimiser, kept in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
            self._steps.prepared(optimiser)
        self.objective.load_state(state["objective"])
        for name, mean in self._mean.items():
            mean.copy_(state["mean"][name])


def _freeze(network: Network, asked: tuple[str, ...], own: Any) -> None:
    """Freeze parts by name; raises `UsageError` for a part that the recipe asks for in vain."""
    parts = network.freezable()
    if unknown := set(asked) - parts.keys():
        raise UsageError(f"The recipe freezes {', '.join(sorted(unknown))}, which is no part.")
    network.requires_grad_(True)
    for name in parts.keys() & {*own, *asked}:
        for parameter in parts[name]:
            parameter.requires_grad_(False)


UNTIMED_STEPS = 5  # on a GPU, which allocates, chooses kernels and records in them; 1 on a CPU
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
        for _ in range(UNTIMED_STEPS if on_gpu else 1):
            learner.update().numbers  # noqa: B018 - waits for the device
        started, steps = perf_counter(), 0
        while steps < TIMED_STEPS and perf_counter() - started < TIMED_SECONDS:
            learner.update().numbers  # noqa: B018
            steps += 1
        seconds = (perf_counter() - started) / steps
        memory = torch.cuda.max_memory_allocated() if on_gpu else 0
        macs = counted.get_total_flops() / 2  # of convolutions: a product and a sum
        del learner, network  # before those of the next stage are made
        yield StageCost(stage.objective, stage.steps, memory, macs, seconds)
