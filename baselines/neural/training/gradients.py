"""Averages of gradients over processes, begun while the backward pass computes other gradients."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 25 << 20  # as DistributedDataParallel has them


class _Begun(NamedTuple):
    gradients: list[Tensor]
    flat: Tensor
    work: Any


class GradientAverage:
    """Average of the gradients of parameters over `count` processes, in buckets.

    Buckets hold parameters from the last to the first, about the order in which a backward pass
    ends with them. They are averaged in turn, so that all processes agree on the order: a bucket as
    soon as it and those before are complete. A parameter without a gradient keeps none, and has
    none in the other processes.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], count: int) -> None:
        self._count = count
        self._buckets: list[list[nn.Parameter]] = []
        size = BUCKET_BYTES
        for parameter in reversed(parameters):
            if size >= BUCKET_BYTES:
                self._buckets.append([])
                size = 0
            self._buckets[-1].append(parameter)
            size += parameter.numel() * parameter.element_size()
        self._left: list[int] = []  # by bucket: gradients that the pass has not computed yet
        self._begun: list[_Begun] = []

    @contextmanager
    def during(self) -> Iterator[None]:
        """Average the gradients of the backward pass in the block; on its end they are averages."""
        if self._count == 1:
            yield
            return
        self._left = [len(bucket) for bucket in self._buckets]
        handles = [
            parameter.register_post_accumulate_grad_hook(self._hook(number))  # type: ignore[no-untyped-call]
            for number, bucket in enumerate(self._buckets)
            for parameter in bucket
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        while len(self._begun) < len(self._buckets):
            self._begin()
        for begun in self._begun:
            begun.work.wait()  # on a GPU, its queue waits and this process does not
            begun.flat.div_(self._count)
            parts = torch.split(begun.flat, [gradient.numel() for gradient in begun.gradients])
            for gradient, part in zip(begun.gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        self._begun = []

    def _hook(self, number: int) -> Any:
        def complete(_parameter: Tensor) -> None:
            self._left[number] -= 1
            while len(self._begun) < len(self._buckets) and not self._left[len(self._begun)]:
                self._begin()

        return complete

    def _begin(self) -> None:
        bucket = self._buckets[len(self._begun)]
        gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients] or [torch.empty(0)])
        work = dist.all_reduce(flat, async_op=True) if gradients else _Done()
        self._begun.append(_Begun(gradients, flat, work))


class _Done:
    """Work on a bucket of no gradients."""

    def wait(self) -> None:
        """Return at once."""
