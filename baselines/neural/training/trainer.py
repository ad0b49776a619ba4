"""Train a network through all stages of a recipe, in a folder from which the run can resume.

A killed run resumes from its last saved step and, on the same kind of machine, gives the same
weights, since the number of a step determines all randomness. At a deadline or signal, a run ends
after the current step, and saves it. A network that diverges raises a `BenchError`.
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
from baselines.neural.training.objective import Batch, Loss, Objective, Setup
from baselines.neural.training.optimisers import (
    MAX_LOSS,
    Optimisers,
    RecordedStep,
    deterministic_kernels,
    kernels_of,
    precision_of,
)
from baselines.neural.training.options import Log, TrainingOptions
from baselines.neural.training.photographs import (
    CropSampler,
    CropStream,
    DeviceCrops,
    PhotographSet,
    draw_crops,
    open_photographs,
    photograph_paths,
)
from baselines.neural.training.recipe import Recipe, objective_class
from baselines.neural.training.run import TrainingRun
from benchmark.errors import FOREIGN_ERRORS, BenchError, Unavailable, UsageError
from benchmark.plugins import author_failure
from benchmark.registry import is_python_file
from benchmark.system.atomic import handle_signals

OnBegin = Callable[[int, int], None]
FINISHED, OUT_OF_TIME, INTERRUPTED = "finished", "the time is up", "interrupted"
MIN_SAVE_INTERVAL = 60.0  # seconds
MAX_SAVE_SHARE = 0.01  # maximum share of the time for saving
INITIAL_CROPS, INITIAL_SIDE_PX = 64, 128
MAX_SMALL_WEIGHTS = 2_000_000  # number of weights below which a network is small, like `micro`
MAX_SKIPPED = 100  # after so many consecutive skipped steps, the network has diverged


def train(run: TrainingRun, options: TrainingOptions, on_begin: OnBegin | None = None) -> str:
    """Begin or resume the run; return why it ended: `FINISHED`, `OUT_OF_TIME` or `INTERRUPTED`.

    on_begin: called after all checks with the number of saved and the number of reported steps.
    Raises `UsageError` if the folder is in use, not writable or of another run, photographs are
    missing, or an operation has no deterministic kernel; `Unavailable` without device or weights.
    """
    for stage in run.recipe.stages:
        stage.find_resources()  # fails now, not when the stage begins, hours later
    try:
        with files.lock_folder(run):
            try:
                was_interrupted = _check_and_train(run, options, on_begin)
            except KeyboardInterrupt:
                return INTERRUPTED  # before the first step, with no state changed
            if run.steps_reported() == run.recipe.steps:
                return FINISHED
            return INTERRUPTED if was_interrupted else OUT_OF_TIME
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{error.filename or run.folder} cannot be used: {reason}") from error


def _check_and_train(run: TrainingRun, options: TrainingOptions, on_begin: OnBegin | None) -> bool:
    options = replace(options, device=device_of(options.device))
    for height, width, _ in (pixels.shape for pixels in options.validation):
        if min(height, width) < BLOCK:
            raise UsageError(
                f"a photograph for validation has {width} x {height} px, but needs {BLOCK} px a "
                "side: leave it out"
            )
    paths = [path for path in photograph_paths(options.data) if path not in options.held_out]
    files.copy_predecessor(run)
    files.write_record(run, options, paths)
    files.require_disk_space(run.folder, run.build())
    for index, stage in enumerate(run.recipe.stages):
        if is_python_file(stage.objective):
            _require_working_loss(run, index, options)
    if on_begin:
        on_begin(run.steps_saved(), run.steps_reported())
    return train_stages(run, options, open_photographs(paths))


def _require_working_loss(run: TrainingRun, index: int, options: TrainingOptions) -> None:
    # tries a user's loss now, not hours later, after the earlier stages
    stage, network = run.recipe.stages[index], run.build()
    kind = objective_class(stage.objective)
    crops = torch.rand(2, 3, stage.crop_px, stage.crop_px) * 2 - 1
    try:
        objective = kind(stage, Setup(run.recipe, index, torch.device("cpu")))
        loss = objective.loss(network, Batch(crops), 0)
        if not isinstance(loss, Loss) or loss.total.ndim or not loss.total.requires_grad:
            raise TypeError("loss() must return a Loss whose total is a scalar with a gradient")
        loss.total.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        if not all(tensor.isfinite().all() for tensor in (loss.total, *gradients)):
            raise ValueError("the loss or its gradient is not finite")
        if options.validation:
            objective.validate(network, options.validation[:1])
    except BenchError:
        raise
    except FOREIGN_ERRORS as error:
        raise author_failure(stage.objective, kind, "a step", error) from error


def device_of(device: str) -> str:
    """Return the device to train on, "cpu" or "cuda"; raises `Unavailable`."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("torch cannot use a GPU on this machine: leave out --device cuda")
    return "cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda"


def first_crops(recipe: Recipe, photographs: PhotographSet) -> Tensor:
    """Return crops (n, 3, h, w) in [-1, 1] for initial values; no stage uses these crops."""
    total = recipe.crops_before(len(recipe.stages))
    numbers = range(total, total + INITIAL_CROPS)
    return draw_crops(photographs, INITIAL_SIDE_PX, numbers, recipe.seed).float() / 127.5 - 1


def train_stages(run: TrainingRun, options: TrainingOptions, photographs: PhotographSet) -> bool:
    """Train the remaining steps of all stages; return whether a signal ended the training."""
    loop, threads = _Loop(run, options), _limit_threads(run.build(), options.device)
    with handle_signals(loop.request_stop), deterministic_kernels(options.deterministic), threads:
        loop.train(photographs)
    return loop.stop_requested


@contextmanager
def _limit_threads(network: Network, device: str) -> Iterator[None]:
    # the layers of a small network are so short that several threads are slower than one
    previous_threads = torch.get_num_threads()
    num_weights = sum(weight.numel() for weight in network.parameters())
    if device == "cpu" and num_weights < MAX_SMALL_WEIGHTS and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(previous_threads)


class _Loop:
    def __init__(self, run: TrainingRun, options: TrainingOptions) -> None:
        self.run, self.options, self.recipe = run, options, run.recipe
        self.device = torch.device(options.device)
        on_gpu = self.device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(self.device) if on_gpu else options.device
        self.stop_requested = False
        self.updates: list[Update] = []  # updates since the last report; reading waits for a GPU
        self.precision_steps: dict[str, int] = {}  # steps of the whole run, by precision
        for draft in run.folder.glob(".*.part"):  # left by a process that was killed while writing
            draft.unlink(missing_ok=True)
        self.log: Log = (
            options.log(run.folder, self.recipe) if options.log else lambda _report: None
        )

    def request_stop(self, *_signal: object) -> None:
        self.stop_requested = True

    def train(self, photographs: PhotographSet) -> None:
        saved_state = files.load_state(self.run.folder, self.device)
        torch.manual_seed(self.recipe.seed)
        network, first_index = self.run.build(), 0
        if saved_state is not None:
            with files.restoring(self.run.folder):
                first_index = range(len(self.recipe.stages) + 1)[saved_state["index"]]
        else:
            if self.run.start is not None:
                self.run.load_start(network)
            elif self.recipe.initialise == "pca":
                crops = first_crops(self.recipe, photographs)
                network.initialise(crops, self.recipe.stages[0].lambdas)
            files.truncate_journal(self.run.folder, 0, 0)
        layout = {"memory_format": torch.channels_last, "non_blocking": True}
        network = network.to(self.device, **layout)  # type: ignore[call-overload]
        is_random_start = self.recipe.initialise == "random" and self.run.start is None
        for index in range(first_index, len(self.recipe.stages)):
            if saved_state is None and is_random_start:
                trained_parts = [  # by stage; parts that no earlier stage trained are initialised
                    network.freezable_parts().keys()
                    - {*objective_class(stage.objective).frozen, *stage.frozen}
                    for stage in self.recipe.stages[: index + 1]
                ]
                torch.manual_seed(_seed(self.recipe.seed, 4, index))
                network.initialise_parts(trained_parts[-1].difference(*trained_parts[:-1]))
            crops_and_folder = photographs, self.run.folder
            graph = not self.options.no_graph
            learner = Learner(network, self.recipe, index, *crops_and_folder, graph=graph)
            if saved_state is not None:
                with files.restoring(self.run.folder):
                    learner.load_state(saved_state)
                    self.precision_steps = saved_state["precision_steps"]
                files.truncate_journal(self.run.folder, index, learner.step)
                saved_state = None
            was_stopped = self.train_stage(learner)
            del learner  # frees a GPU's memory for the next stage
            if was_stopped:
                return

    def train_stage(self, learner: "Learner") -> bool:
        """Train until the stage ends; return whether training was stopped before that."""
        saved_at = reported_at = monotonic()
        save_seconds, stop = 0.0, False
        milestone_steps = self.options.milestone_steps
        while learner.step < learner.stage.steps and not stop:
            self.updates.append(learner.update())
            if learner.has_diverged():
                raise BenchError(
                    f"{self.run.folder}: the network has diverged: {MAX_SKIPPED} steps in a row, "
                    f"up to step {learner.step} of stage {learner.index + 1}, had a loss above "
                    f"{MAX_LOSS:g}, or a loss or gradient that is not finite; train again in a "
                    f"new folder with a learning rate below {learner.stage.learning_rate:g}"
                )
            steps = self.precision_steps.get(learner.precision, 0)
            self.precision_steps[learner.precision] = steps + 1
            stop = self.stop_requested or self.options.is_out_of_time
            is_report_due = learner.is_due(self.recipe.report_every_steps)
            is_report_due |= learner.is_due(self.recipe.validate_every_steps)
            if stop or is_report_due:
                self.report(learner, reported_at)
                reported_at, self.updates = monotonic(), []
            run_step = self.recipe.total_step(learner.index, learner.step)
            is_milestone = milestone_steps > 0 and run_step % milestone_steps == 0
            is_save_due = monotonic() - saved_at > max(
                MIN_SAVE_INTERVAL, save_seconds / MAX_SAVE_SHARE
            )
            is_last = learner.step == learner.stage.steps
            if stop or is_last or is_milestone or is_save_due:
                save_start = monotonic()
                state = learner.state() | {"precision_steps": self.precision_steps}
                state["device"] = self.device_name
                milestone = run_step if is_milestone else None
                files.save_state(self.run.folder, state, milestone)
                saved_at = monotonic()
                save_seconds = saved_at - save_start
        return stop

    def report(self, learner: "Learner", start: float) -> None:
        """Report the updates since `start`, a time of the monotonic clock."""
        step_numbers = [update.numbers for update in self.updates if not update.skipped]
        # the clock is read after the numbers, since reading them waits for queued steps of a GPU
        steps_per_second = len(self.updates) / (monotonic() - start)
        validation = None
        if learner.is_due(self.recipe.validate_every_steps) and self.options.validation:
            with learner.averaged_weights(), kernels_of("float32"):
                validation = learner.objective.validate(learner.network, self.options.validation)
        means = {
            name: float(np.mean([numbers[name] for numbers in step_numbers if name in numbers]))
            for name in sorted({name for numbers in step_numbers for name in numbers})
        }
        entry: dict[str, Any] = {
            "stage": learner.index,
            "step": learner.step,
            "skipped": learner.skipped,
            "precision": learner.precision,
            "steps_per_second": steps_per_second,
            "crops_per_second": steps_per_second * learner.stage.batch,
            **means,
        }
        if validation is not None:
            entry["validation_loss"] = validation.loss
            entry["validation"] = [point._asdict() for point in validation.points]
        files.append_report(self.run.folder, entry)
        self.log(entry)


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])


class Update(NamedTuple):
    """Outcome of a step; values stay on the device until they are read."""

    skipped: Tensor | bool  # whether the loss is too large, or loss or gradient not finite
    values: Mapping[str, Tensor | float]

    @property
    def numbers(self) -> dict[str, float]:
        """Values by name, averaged over the batch; reading them waits for a GPU."""
        return {name: float(value) for name, value in self.values.items()}


class Learner:
    """Training of a network in one stage, on the network's device."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        index: int,
        photographs: PhotographSet,
        folder: Path | None = None,
        graph: bool = True,
    ) -> None:
        """Begin a stage. graph: capture steps as a CUDA graph, if network and stage allow it."""
        keep_freed_memory()
        self.network, self.index, self.stage = network, index, recipe.stages[index]
        self.step = 0
        # Number of skipped steps, in total and consecutively up to now; on a GPU, tensors
        self._skipped: Tensor | int = 0
        self._consecutively_skipped: Tensor | int = 0
        self._recipe = recipe
        self._steps = steps = Optimisers()
        device, stage = next(network.parameters()).device, self.stage
        self._on_gpu = device.type == "cuda"
        setup = Setup(recipe, index, device, steps, photographs, folder)
        self.precision = precision_of(recipe, stage, device.type)
        # SOAP counts steps on the CPU and waits for bases from the GPU, so it cannot be captured
        kind, may_record = objective_class(stage.objective), graph and self._on_gpu
        may_record &= network.recordable and stage.optimiser == "adam"
        steps.recorded = may_record and kind.is_recordable(stage)
        self.objective: Objective = kind(stage, setup)
        _freeze(network, stage.frozen, self.objective.frozen)
        groups = {  # excludes frozen parameters
            name: [weight for weight in weights if weight.requires_grad]
            for name, weights in network.parameter_groups().items()
        }
        self._auxiliary_parameters = groups.pop("quantiles", [])
        main_groups = [
            {"params": weights, "factor": stage.prior_rate_factor if name == "prior" else 1.0}
            for name, weights in groups.items()
            if weights
        ]
        self._parameters = [weight for weights in groups.values() for weight in weights]
        make_optimiser = steps.soap if stage.optimiser == "soap" else steps.adam
        self._optimisers = [make_optimiser(main_groups, stage.learning_rate)]
        if self._auxiliary_parameters:
            rate = stage.quantile_learning_rate
            self._optimisers.append(steps.adam(self._auxiliary_parameters, rate))
        # No attribute may be a method of the learner, since a cycle would keep its GPU memory alive
        self._recorded_step = RecordedStep(device) if steps.recorded else None
        self._crop_numbers = partial(recipe.crop_numbers, index)
        sampler = CropSampler(photographs, stage.crop_px, recipe.seed, stage.reduced_share)
        self._crops: CropStream | DeviceCrops
        if DeviceCrops.can_hold(sampler, device):
            self._crops = DeviceCrops(sampler, self._crop_numbers, device)
        else:
            self._crops = CropStream(sampler, self._crop_numbers, stage.steps, device)
        trainable = {name: w for name, w in network.named_parameters() if w.requires_grad}
        self._averaged = trainable if recipe.ema else {}  # weights whose moving average is kept
        self._mean = {name: weight.detach().clone() for name, weight in self._averaged.items()}

    @property
    def skipped(self) -> int:
        """Number of skipped steps of the stage; reading it waits for the device."""
        return int(self._skipped)

    def has_diverged(self) -> bool:
        """Return whether the last `MAX_SKIPPED` steps were skipped; a GPU is asked rarely."""
        if self._on_gpu and self.step % MAX_SKIPPED:
            return False
        return int(self._consecutively_skipped) >= MAX_SKIPPED

    def is_due(self, interval: int) -> bool:
        """Return whether the step is a multiple of `interval`, or the last of the stage."""
        return self.step % interval == 0 or self.step == self.stage.steps

    def update(self) -> Update:
        """Do a training step; on a GPU, only queue it."""
        # updates the network, then its auxiliary parameters, then discriminators
        pixels = self._crops.take(self.step)
        with kernels_of(self.precision):
            # the seed of the noise that replaces rounding
            torch.manual_seed(_seed(self._recipe.seed, 3, self.index, self.step, 0))
            factor = self.stage.rate_factor(self.step)
            random = self.objective.random_inputs(self.step) if self._recorded_step else None
            if self._recorded_step is None or random is None:
                values, skipped = self._update_parameters(pixels, None, factor), self._steps.skipped
            else:
                inputs = pixels, random, torch.tensor(factor)
                outputs, skipped = self._recorded_step(self._step_as_tensors, *inputs)
                values = dict(zip(self._names, outputs.unbind(), strict=True))
            if self._on_gpu or not skipped:
                self._move_mean()
        self._skipped = self._skipped + skipped
        self._consecutively_skipped = (self._consecutively_skipped + 1) * skipped
        self.step += 1
        return Update(skipped, values)

    def _step_as_tensors(
        self, pixels: Tensor, random: Tensor, factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        values = self._update_parameters(pixels, random, factor)
        self._names = tuple(values)  # the same in every recorded step
        return torch.stack(list(values.values())), torch.as_tensor(self._steps.skipped)

    def _update_parameters(
        self, pixels: Tensor, random: Tensor | None, factor: float | Tensor
    ) -> dict[str, Any]:
        for group in self._optimisers[0].param_groups:
            self._steps.set_rate(group, self.stage.learning_rate * group["factor"] * factor)
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        crops = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        batch = Batch(crops, self._crop_numbers(self.step), random)
        loss = self.objective.loss(self.network, batch, self.step)
        loss.total.backward()  # type: ignore[no-untyped-call]
        if self._auxiliary_parameters:
            self.network.auxiliary_loss().backward()  # type: ignore[no-untyped-call]
        scalars = {"loss": loss.total, **loss.numbers}
        values: dict[str, Any] = {name: s.detach().float() for name, s in scalars.items()}
        norm = nn.utils.clip_grad_norm_(self._parameters, self.stage.clip_norm or math.inf)
        self._steps.decide(norm, values["loss"])
        if not self._on_gpu and self._steps.skipped:
            return values
        for optimiser in self._optimisers:
            self._steps.step(optimiser)
        if loss.after_step is not None:
            values |= loss.after_step(factor)
        return values

    def _move_mean(self) -> None:
        if self._mean:
            decay = min(self._recipe.ema, (1 + self.step) / (10 + self.step))
            weights = [weight.data for weight in self._averaged.values()]
            update_means = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            update_means(list(self._mean.values()), weights, self.step)
            if self.step + 1 == self.stage.steps:  # after the last step the network gets the mean
                self._set_weights(self._mean)

    def _set_weights(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._averaged.items():
            weight.data.copy_(values[name])

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Use the moving average of weights in this context, if the recipe keeps one."""
        weights = {name: weight.detach().clone() for name, weight in self._averaged.items()}
        self._set_weights(self._mean)
        try:
            yield
        finally:
            self._set_weights(weights)

    def state(self) -> dict[str, Any]:
        """Return the state of training, including that of the network."""
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
        for optimiser, optimiser_state in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(optimiser_state)
            self._steps.prepare(optimiser)
        self.objective.load_state(state["objective"])
        for name, mean in self._mean.items():
            mean.copy_(state["mean"][name])


def _freeze(network: Network, recipe_parts: tuple[str, ...], objective_parts: Any) -> None:
    parts = network.freezable_parts()
    if unknown_parts := set(recipe_parts) - parts.keys():
        listed = ", ".join(sorted(unknown_parts))
        raise UsageError(f"the recipe freezes {listed}, but the network only has {[*parts]}")
    network.requires_grad_(True)
    for name in parts.keys() & {*objective_parts, *recipe_parts}:
        for parameter in parts[name]:
            parameter.requires_grad_(False)


UNTIMED_STEPS = 5  # a GPU first allocates memory, chooses kernels, captures a graph; CPU: 1
MAX_TIMED_STEPS, MAX_TIMED_SECONDS = 20, 20.0  # no step begins after this time


class StageCost(NamedTuple):
    """Memory, work and time of a stage."""

    objective: str
    steps: int
    memory_bytes: int  # peak memory of tensors on a GPU; 0 on a CPU
    macs: float  # multiply-accumulates per step of all networks, forward and backward
    seconds: float  # per step


def stage_costs(run: TrainingRun, device: str, photographs: PhotographSet) -> Iterator[StageCost]:
    """Measure the cost of a run's stages; raises the errors of training."""
    recipe, on_gpu = run.recipe, device != "cpu"
    for index, stage in enumerate(recipe.stages):
        network = run.build()
        if recipe.initialise == "pca":  # also fits the base codec that some measured steps need
            network.initialise(first_crops(recipe, photographs), recipe.stages[0].lambdas)
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with FlopCounterMode(display=False) as flops:  # counts nothing in a CUDA graph
            Learner(network, recipe, index, photographs, graph=False).update()
        learner = Learner(network, recipe, index, photographs)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(UNTIMED_STEPS if on_gpu else 1):
            learner.update().numbers  # noqa: B018 - waits for the device
        start, steps = perf_counter(), 0
        while steps < MAX_TIMED_STEPS and perf_counter() - start < MAX_TIMED_SECONDS:
            learner.update().numbers  # noqa: B018
            steps += 1
        seconds = (perf_counter() - start) / steps
        memory_bytes = torch.cuda.max_memory_allocated() if on_gpu else 0
        macs = flops.get_total_flops() / 2  # a multiply-accumulate is two operations
        del learner, network  # frees memory before the next stage makes its own
        yield StageCost(stage.objective, stage.steps, memory_bytes, macs, seconds)
