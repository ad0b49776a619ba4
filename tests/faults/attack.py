"""Attack `bench` at random, by seed: what was tried, what was found, and how to see it again.

    python tests/faults/attack.py --minutes 30 --seed 7              all kinds of attacks in turn
    python tests/faults/attack.py --rounds 2 --seed 7                two of each kind
    python tests/faults/attack.py --only kills --seed 9 --steps 0,2  one attack, these steps of it

The attacks have the seeds N, N + 1 and so on, each of every kind. A finding is shrunk to the fewest
steps that find it, and printed as a command. Exit code 1 where something was found. Attacks kill
only what they started, and write below a folder for temporary files.
"""

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:1] = [str(HERE.parent), str(HERE.parents[1])]

from faults.attacks.arena import BENCH  # noqa: E402
from faults.attacks.campaign import KINDS, Campaign, Outcome  # noqa: E402


def main(words: Sequence[str]) -> int:
    """Carry out the attacks that the words ask for, print them, and return the exit code."""
    asked = _parse(words)
    with TemporaryDirectory(prefix="attack-") as folder:
        campaign = Campaign(Path(folder), program=shlex.split(asked.bench) or BENCH)
        if asked.steps is not None:
            outcome = campaign.attack(asked.only[0], asked.seed, asked.steps)
            _say("\n".join(f"step: {step.says}" for step in campaign.steps(outcome)))
            _say("\n".join(f"found: {one}" for one in outcome.findings) or "nothing is found")
            return bool(outcome.findings)
        outcomes, smallest = [], []
        for outcome in campaign.attacks(asked.only, asked.seed, asked.rounds, asked.minutes):
            outcomes.append(outcome)
            _say(f"{outcome.kind} {outcome.seed}: {len(outcome.findings)} findings", sys.stderr)
            if outcome.findings:
                smallest.append(campaign.shrink(outcome))
                _say(told(campaign, smallest[-1]))
        _say(table(outcomes))
    for one in smallest:
        _say(f"{one.findings[0]}\n  {repetition(one)}")
    return bool(smallest)


def told(campaign: Campaign, outcome: Outcome) -> str:
    """Return a finding in words: its steps, what is wrong, and the command that repeats it."""
    lines = [f"FOUND by {outcome.kind}, seed {outcome.seed}"]
    lines += [f"  step: {step.says}" for step in campaign.steps(outcome)]
    lines += [f"  found: {one}" for one in outcome.findings]
    return "\n".join([*lines, f"  again: {repetition(outcome)}"])


def repetition(outcome: Outcome) -> str:
    """Return the command line that carries out the same steps."""
    steps = ",".join(map(str, outcome.steps))
    command = f"python tests/faults/attack.py --only {outcome.kind} --seed {outcome.seed}"
    return f"{command} --steps {steps}"


def table(outcomes: Iterable[Outcome]) -> str:
    """Return a Markdown table of what each kind of attack tried and found."""
    lines = [
        "| kind | attacks | steps | commands | slowest (s) | largest (MB) | findings |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    by_kind: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_kind.setdefault(outcome.kind, []).append(outcome)
    everything = [one for found in by_kind.values() for one in found]
    for kind, found in [*by_kind.items(), ("together", everything)]:
        steps, commands = sum(len(one.steps) for one in found), sum(one.commands for one in found)
        slowest = max((one.slowest_seconds for one in found), default=0)
        largest = max((one.largest_bytes for one in found), default=0) / 1e6
        wrong = sum(bool(one.findings) for one in found)
        lines.append(
            f"| {kind} | {len(found):,} | {steps:,} | {commands:,} | {slowest:.0f} | {largest:.0f} "
            f"| {wrong:,} |"
        )
    return "\n".join(lines)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, help="so many seeds, instead of minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=_names, default=list(KINDS), help="kinds, by comma")
    parser.add_argument("--steps", type=_numbers, help="of the one attack of kind and seed")
    parser.add_argument("--bench", default="", help="command that is attacked")
    asked = parser.parse_args(words)
    if unknown := [one for one in asked.only if one not in KINDS]:
        parser.error(f"no kind {unknown[0]!r}; known: {', '.join(KINDS)}")
    if asked.steps is not None and len(asked.only) != 1:
        parser.error("--steps are of one kind: name it with --only")
    return asked


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _say(text: str, to: TextIO | None = None) -> None:
    print(text, file=to or sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
