"""Memory that tensors have freed stays with the process in coding and in training."""

import os
import platform
import sys
from pathlib import Path

import pytest

from support.processes import ran

# Prints the page faults of a tensor after a larger one, whose memory it can reuse.
FAULTS = """
from resource import RUSAGE_SELF, getrusage
import torch
torch.zeros(16 << 20)
before = getrusage(RUSAGE_SELF).ru_minflt
torch.zeros(12 << 20)
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""
CODING = """
from baselines.neural.network import inference
with inference():
    pass
"""
TRAINING = """
from support.training.fixtures import SINGLE, learner_of, toy
learner_of(toy(), SINGLE)
"""
PAGES = (12 << 20) * 4 // 4096
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
counts_pages = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc"
    or (HUGE_PAGES.exists() and "[always]" in HUGE_PAGES.read_text()),
    reason="needs glibc and pages of 4 KiB",
)


@counts_pages
@pytest.mark.parametrize(
    ("work", "variables", "is_kept"),
    [(CODING, {}, True), (TRAINING, {"MALLOC_TRIM_THRESHOLD_": "131072"}, False)],
)
def test_memory_of_a_tensor_is_kept_for_the_next(work, variables, is_kept, monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")  # pages of 4 KiB
    reported = ran(sys.executable, "-c", work + FAULTS)
    assert (int(reported.stdout) < PAGES / 2) is is_kept
