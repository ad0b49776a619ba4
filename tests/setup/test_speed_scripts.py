"""The clock of tests/speed counts what a command leaves running; rows of the page have bars."""

import re
import subprocess
import sys

from conftest import ROOT

SPEED = ROOT / "tests" / "speed"
# A child that outlives its parent, and uses a processor for a time that it measures itself.
BURNS = "import time\nwhile time.process_time() < 0.5: pass"
LEAVES = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURNS!r}])"


def test_what_outlives_a_command_is_counted():
    program = (
        f"import sys; sys.path.insert(0, {str(SPEED)!r}); from harness import clock\n"
        f"print(clock([sys.executable, '-c', {LEAVES!r}]).cpu_seconds)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) >= 0.5


def test_every_script_that_prints_verdicts_is_run_by_all_or_by_hand():
    run = (SPEED / "all.py").read_text()
    named = {path.name for path in SPEED.glob("*.py") if "verdict(" in path.read_text()}
    by_hand = {"harness.py", "page.py"}
    assert {name for name in named if f'"{name}"' not in run} == by_hand
    bars = page().partition("## Missed")[0]
    rows = re.findall(r"^\| (?!work|--)(.+?) \| (.+?) \| (.+?) \| (.+?) \|", bars, re.MULTILINE)
    assert len(rows) >= 15
    assert all(re.search(r"\d", bar) for _, _, bar, _ in rows)


def page():
    return (ROOT / "docs" / "experiments" / "speed.md").read_text()
