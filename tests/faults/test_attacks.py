"""Random attacks on `bench`, by kind and seed: whatever they do, its promises hold.

    python -m pytest tests/faults/test_attacks.py -m slow -k hostile_files

A failure lists what the attack did, and every broken promise with the command after which it was
found. A parser of bytes that others send is attacked by `test_parsers.py`.
"""

import random
import tempfile
from pathlib import Path

import pytest

from faults.attacks import hostile
from faults.attacks.arena import Arena
from faults.attacks.sound import Sound
from support.faults.ledger import tell

KINDS = (hostile.hostile_files, hostile.hostile_folders)
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
