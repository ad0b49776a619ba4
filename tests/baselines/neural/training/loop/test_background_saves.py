"""Runs of several processes that are killed while a state is written."""

import os
import random
import signal
import time

import pytest

from baselines.neural.training.run_folder import load_state
from baselines.neural.training.workers import in_processes
from support.training.fixtures import CPU, differing, of_journal, started, wait_for_entries
from support.training.slow_saves import COUNT, STEPS, train

SCRIPT = """
import os
from pathlib import Path
from baselines.neural.training.workers import in_processes
from support.training.slow_saves import COUNT, train

if __name__ == "__main__":
    os.setsid()
    in_processes(COUNT, train, Path("run"), True)
"""


@pytest.mark.slow
def test_a_run_of_eight_processes_killed_while_it_saves_resumes_as_if_nothing_had_happened(
    tmp_path,
):
    entries = random.SystemRandom().randint(4, 20)
    with started(tmp_path, SCRIPT) as process:
        wait_for_entries(process, tmp_path / "run" / "journal.jsonl", entries)
        while not list((tmp_path / "run").glob(".*.part")):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    saved = load_state(tmp_path / "run", CPU)
    assert 1 <= saved["step"] < STEPS, "it was killed in time, and a state was on the disk"
    assert list((tmp_path / "run").glob(".*.part")), "it was killed while it saved"
    for folder in ("run", "whole"):
        in_processes(COUNT, train, tmp_path / folder)
    assert not list((tmp_path / "run").glob(".*.part"))
    resumed, whole = (load_state(tmp_path / one, CPU) for one in ("run", "whole"))
    assert not differing(resumed, whole)
    assert of_journal(tmp_path / "run", "step") == [*range(1, STEPS + 1)]
