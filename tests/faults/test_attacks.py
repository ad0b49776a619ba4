"""Random attacks on `bench`, by kind and seed: whatever they do, its promises hold.

    python -m pytest tests/faults/test_attacks.py -m slow -k kills

A failure lists what the attack did, and every broken promise with the command after which it was
found. A parser of bytes that others send is attacked by `test_parsers.py`.
"""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from faults.attacks import hostile, promises, stored
from faults.attacks.arena import MARK, Arena
from faults.attacks.promises import Ended
from faults.attacks.sound import Sound
from support.faults.ledger import tell
from support.processes import until

KINDS = (
    *(stored.kills, stored.full_disk, stored.bit_flips),
    *(hostile.hostile_files, hostile.hostile_streams, hostile.hostile_folders),
)
SEEDS = range(1, 11)


@pytest.fixture(scope="module")
def place():
    """A folder of a short path: sockets of workers lie below it, with 107 bytes at most."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def sound(place):
    return Sound(place / "sound")


@pytest.fixture
def arena(place):
    made = Arena(place / "arena")
    yield made
    made.leave()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_attack_breaks_no_promise(kind, seed, arena, sound, record_property):
    kind(arena, sound, random.Random(f"{kind.__name__} {seed}"))
    findings = list(dict.fromkeys(arena.findings))
    fault = f"attacks: {kind.__name__.replace('_', '-')}"
    tell(record_property, fault, arena.commands, len(arena.deeds), len(findings))
    assert findings == [], "\n".join([*arena.deeds, *findings])
    assert arena.commands


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"err": "Traceback (most recent call last)"}, "it prints 'Traceback"),
        ({"out": "\x1b[2J"}, r"it prints the control character '\x1b'"),
        ({"code": 77, "err": "why"}, "it ends with exit code 77"),
        ({"code": 2, "err": "no"}, "it refuses without a sentence at the end"),
        ({"code": 1}, "it ends with exit code 1 and says nothing"),
        ({"code": promises.HUNG}, "it does not end within"),
        ({"peak_bytes": 1 << 40}, "a process of it takes"),
        ({"processor_seconds": 1e4}, "of processor time"),
        ({}, ""),
        ({"code": -9, "struck": True}, ""),
        ({"err": "Traceback (most recent call last)", "struck": True}, "it prints 'Traceback"),
    ],
)
def test_how_a_command_ends_is_judged(more, found):
    ended = Ended(("run",), 0, "", "", 1.0, 1.0, 1, False)._replace(**more)
    said = promises.of_an_end(ended)
    assert bool(said) == bool(found)
    assert found in "".join(said)


def test_what_runs_on_what_was_executed_and_what_is_left_is_found(arena):
    left = subprocess.Popen(["sleep", "120"], env={**os.environ, MARK: arena.mark})
    try:
        assert until(lambda: promises.nothing_running(arena.mark))
        assert "sleep 120" in promises.nothing_running(arena.mark)[0]
    finally:
        left.kill()
        left.wait()
    assert promises.nothing_running(arena.mark) == []
    arena.canary.touch()
    (arena.temporary / "rdrbench-left").touch()
    assert promises.nothing_executed(arena.canary)
    assert promises.nothing_temporary(arena.temporary) == [
        "temporary files are left: rdrbench-left"
    ]


def test_rows_that_are_lost_or_changed_are_found():
    rows = [{"cell": cell, "status": "ok", "psnr_db": 30.0} for cell in "ab"]
    changed = [rows[0], {**rows[1], "psnr_db": 99.0}]
    assert promises.same_rows(rows, rows) == []
    assert promises.same_rows(changed, rows) == ["a row differs: psnr_db is 99.0, not 30.0"]
    assert promises.same_rows(rows[:1], rows) == ["1 rows are missing"]
    assert promises.same_rows(rows, rows[:1]) == ["1 rows are too many"]
    failed = [{"codec": "jpeg", "status": "failed", "reason": "a\nb"}]
    assert promises.failures_have_reasons(failed)


def test_an_arena_finds_what_its_program_does_wrong(place):
    program = (sys.executable, "-c", "import sys; print('no'); sys.exit(77)")
    arena = Arena(place / "wrong", program)
    arena.bench("plan")
    arena.leave()
    assert arena.findings == ["it ends with exit code 77:  after `bench plan`"]
