"""Training of a network through all stages of a recipe, in a folder that a later call resumes.

A killed run resumes from its last saved step, on the same kind of machine to the same weights. A
deadline or a signal ends it after a whole step, with everything saved. A network that has diverged
raises a `BenchError`. docs/training.md lists the files of the folder.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from baselines.neural.network import Network
from baselines.neural.training.learner import LARGEST_LOSS, Learner, Update
from baselines.neural.training.objective import Validation, deterministic_kernels, kernels_of
from baselines.neural.training.photographs import Photographs, draw_crops
from baselines.neural.training.recipe import Recipe, objective_class
from baselines.neural.training.run_folder import (
    BEST,
    JOURNAL,
    Journal,
    StateWriter,
    load_state,
    restoring,
    save_state,
)
from baselines.neural.training.workers import Workers
from benchmark.codec import Pixels
from benchmark.errors import BenchError

SAVE_EVERY_SECONDS = 60.0  # at least
COST = 0.01  # of the time, that training may wait for saves
ASK_EVERY_STEPS = 8  # of several processes, whether to stop
INITIAL_CROPS, INITIAL_SIDE_PX = 64, 128
LARGEST_GAP = 100  # steps left out in turn: not a hard batch, but a network beyond help

Log = Callable[[Mapping[str, Any]], None]  # takes an entry of the journal


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of a call of the trainer, which do not decide what is learned."""

    validation: Sequence[Pixels] = ()  # photographs, uint8 (height, width, 3)
    device: str = "auto"
    deadline: float | None = None  # on the clock of `monotonic`, the same in all processes
    deterministic: bool = False  # kernels that give the same bits in every call, or none
    graph: bool = True  # record steps of a GPU, where stage and optimiser allow it
    # Beside the ends of stages, states are saved so often, None: as costs at most a percent of the
    # time; and every so many steps for good, 0: none.
    save_minutes: float | None = None
    milestone_steps: int = 0
    log: Callable[[Path, Recipe], Log] | None = None  # called in the process that reports
    data_name: str = ""  # of the photographs, for cards; empty: unknown
    command: str = ""  # that makes the same networks, for cards; empty: unknown


class TrainingRequest(NamedTuple):
    """A network to train in a run's folder, and the conditions."""

    recipe: Recipe
    run: Path
    make: Callable[[], Network]  # not initialised
    photographs: Photographs
    conditions: Conditions
    start: Callable[[Network], None] | None = None  # sets weights, in place of start values


def run_request(workers: Workers, request: TrainingRequest) -> None:
    """Train all stages, from wherever the run is, in each of the processes."""
    loop = _TrainingLoop(workers, request)

    def stop(_number: int, _frame: FrameType | None) -> None:
        loop.asked_to_stop = True

    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, stop) for number in signals}
    try:
        with deterministic_kernels(request.conditions.deterministic):
            loop.go()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def first_crops(recipe: Recipe, photographs: Photographs) -> Tensor:
    """Return crops for start values, which no stage sees, (n, 3, h, w) in [-1, 1]."""
    total = recipe.crops_before(len(recipe.stages))
    place = INITIAL_SIDE_PX, range(total, total + INITIAL_CROPS), recipe.seed
    return draw_crops(photographs, *place).float() / 127.5 - 1


class _TrainingLoop:
    def __init__(self, workers: Workers, request: TrainingRequest) -> None:
        self.workers, self.request, self.recipe = workers, request, request.recipe
        self.conditions = request.conditions
        self.asked_to_stop = False
        self.journal = Journal(request.run / JOURNAL)
        self.writer = StateWriter(request.run) if workers.leads else None
        log = self.conditions.log
        self.log = log(request.run, self.recipe) if workers.leads and log else None
        self.steps = 0  # of this call
        self.device = torch.device(self.conditions.device)
        self.updates: list[Update] = []  # since the last report, unread: reading waits for a GPU
        self.best = float("inf")
        self.precision_steps: dict[str, int] = {}  # of the run, in each precision
        self.deterministic_steps = 0  # of the run, with deterministic kernels

    def go(self) -> None:
        saved = load_state(self.request.run, self.device)
        torch.manual_seed(self.recipe.seed)  # all processes start from the same weights
        network = self.request.make()
        first = 0
        if saved is None:
            self._initialise(network)
            if self.workers.leads:
                self.journal.cut(0, 0)
        else:
            with restoring(self.request.run):
                first = range(len(self.recipe.stages) + 1)[saved["index"]]
        layout = {"memory_format": torch.channels_last, "non_blocking": True}
        network = network.to(self.device, **layout)  # type: ignore[call-overload]
        self.workers.share(network)
        for index in range(first, len(self.recipe.stages)):
            if saved is None and self.recipe.initialise == "random" and not self.request.start:
                self._begin(network, index)
            inputs = self.request.photographs, self.workers, self.request.run
            learner = Learner(network, self.recipe, index, *inputs, graph=self.conditions.graph)
            self.best = float("inf")
            if saved is not None:
                with restoring(self.request.run):
                    learner.load_state(saved)
                    self.best = saved["best"]
                    self.precision_steps = saved["precision_steps"]
                    self.deterministic_steps = saved.get("deterministic_steps", 0)
                    self.updates = [Update(False, each) for each in saved.get("updates", ())]
                if self.workers.leads:
                    self.journal.cut(index, learner.step)
                saved = None
            if self._learn(learner, index):
                return

    def _initialise(self, network: Network) -> None:
        if self.request.start is not None:
            self.request.start(network)
        elif self.recipe.initialise == "pca":
            crops = first_crops(self.recipe, self.request.photographs)
            network.initialise(crops, self.recipe.stages[0].lambdas)

    def _begin(self, network: Network, index: int) -> None:
        """Set start values of parts that no stage before has trained, alike in all processes."""
        trained = [
            network.freezable().keys() - {*objective_class(stage.kind).frozen, *stage.frozen}
            for stage in self.recipe.stages[: index + 1]
        ]
        key = [self.recipe.seed, 4, index]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        network.begin(trained[-1].difference(*trained[:-1]))

    def _learn(self, learner: Learner, index: int) -> bool:
        """Train to the end of the stage; true where all processes agreed to stop earlier."""
        saved_at = reported_at = monotonic()
        save_seconds, steps = 0.0, 0
        minutes, every = self.conditions.save_minutes, self.conditions.milestone_steps
        before = self.recipe.steps_before(index)
        gap: Tensor | int = 0  # a tensor where reading it would wait for a GPU
        stop = False
        while learner.step < learner.stage.steps and not stop:
            update = learner.update()
            gap = (gap + 1) * update.left_out
            read = isinstance(gap, int) or learner.step % LARGEST_GAP == 0
            if read and int(gap) >= LARGEST_GAP:
                raise BenchError(
                    f"{self.request.run}: the network has diverged: the last {LARGEST_GAP} steps, "
                    f"up to step {learner.step} of stage {index + 1}, were left out, for a loss "
                    f"that was not finite or above {LARGEST_LOSS:g} or a gradient that was not "
                    "finite; train again in a new folder at a learning rate below "
                    f"{learner.stage.learning_rate:g}"
                )
            done = self.precision_steps.get(learner.precision, 0)
            self.precision_steps[learner.precision] = done + 1
            self.deterministic_steps += self.conditions.deterministic
            self.updates.append(update)
            steps += 1
            stop = self._has_to_stop()
            last = learner.step == learner.stage.steps
            intervals = (self.recipe.report_every_steps, self.recipe.validate_every_steps)
            due = any(_due(learner, every) for every in intervals)
            if stop or due:
                self._report(learner, index, steps, monotonic() - reported_at)
                reported_at, steps = monotonic(), 0
                self.updates = [] if due else self.updates  # else for the report that is due
            milestone = before + learner.step
            kept = milestone if every and milestone % every == 0 else None
            by_cost = max(SAVE_EVERY_SECONDS, save_seconds / COST)
            least = by_cost if minutes is None else 60 * minutes
            begun = monotonic()
            if self.writer and (stop or last or kept is not None or begun - saved_at > least):
                self.writer.begin(self._state(learner), kept)
                saved_at = monotonic()
                save_seconds = saved_at - begun
        if self.writer:
            self.writer.finish()
        self.workers.wait()
        return stop

    def _has_to_stop(self) -> bool:
        self.steps += 1
        if self.workers.count > 1 and self.steps % ASK_EVERY_STEPS:
            return False
        deadline = self.conditions.deadline
        over = deadline is not None and monotonic() > deadline
        return self.workers.ask(self.asked_to_stop or over)

    def _report(self, learner: Learner, index: int, steps: int, seconds: float) -> None:
        validation = None
        if _due(learner, self.recipe.validate_every_steps) and self.conditions.validation:
            validation = self._validate(learner)
        counted = self._counted()
        if not self.workers.leads:
            return
        means = {
            name: float(np.mean([numbers[name] for numbers in counted if name in numbers]))
            for name in sorted({name for numbers in counted for name in numbers})
        }
        entry: dict[str, Any] = {
            "stage": index,
            "step": learner.step,
            "skipped": learner.skipped,
            "precision": learner.precision,
            "steps_per_second": steps / seconds,
            "crops_per_second": steps * learner.stage.batch / seconds,
            **means,
        }
        if validation is not None:
            entry["validation_loss"] = validation.loss
            entry["validation"] = [point._asdict() for point in validation.points]
            entry |= {f"validation_{name}": value for name, value in validation.numbers.items()}
        self.journal.append(entry)
        if self.log:
            self.log(entry)

    def _counted(self) -> list[dict[str, float]]:
        return [update.numbers for update in self.updates if not update.skipped]

    def _validate(self, learner: Learner) -> Validation | None:
        validation = None
        if self.workers.leads:
            with learner.with_mean(), kernels_of("float32"):
                validation = learner.objective.validate(learner.network, self.conditions.validation)
                if validation is not None and validation.selects and validation.loss < self.best:
                    self.best = validation.loss
                    state = learner.state()
                    kept = {name: state[name] for name in ("index", "step", "network")}
                    save_state(self.request.run, kept, BEST)
        self.workers.wait()
        return validation

    def _state(self, learner: Learner) -> dict[str, Any]:
        on_gpu = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if on_gpu else self.device.type
        more = {"best": self.best, "precision_steps": self.precision_steps, "device": name}
        more["updates"] = self._counted()
        more["deterministic_steps"] = self.deterministic_steps
        return {**learner.state(), **more}


def _due(learner: Learner, every: int) -> bool:
    return learner.step % every == 0 or learner.step == learner.stage.steps
