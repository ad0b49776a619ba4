"""One training step on several processes -> the same gradients in all of them.

On the CPU two processes of one thread each do as much work as one of two threads, or more: that
depends on the processor (`tests/speed/training.py` compares). Every process holds the whole network
and takes its part of each batch; gradients, and a few numbers beside them, are averaged, so that
all do the same update and none has to send its weights.
"""

import os
import signal
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from benchmark.errors import BenchError, Unavailable, UsageError

EXPLAINED = (UsageError, Unavailable, BenchError)  # what passes from a process to its caller


class Workers:
    """Who works along; alone unless started by `in_processes`."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def average(self, parameters: Iterable[nn.Parameter], numbers: Tensor) -> Tensor:
        """Gradients in place, and the mean of `numbers`, one dimension, float32 on the CPU."""
        if self.count == 1:
            return numbers
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients] + [numbers])
        dist.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [*(g.numel() for g in gradients), numbers.numel()])
        for gradient, part in zip(gradients, parts, strict=False):
            gradient.copy_(part.view_as(gradient))
        return parts[-1]

    def mean(self, number: Tensor) -> Tensor:
        """Of one number of each process."""
        return self.average([], number.detach().float().reshape(1))[0]

    def wait(self) -> None:
        """For the others."""
        if self.count > 1:
            dist.barrier()


def in_processes(count: int, work: Callable[..., None], *given: Any) -> None:
    """`work(workers, *given)` in `count` processes, this one among none of them if there are more.

    A signal to end is passed on to them, and they are waited for. Raises the `BenchError` that one
    of them raised; other failures come as torch reports them.
    """
    if count == 1:
        work(Workers(), *given)
        return
    children: list[Any] = []
    told: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        for child in children:
            if child.is_alive():
                os.kill(child.pid, number)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        handlers = {one: signal.signal(one, pass_on) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            started = mp.start_processes(  # type: ignore[attr-defined, no-untyped-call]
                _work, (count, folder, work, given), nprocs=count, join=False
            )
            children += started.processes
            while not started.join():
                pass
        except ProcessRaisedException:
            for kind in EXPLAINED:
                if (folder / kind.__name__).exists():
                    raise kind((folder / kind.__name__).read_text()) from None
            raise
        except ProcessExitedException:
            if not told:  # a process that has not begun to work ends at once
                raise
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _work(
    rank: int, count: int, folder: Path, work: Callable[..., None], given: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    try:
        work(Workers(rank, count), *given)
    except BenchError as error:
        kind = next(one for one in EXPLAINED if isinstance(error, one))
        (folder / kind.__name__).write_text(str(error))
        raise
    finally:
        dist.destroy_process_group()
