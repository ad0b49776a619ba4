"""Updates of a network in a stage, random by generators that the step's number seeds."""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from baselines.neural.network import Network, keep_freed_memory
from baselines.neural.training.device_crops import crops_on
from baselines.neural.training.objective import Batch, Setup, StageObjective, StepGuard, kernels_of
from baselines.neural.training.photographs import Drawing, Photographs
from baselines.neural.training.recipe import Recipe, objective_class
from baselines.neural.training.workers import Workers
from benchmark.errors import UsageError

FIRST_STEPS = 3  # before the recording, in which libraries choose kernels and allocate


class RecordedStep:
    """A step that takes and returns tensors of a GPU, of the same shapes each time.

    Whatever else it reads or changes has to stay in the same memory. The first steps, and the one
    that is recorded, are steps like any other.
    """

    def __init__(self, step: Callable[..., tuple[Tensor, ...]], device: torch.device) -> None:
        self._step, self._device, self._done = step, device, 0
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()
        self._graph = torch.cuda.CUDAGraph()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Do the step with `inputs`, on any device; return a copy of its outputs."""
        if not self._done:
            self._inputs = tuple(torch.empty_like(value, device=self._device) for value in inputs)
        for kept, value in zip(self._inputs, inputs, strict=True):
            kept.copy_(value, non_blocking=True)
        self._done += 1
        if self._done <= FIRST_STEPS:
            return self._beside()
        if self._done == FIRST_STEPS + 1:
            with _fastest_kernels(), torch.cuda.graph(self._graph):
                self._outputs = self._step(*self._inputs)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)

    def _beside(self) -> tuple[Tensor, ...]:
        """Do the step in a stream of its own, as a recording needs of those before."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with _fastest_kernels(), torch.cuda.stream(stream), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of optimisers, that nothing is recorded
            outputs = self._step(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return outputs


@contextmanager
def _fastest_kernels() -> Iterator[None]:
    """Have cuDNN try its kernels, unless they are to be deterministic."""
    cudnn = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, not cudnn.deterministic
    try:
        yield
    finally:
        cudnn.benchmark = before


LARGEST_LOSS = 1e4  # a batch beyond it is left out, as published
COMPILING_PAYS_STEPS = 10_000  # of a stage: compiling takes 50 s, and saves 5 ms of a recorded step


class Update(NamedTuple):
    """Outcome of a step, on the device until it is read, which waits for the device."""

    left_out: Tensor | bool  # the loss or its gradient was not finite, or exploded
    values: Mapping[str, Tensor | float]

    @property
    def skipped(self) -> bool:
        """True where the step was left out: nothing was changed."""
        return bool(self.left_out)

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
        workers: Workers,
        folder: Path | None = None,
        guard: StepGuard | None = None,
        graph: bool = True,
    ) -> None:
        """Begin the stage of that index; objectives keep files in the `folder` of the run.

        graph: whether to record steps of a GPU, where stage and optimiser allow it.
        """
        keep_freed_memory()
        self.network, self.stage = network, recipe.stages[index]
        self.step = 0
        self._skipped: Tensor | int = 0
        self._recipe, self._index, self._workers = recipe, index, workers
        device = next(network.parameters()).device
        setup = Setup(recipe, index, device, workers, guard or StepGuard(), photographs, folder)
        self.precision = setup.precision_name
        # SOAP counts its steps on the processor, and waits for the GPU where it computes bases.
        alone = device.type == "cuda" and workers.count == 1 and self.stage.optimiser == "adam"
        setup.guard.recorded = graph and alone and self.stage.recordable
        self.objective: StageObjective = objective_class(self.stage.kind)(self.stage, setup)
        parts = network.freezable()
        unknown = set(self.stage.frozen) - parts.keys()
        if unknown:
            raise UsageError(f"The recipe freezes {', '.join(sorted(unknown))}, which is no part.")
        network.requires_grad_(True)
        for name in parts.keys() & {*self.objective.frozen, *self.stage.frozen}:
            for parameter in parts[name]:
                parameter.requires_grad_(False)
        factors = {"prior": self.stage.prior_rate_factor}
        main: list[dict[str, Any]] = []
        self._auxiliary: list[nn.Parameter] = []
        for name, parameters, auxiliary in network.parameter_groups():
            trained = [parameter for parameter in parameters if parameter.requires_grad]
            if auxiliary:
                self._auxiliary += trained
            elif trained:
                main.append({"params": trained, "factor": factors.get(name, 1.0)})
        self._parameters = [parameter for group in main for parameter in group["params"]]
        self._guard = setup.guard
        self._recorded = RecordedStep(self._recordable, device) if self._guard.recorded else None
        make = self._guard.soap if self.stage.optimiser == "soap" else self._guard.adam
        self._optimiser = make(main, self.stage.learning_rate)
        rate = self.stage.quantile_learning_rate
        self._auxiliary_optimiser = (
            self._guard.adam(self._auxiliary, rate) if self._auxiliary else None
        )
        self._part = self.stage.batch // workers.count
        crop = self.stage.crop_px, recipe.seed, self.stage.reduced_share
        drawing = Drawing(photographs, *crop)
        self._crops = crops_on(device, drawing, self._numbers, self.stage.steps)
        self._mean: dict[str, Tensor] = {}  # of weights, by name, with the recipe's `ema`
        if recipe.ema:
            named = network.named_parameters()
            self._mean = {k: v.detach().clone() for k, v in named if v.requires_grad}
        pays = self._recorded is None or self.stage.steps >= COMPILING_PAYS_STEPS
        self._forward: Any = _compiled(network, folder) if recipe.compiled and pays else network

    @property
    def skipped(self) -> int:
        """Steps of the stage that were left out; reading it waits for the device."""
        return int(self._skipped)

    def update(self) -> Update:
        """Do a step: update the network, its auxiliary parameters, then the discriminators.

        On a GPU nothing is read back: the step is queued, and may not be done on return.
        """
        pixels = self._crops.take(self.step)
        with kernels_of(self.precision):
            return self._update(pixels)

    def _update(self, pixels: Tensor) -> Update:
        # The noise in place of rounding.
        key = [self._recipe.seed, 3, self._index, self.step, self._workers.rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        factor = self.stage.rate_factor(self.step)
        draws = None if self._recorded is None else self.objective.draws(self.step)
        if self._recorded is None or draws is None:
            values, left_out = self._step(pixels, None, factor)
        else:
            outputs, left_out = self._recorded(pixels, draws, torch.tensor(factor))
            values = dict(zip(self._names, outputs.unbind(), strict=True))
        if left_out is not True:
            self._move_mean()
        self._skipped = self._skipped + left_out
        self.step += 1
        return Update(left_out, values)

    def _recordable(self, pixels: Tensor, draws: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        values, left_out = self._step(pixels, draws, factor)
        self._names = tuple(values)  # of every recorded step
        return torch.stack(list(values.values())), left_out

    def _step(
        self, pixels: Tensor, draws: Tensor | None, factor: float | Tensor
    ) -> tuple[dict[str, Any], Any]:
        """Update all parameters; return numbers, and whether the step was left out."""
        for group in self._optimiser.param_groups:
            self._guard.set_rate(group, self.stage.learning_rate * group["factor"] * factor)
        crops = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        self._optimiser.zero_grad()
        numbers, after_step = self._backward(crops, draws)
        if self._auxiliary_optimiser is not None:
            self._auxiliary_optimiser.zero_grad()
            self.network.auxiliary_loss().backward()  # type: ignore[no-untyped-call]
        trained = [*self._parameters, *self._auxiliary]
        means = self._workers.average(trained, torch.stack(list(numbers.values())))
        values: dict[str, Any] = dict(zip(numbers, means.unbind(), strict=True))
        norm = nn.utils.clip_grad_norm_(self._parameters, self.stage.clip_norm or math.inf)
        if not self._guard.counts(norm, values["loss"], LARGEST_LOSS):
            return values, True
        self._guard.step(self._optimiser)
        if self._auxiliary_optimiser is not None:
            self._guard.step(self._auxiliary_optimiser)
        for update in after_step:  # of a batch's parts in turn: the last takes the step
            values |= update(factor)
        return values, False if self._guard.left_out is None else self._guard.left_out

    def _backward(self, crops: Tensor, draws: Tensor | None) -> tuple[dict[str, Tensor], list[Any]]:
        """Compute gradients, of a batch's parts in turn; return numbers, and what follows."""
        numbers: dict[str, Tensor] = {}
        after: list[Any] = []
        parts = crops.chunk(self._recipe.accumulate)
        for index, part in enumerate(parts):
            start = index * len(part)
            seen = self._numbers(self.step)[start : start + len(part)]
            batch = Batch(part, self._workers.rank * self._part + start, seen, draws)
            loss = self.objective.loss(self._forward, batch, self.step)
            (loss.total / len(parts)).backward()  # type: ignore[no-untyped-call]
            for name, value in {"loss": loss.total, **loss.numbers}.items():
                share = value.detach().float() / len(parts)
                numbers[name] = numbers[name] + share if name in numbers else share
            if loss.after_step is not None:
                after.append(loss.after_step)
        return numbers, after

    def _move_mean(self) -> None:
        """Move the mean of weights towards them; at the stage's end the network takes it over."""
        if not self._mean:
            return
        named = dict(self.network.named_parameters())
        means, weights = list(self._mean.values()), [named[name].data for name in self._mean]
        decay = min(self._recipe.ema, (1 + self.step) / (10 + self.step))
        move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        move(means, weights, self.step)
        if self.step + 1 == self.stage.steps:
            for weight, mean in zip(weights, means, strict=True):
                weight.copy_(mean)

    @contextmanager
    def with_mean(self) -> Iterator[None]:
        """Have the network hold the mean of its weights, where the recipe asks for it."""
        named = dict(self.network.named_parameters())
        weights = [named[name].data for name in self._mean]
        kept = [weight.clone() for weight in weights]
        for weight, mean in zip(weights, self._mean.values(), strict=True):
            weight.copy_(mean)
        try:
            yield
        finally:
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, network included."""
        auxiliary = self._auxiliary_optimiser
        return {
            "index": self._index,
            "step": self.step,
            "skipped": self.skipped,
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "quantile_optimiser": None if auxiliary is None else auxiliary.state_dict(),
            "objective": self.objective.state(),
            **({"mean": self._mean} if self._mean else {}),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.step, self._skipped = state["step"], state["skipped"]
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._auxiliary_optimiser is not None:
            self._auxiliary_optimiser.load_state_dict(state["quantile_optimiser"])
            self._guard.prepared(self._auxiliary_optimiser)
        self._guard.prepared(self._optimiser)
        self.objective.load_state(state["objective"])
        for name, mean in self._mean.items():
            mean.copy_(state["mean"][name])

    def _numbers(self, step: int) -> range:
        before = self._recipe.crops_before(self._index)
        start = before + step * self.stage.batch + self._workers.rank * self._part
        return range(start, start + self._part)


def _compiled(network: nn.Module, folder: Path | None) -> Any:
    """Return the network compiled, by what the run's folder keeps of an earlier call."""
    if folder is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.absolute() / "compiled"))
    # A block is compiled for each size, again in the stage in float32; torch stops at eight.
    # With `mix_order_reduction`, torch 2.11 fails an assertion of its own on networks of this kind
    # on a GPU.
    options = {"triton.mix_order_reduction": False}
    return torch.compile(  # type: ignore[call-overload]  # of which torch declares too few
        network, options=options, recompile_limit=64
    )
