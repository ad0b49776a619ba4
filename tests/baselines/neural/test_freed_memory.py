"""Memory that tensors have freed stays with a process that codes, unless its user set malloc."""

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
from baselines.neural.network import inference
with inference():
    pass
torch.zeros(16 << 20)
before = getrusage(RUSAGE_SELF).ru_minflt
torch.zeros(12 << 20)
print(getrusage(RUSAGE_SELF).ru_minflt - before)
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
    ("variables", "is_kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": 131072}, False)]
)
def test_memory_of_a_tensor_is_kept_for_the_next(variables, is_kept, monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    small_pages = {"THP_MEM_ALLOC_ENABLE": 0}  # of 4 KiB
    place = {"PYTHONPATH": os.pathsep.join(sys.path)}
    reported = ran(sys.executable, "-c", FAULTS, **variables, **small_pages, **place)
    assert (int(reported.stdout) < PAGES / 2) is is_kept
