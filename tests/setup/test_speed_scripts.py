"""Scripts of tests/speed are run by one of them or by hand; rows of their page have bars."""

import re

from conftest import ROOT

SPEED = ROOT / "tests" / "speed"


def test_every_script_that_prints_verdicts_is_run_by_all_or_by_hand():
    run = (SPEED / "all.py").read_text()
    named = {path.name for path in SPEED.glob("*.py") if "verdict(" in path.read_text()}
    by_hand = {"harness.py"}
    assert {name for name in named if f'"{name}"' not in run} == by_hand
    bars = page().partition("## Missed")[0]
    rows = re.findall(r"^\| (?!work|--)(.+?) \| (.+?) \| (.+?) \| (.+?) \|", bars, re.MULTILINE)
    assert len(rows) >= 15
    assert all(re.search(r"\d", bar) for _, _, bar, _ in rows)


def page():
    return (ROOT / "docs" / "experiments" / "speed.md").read_text()
