"""Processes that train a network together, each with its part of every batch.

Every process holds the whole network, on the CPU; gradients and a few numbers are averaged.
"""

import tempfile
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.system.atomic import write_file

LONGEST_WAIT = timedelta(hours=2)  # of the others while the first validates or saves
EXPLAINED = (UsageError, Unavailable, BenchError)  # what passes from a process to its caller


class Ranks:
    """The processes that train together, seen from inside; by default it is alone."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def leads(self) -> bool:
        """True in the process that writes files and reports."""
        return self.rank == 0

    def average(self, parameters: Iterable[nn.Parameter], numbers: Tensor) -> Tensor:
        """Average what gradients there are in place; return the mean of `numbers`, float32 (n,)."""
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
        """Return the mean over the processes of a number of each."""
        return self.average([], number.detach().float().reshape(1))[0]

    def ask(self, wish: bool) -> bool:
        """Return whether any of the processes wishes; all have to ask."""
        if self.count == 1:
            return wish
        wishes = np.array([wish], np.float32)
        dist.all_reduce(torch.from_numpy(wishes))
        return bool(wishes[0] > 0)

    def share(self, network: nn.Module) -> None:
        """Take over the weights of the first process."""
        if self.count > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            dist.barrier()


def in_processes(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Run `work(ranks, *arguments)` in so many processes; raises the `BenchError` of any."""
    if count == 1:
        work(Ranks(), *arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            mp.start_processes(_work, (count, folder, work, arguments), nprocs=count)  # type: ignore[attr-defined, no-untyped-call]
        except ProcessRaisedException:
            for kind in EXPLAINED:
                if (folder / kind.__name__).exists():
                    raise kind((folder / kind.__name__).read_text()) from None
            raise
        except ProcessExitedException as error:
            raise BenchError(
                f"a process that trained died ({error}): the same command resumes from the last "
                "saved step"
            ) from error


def _work(
    rank: int, count: int, folder: Path, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    try:
        work(Ranks(rank, count), *arguments)
    except BenchError as error:
        kind = next(kind for kind in EXPLAINED if isinstance(error, kind))
        write_file(folder / kind.__name__, str(error))
        raise
    finally:
        dist.destroy_process_group()
