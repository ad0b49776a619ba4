"""Optimisers of a stage, with skipped steps; precision; steps captured as a CUDA graph."""

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
MAX_LOSS = 1e4  # a step with a larger loss is skipped, as published
WARM_UP_STEPS = 3  # before the capture, for libraries to choose kernels and allocate memory


class Optimisers:
    """Optimisers of a stage; either all of them update at a step, or all skip the step."""

    # On a GPU, Adam's fused kernel reads from a tensor whether to skip, as with torch's GradScaler,
    # so that no step waits for the GPU.

    def __init__(self) -> None:
        # Whether to skip the current step; on a GPU a float32 scalar, 1 to skip
        self.skipped: Tensor | bool = False
        self.recorded = False  # whether steps are captured as a CUDA graph

    def decide(self, norm: Tensor, loss: Tensor) -> None:
        """Set `skipped` unless gradient norm and loss are finite and the loss is small."""
        is_valid = torch.isfinite(norm) & (loss <= MAX_LOSS)
        self.skipped = not is_valid if is_valid.device.type == "cpu" else (~is_valid).float()

    def adam(self, groups: Iterable[Any], learning_rate: float) -> torch.optim.Adam:
        """Return a fused Adam, three times as fast on the CPU as without fusion."""
        return self.prepare(torch.optim.Adam(groups, learning_rate, fused=True))

    def soap(self, groups: Iterable[Any], learning_rate: float) -> torch.optim.Optimizer:
        """Return Adam in the eigenbases of Shampoo's preconditioners (Vyas et al., 2024)."""
        from pytorch_optimizer import SOAP

        betas, bases = (0.95, 0.99), {"precondition_frequency": 10, "max_precondition_dim": 256}
        return SOAP(groups, learning_rate, betas=betas, weight_decay=0.0, **bases)  # type: ignore[arg-type]

    def prepare(self, optimiser: Optimiser) -> Optimiser:
        """Prepare an optimiser, new or loaded, for captured or other steps; return it."""
        for group in optimiser.param_groups if isinstance(optimiser, torch.optim.Adam) else ():
            rate, group["capturable"] = float(group["lr"]), self.recorded
            group["lr"] = group["params"][0].new_full((), rate) if self.recorded else rate
        return optimiser

    def set_rate(self, group: dict[str, Any], rate: float | Tensor) -> None:
        """Set a group's learning rate, in place if a captured step reads the rate."""
        group["lr"] = group["lr"].fill_(rate) if self.recorded else rate

    def step(self, optimiser: torch.optim.Optimizer, is_unused: Tensor | None = None) -> None:
        """Update the optimiser's parameters, unless the step is skipped."""
        skipped = self.skipped
        if isinstance(skipped, Tensor) and isinstance(optimiser, torch.optim.Adam):
            found_inf = skipped if is_unused is None else torch.maximum(skipped, is_unused)
            optimiser.found_inf, optimiser.grad_scale = found_inf, None  # type: ignore[attr-defined]
        elif skipped:  # waits for a GPU, as SOAP does anyway
            return
        optimiser.step()


Precision = Literal["bfloat16", "float32"]


def precision_of(recipe: Recipe, stage: Stage, device: str) -> Precision:
    """Return the precision of a stage's convolutions on this machine."""
    uses_bfloat16 = recipe.autocast and not stage.float32 and has_bfloat16(device)
    return "bfloat16" if uses_bfloat16 else "float32"


def kernels_of(precision: Precision) -> AbstractContextManager[None]:
    """Return a step's context: full float32 on GPUs, unless the step runs in bfloat16."""
    return full_float32() if precision == "float32" else nullcontext()


@contextmanager
def deterministic_kernels(enabled: bool) -> Iterator[None]:
    """Use deterministic kernels; raises `UsageError` if an operation has none."""
    if not enabled:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    were_deterministic = torch.are_deterministic_algorithms_enabled()
    was_cudnn_deterministic = torch.backends.cudnn.deterministic
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):  # torch has no exception type for this error
            raise
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--deterministic is impossible for this run: {reason}") from error
    finally:
        torch.use_deterministic_algorithms(were_deterministic)
        torch.backends.cudnn.deterministic = was_cudnn_deterministic


class RecordedStep:
    """A step captured as a CUDA graph; its tensors must keep shapes and addresses."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._calls = device, 0
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()
        self._graph = torch.cuda.CUDAGraph()

    def __call__(
        self, step: Callable[..., tuple[Tensor, ...]], *inputs: Tensor
    ) -> tuple[Tensor, ...]:  # `step` is an argument, since a stored method would form a cycle
        """Do the step with `inputs`, on any device; return a copy of its outputs."""
        if not self._calls:
            self._inputs = tuple(torch.empty_like(value, device=self._device) for value in inputs)
        for buffer, value in zip(self._inputs, inputs, strict=True):
            buffer.copy_(value, non_blocking=True)
        self._calls += 1
        if self._calls <= WARM_UP_STEPS:  # uses a side stream, as CUDA graphs require
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with _fastest_kernels(), torch.cuda.stream(stream), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch warns about an empty graph
                outputs = step(*self._inputs)
            torch.cuda.current_stream().wait_stream(stream)
            return outputs
        if self._calls == WARM_UP_STEPS + 1:
            # in the mode "global", a thread that pins memory would break the capture
            graph = torch.cuda.graph(self._graph, capture_error_mode="thread_local")
            with _fastest_kernels(), graph:
                self._outputs = step(*self._inputs)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)


def _fastest_kernels() -> AbstractContextManager[None]:
    return cudnn_flags(benchmark=not torch.backends.cudnn.deterministic)
