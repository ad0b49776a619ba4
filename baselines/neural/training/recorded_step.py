"""A step of training recorded once as a CUDA graph: replaying it costs the processor nothing."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

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
