"""The GPU that these tests run on: torch's where there is one, else a stand-in on the processor."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch

from baselines import field
from baselines.compressai import codec as compressai_codec
from baselines.neural import network_codec
from baselines.neural.entropy.integer.integer_path import require_exact
from baselines.neural.training import optimisers
from support.networks.stand_in_gpu import stand_in_gpu

# Caches for "cuda" in a process; a stand-in's networks are useless outside of it.
CACHES = (network_codec.load_picture_codec, require_exact, field.load_diffusion)


def clear_caches() -> None:
    for cached_function in CACHES:
        cached_function.cache_clear()
    compressai_codec._networks.clear()


class GpuHere(NamedTuple):
    real: bool
    waits: Counter[str]  # of the stand-in: lines that waited for the device; empty on a real one

    @property
    def recorded_steps(self) -> int:
        """Steps of which the last is replayed from a recording."""
        return optimisers.WARM_UP_STEPS + 2


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuHere]:
    monkeypatch.setenv("BENCH_DEVICE", "cuda")
    if torch.cuda.is_available():
        yield GpuHere(True, Counter())
        return
    clear_caches()
    monkeypatch.setattr(optimisers, "WARM_UP_STEPS", 1)  # no library has kernels to choose
    with stand_in_gpu() as waits:
        yield GpuHere(False, waits)
    clear_caches()
