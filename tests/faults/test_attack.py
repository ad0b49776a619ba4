"""The harness that attacks: a slice of each kind finds nothing, and broken promises are found."""

import random
import shlex
import sys
import tempfile
from pathlib import Path

import pytest

from faults import attack as command
from faults.attacks import invariants
from faults.attacks.attack import Step, steps_of
from faults.attacks.campaign import KINDS, Campaign, load_kind
from faults.attacks.hostile_folders import JSON, drawn
from faults.attacks.invariants import Ended
from support.bench import broken_bench
from support.faults.ledger import tell

BROKEN_BENCH = Path(broken_bench.__file__)


@pytest.fixture(scope="module")
def place():
    """A folder of a short path: sockets of workers lie below it, with 107 bytes at most."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def campaign(place):
    return Campaign(place / "attacks")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "attacks", [1, pytest.param(10, marks=pytest.mark.slow)], ids=["one", "many"]
)
def test_attacks_find_nothing(kind, attacks, campaign, record_property):
    """`python tests/faults/attack.py --only KIND --seed 1 --rounds 1` is the same."""
    outcomes = list(campaign.attacks([kind], 1, attacks, minutes=0))
    findings = [one for outcome in outcomes for one in outcome.findings]
    steps = sum(len(outcome.steps) for outcome in outcomes)
    runs = sum(outcome.commands for outcome in outcomes)
    tell(record_property, f"attacks: {kind}", runs, steps, len(findings))
    assert findings == [], "\n".join(findings)
    assert runs >= len(outcomes) == attacks


class Sparks:
    """Attacks on sound results: the step that draws a certain number makes a file, `spark`."""

    most_steps = 9
    bright = 0

    def draw(self, chance):
        number = chance.randrange(10**6)

        def do(arena):
            if number == self.bright:
                (arena.work / "spark").touch()

        return Step(f"number {number}", do)

    def carry_out(self, arena, sound, steps):
        results = sound.copied(arena)
        arena.keeps(results, sound.table)
        for step in steps:
            step.do(arena)
        arena.bench("plan", "--codecs", "jpeg", "--dataset", sound.photos, "--results", results)
        arena.keeps(results, sound.table)
        arena.ends_whole(results, sound.table)


def broken(promise):
    return (sys.executable, str(BROKEN_BENCH), promise)


@pytest.fixture(scope="module")
def sparks(place):
    """Return campaigns by promise, against a bench that breaks it; they share sound results."""
    kind, seed = Sparks(), 3
    says = [step.says for step in steps_of("sparks", kind, seed)]
    kind.bright = int(says[len(says) // 2].removeprefix("number "))
    folder, sound = place / "sparks", []

    def against(promise):
        made = Campaign(folder / promise, {"sparks": kind}, broken(promise))
        sound.append(made.sound)
        made.sound = sound[0]
        return made, seed, (len(says) // 2,)

    assert len(says) >= 4
    return against


FOUND = {
    "leave_a_process": "process `sleep 120` is left",
    "leave_a_process_without_environment": "is left after",
    "execute": "code of a stranger was executed",
    "raise": "it prints 'Traceback (most recent call last)'",
    "lose_a_row": "acknowledged rows, streams or files are lost",
    "lose_a_stream": "acknowledged rows, streams or files are lost",
    "change_a_row": "a row differs: psnr_db is 99.0",
    "leave_temporary_files": "temporary files are left: rdrbench-left",
    "write_a_control_character": r"it prints the control character '\x1b'",
    "end_with_another_code": "it ends with exit code 77",
    "refuse_without_a_sentence": "it refuses without a sentence at the end",
    "take_memory": "a process of it takes",
    "hang": "it does not end within 3 s",
}


@pytest.mark.parametrize(("kind", "seed", "steps"), [("memory", 201, [0])])
def test_what_was_found_once_is_found_no_more(kind, seed, steps, campaign):
    """201: OpenBLAS asked without end for a buffer for which there was no memory."""
    assert campaign.attack(kind, seed, steps).findings == ()


@pytest.mark.parametrize("promise", broken_bench.BROKEN)
def test_a_broken_promise_is_found_and_shrunk_to_its_step(promise, sparks, monkeypatch):
    monkeypatch.setattr("faults.attacks.arena.SECONDS_TO_END", 0)
    if promise == "hang":
        monkeypatch.setattr(invariants, "MOST_SECONDS", 3.0)
    if promise == "take_memory":
        monkeypatch.setattr(invariants, "MOST_BYTES", 800 << 20)
    campaign, seed, guilty = sparks(promise)
    found = campaign.attack("sparks", seed)
    assert any(FOUND[promise] in one for one in found.findings), found.findings
    assert len(found.steps) >= 4
    if promise in ("raise", "lose_a_row"):
        smallest = campaign.shrink(found)
        assert smallest.steps == guilty
        assert command.repetition(smallest).endswith(
            f"--only sparks --seed {seed} --steps {guilty[0]}"
        )
        others = [at for at in found.steps if at not in guilty]
        assert campaign.attack("sparks", seed, others).findings == ()


def test_every_kind_draws_the_same_steps_of_a_seed_and_others_of_another():
    for name in KINDS:
        kind = load_kind(name)
        said = [[step.says for step in steps_of(name, kind, seed)] for seed in (*range(8), 0)]
        assert said[0] == said[8]
        assert len({tuple(one) for one in said}) == 8, name
        assert max(map(len, said)) > 1
    assert drawn(JSON, 5) == drawn(JSON, 5)
    assert len({repr(drawn(JSON, seed)) for seed in range(20)}) > 10


def test_the_command_prints_a_table_and_a_finding_as_a_command_that_finds_it_again(capsys):
    """Against a program that knows no word: its exit code is none of `bench`."""
    program = shlex.join([sys.executable, "-c", "import sys; print('no'); sys.exit(77)"])
    words = ["--only", "hung-programs", "--seed", "5", "--bench", program]
    assert command.main([*words, "--rounds", "1"]) == 1
    printed = capsys.readouterr().out
    assert "| together | 1 |" in printed
    again = printed.rstrip().rpartition("python tests/faults/attack.py ")[2].split()
    assert again[:4] == ["--only", "hung-programs", "--seed", "5"]
    assert len(again[5].split(",")) == 1
    assert command.main([*again, "--bench", program]) == 1
    assert "found: it ends with exit code 77" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--only", "nothing"], ["--steps", "1"]])
def test_a_wrong_request_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        command.main(words)
    assert "error: " in capsys.readouterr().err


def test_a_process_that_is_not_of_the_attack_is_none_of_it():
    assert invariants.marked_processes(f"{random.SystemRandom().getrandbits(128):x}") == []


def test_what_follows_a_kill_is_judged_by_its_words_alone():
    killed = Ended(("run",), -9, "", "", 1.0, 1.0, 1, True)
    assert invariants.of_an_end(killed) == []
    assert invariants.of_an_end(killed._replace(struck=False)) != []
    assert invariants.of_an_end(killed._replace(err="Traceback (most recent call last)")) != []
