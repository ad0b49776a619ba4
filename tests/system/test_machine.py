"""Facts of the machine and the checkout, compared with the system's own commands."""

import os
import subprocess
import sys
from pathlib import Path

from benchmark.system.machine import commit, cores

ROOT = Path(__file__).parents[2]


def test_the_commit_is_the_one_that_is_checked_out():
    asked = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if not (ROOT / ".git").exists():
        assert commit() is None
    else:
        assert commit() in (told, f"{told}-dirty")
        assert len(told) == 40


def test_cores_are_those_that_the_process_may_use():
    one = min(os.sched_getaffinity(0))
    script = (
        f"import os; os.sched_setaffinity(0, {{{one}}});"
        "from benchmark.system.machine import cores, machine; print(cores(), machine())"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert told.startswith("1 ")
    assert told.rstrip().endswith(", 1 cores")
    assert cores() == len(os.sched_getaffinity(0))
