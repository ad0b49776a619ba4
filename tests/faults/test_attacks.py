"""Random attacks on `bench`, by kind and seed: whatever they do, its promises hold.

    python -m pytest tests/faults/test_attacks.py -m slow -k hostile_files

A failure lists what the attack did, and every broken promise with the command after which it was
found. A parser of bytes that others send is attacked by `test_parsers.py`.
"""

import random
import sys
import tempfile
from pathlib import Path

import pytest

from faults.attacks import hostile
from faults.attacks.arena import HUNG, Arena, Ended, marked_processes, wrongs
from faults.attacks.sound import Sound
from support.faults.ledger import tell
from support.processes import until

KINDS = (hostile.hostile_files, hostile.hostile_streams, hostile.hostile_folders)
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
        ({"said": "Traceback (most recent call last)"}, "it prints 'Traceback"),
        ({"said": "\x1b[2J"}, r"it prints the control character '\x1b'"),
        ({"code": 77, "said": "why"}, "it ends with exit code 77"),
        ({"code": 2, "said": "no"}, "it refuses without a sentence at the end"),
        ({"code": 1}, "it ends with exit code 1 and says nothing"),
        ({"code": HUNG}, "it does not end within"),
        ({"peak_bytes": 1 << 40}, "a process of it takes"),
        ({"processor_seconds": 1e4}, "of processor time"),
        ({}, ""),
    ],
)
def test_how_a_command_ends_is_judged(more, found):
    said = wrongs(Ended(0, "", 1.0, 1)._replace(**more))
    assert bool(said) == bool(found)
    assert found in "".join(said)


def test_an_arena_finds_what_its_program_does_wrong(place, monkeypatch):
    monkeypatch.setattr("faults.attacks.arena.SECONDS_TO_END", 1)
    script = (
        "import os, subprocess, sys; open(os.environ['CANARY'], 'w');"
        "subprocess.Popen(['sleep', '120'], stdout=-3, stderr=-3); print('no'); sys.exit(77)"
    )
    arena = Arena(place / "wrong", (sys.executable, "-c", script))
    arena.bench("plan")
    assert marked_processes(arena.mark)
    arena.leave()
    assert until(lambda: not marked_processes(arena.mark))
    code, left, executed = arena.findings
    assert code == "it ends with exit code 77: no\n after `bench plan`"
    assert "is left after" in left
    assert executed.startswith("code of a stranger was executed")
