"""Optimisers of a stage and their steps: left out, in bfloat16, recorded for a GPU."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from baselines.neural.network import cudnn_flags, full_float32, has_bfloat16
from baselines.neural.training.recipe import Recipe, Stage
from benchmark.errors import UsageError

Optimiser = TypeVar("Optimiser", bound=torch.optim.Optimizer)
LARGEST_LOSS = 1e4  # a batch beyond it is left out, as published
FIRST_STEPS = 3  # before the recording, in which libraries choose kernels and allocate


class Optimisers:
    """Optimisers of a stage, which take or leave out a step together.

    On a GPU, Adam's fused kernel is given the answer as a tensor, as in torch's GradScaler, and
    changes nothing where it is 1: no step waits to read it.
    """

    def __init__(self) -> None:
        # Whether the present step is left out: on a GPU a float32 scalar, 1 where it is.
        self.left_out: Tensor | bool = False
        self.recorded = False  # whether steps become part of a CUDA graph

    def decide(self, norm: Tensor, loss: Tensor) -> None:
        """Leave the present step out unless gradient norm and loss are finite, the loss small."""
        good = torch.isfinite(norm) & (loss <= LARGEST_LOSS)
        self.left_out = not good if good.device.type == "cpu" else (~good).float()

    def adam(self, groups: Iterable[Any], learning_rate: float) -> torch.optim.Adam:
        """Return a fused Adam; on the CPU it takes a third of the unfused kernel's time."""
        return self.prepared(torch.optim.Adam(groups, learning_rate, fused=True))

    def soap(self, groups: Iterable[Any], learning_rate: float) -> torch.optim.Optimizer:
        """Return Adam in the eigenbases of Shampoo's preconditioners (Vyas et al., 2024)."""
        from pytorch_optimizer import SOAP

        betas, bases = (0.95, 0.99), {"precondition_frequency": 10, "max_precondition_dim": 256}
        return SOAP(groups, learning_rate, betas=betas, weight_decay=0.0, **bases)  # type: ignore[arg-type]

    def prepared(self, optimiser: Optimiser) -> Optimiser:
        """Have an Adam hold what a recorded step needs, whatever device its state comes from."""
        for group in optimiser.param_groups if isinstance(optimiser, torch.optim.Adam) else ():
            rate, group["capturable"] = float(group["lr"]), self.recorded
            group["lr"] = group["params"][0].new_full((), rate) if self.recorded else rate
        return optimiser

    def set_rate(self, group: dict[str, Any], rate: float | Tensor) -> None:
        """Set a group's learning rate, where steps are recorded in the tensor that they read."""
        group["lr"] = group["lr"].fill_(rate) if self.recorded else rate

    def step(self, optimiser: torch.optim.Optimizer, unused: Tensor | None = None) -> None:
        """Update the optimiser's parameters, unless the step is left out.

        unused: on a GPU, float32 scalar, 1 where nothing of the batch needs these parameters.
        """
        left_out = self.left_out
        if isinstance(left_out, Tensor) and isinstance(optimiser, torch.optim.Adam):
            both = left_out if unused is None else torch.maximum(left_out, unused)
            optimiser.found_inf, optimiser.grad_scale = both, None  # type: ignore[attr-defined]
        elif left_out:  # waits for a GPU, as SOAP does anyway
            return
        optimiser.step()


Precision = Literal["bfloat16", "float32"]


def precision_of(recipe: Recipe, stage: Stage, device: str) -> Precision:
    """Return the precision of a stage's convolutions in this process."""
    reduced = recipe.autocast and not stage.float32 and has_bfloat16(device)
    return "bfloat16" if reduced else "float32"


def kernels_of(precision: Precision) -> AbstractContextManager[None]:
    """Return the context of a step: full float32 on GPUs, unless it is in bfloat16."""
    return full_float32() if precision == "float32" else nullcontext()


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Have torch use kernels with the same bits in every call; raise `UsageError` without any."""
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


class RecordedStep:
    """Recording of a step that takes and returns tensors of a GPU, of the same shapes each time.

    Whatever else the step reads or changes has to stay in the same memory. The first steps, and the
    one that is recorded, are steps like any other. The step is an argument of each call: whoever
    has it as a method and keeps the recording would be in a cycle, and stay on the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._done = device, 0
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()
        self._graph = torch.cuda.CUDAGraph()

    def __call__(
        self, step: Callable[..., tuple[Tensor, ...]], *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        """Do the step with `inputs`, on any device; return a copy of its outputs.

        Other threads may allocate on the GPU or pin memory meanwhile.
        """
        if not self._done:
            self._inputs = tuple(torch.empty_like(value, device=self._device) for value in inputs)
        for kept, value in zip(self._inputs, inputs, strict=True):
            kept.copy_(value, non_blocking=True)
        self._done += 1
        if self._done <= FIRST_STEPS:  # in a stream of their own, as the recording needs of them
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with _fastest_kernels(), torch.cuda.stream(stream), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that nothing is recorded
                outputs = step(*self._inputs)
            torch.cuda.current_stream().wait_stream(stream)
            return outputs
        if self._done == FIRST_STEPS + 1:
            # In the mode "global" a reader that pins memory would break the recording.
            graph = torch.cuda.graph(self._graph, capture_error_mode="thread_local")
            with _fastest_kernels(), graph:
                self._outputs = step(*self._inputs)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)


def _fastest_kernels() -> AbstractContextManager[None]:
    """Have cuDNN try its kernels, unless they are to be deterministic."""
    return cudnn_flags(benchmark=not torch.backends.cudnn.deterministic)
