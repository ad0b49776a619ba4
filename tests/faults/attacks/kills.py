"""Runs that are ended from outside at random moments, whole or a process of them."""

import os
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from benchmark.system.processes import descendants
from faults.attacks.arena import Arena, Blow
from faults.attacks.attack import Step
from faults.attacks.sound import Sound

LATEST_SECONDS = 6.0  # of the blow; a run takes three to eight on an idle machine


class Kills:
    """A step is a run of which a process, or all, is ended; at the end one is left alone.

    One encoder is a program with children in its process group and in a session of its own, which
    have to end with their run; it does nothing once it is left alone.
    """

    most_steps = 4

    def draw(self, chance: random.Random) -> Step:
        """Draw the moment, who is struck, and by which signal."""
        whom = chance.choice(sorted(WHOM))
        number = chance.choice(SIGNALS) if whom != "a process below it" else signal.SIGKILL
        after, which = chance.uniform(0.1, LATEST_SECONDS), chance.random()

        def strike(process_id: int) -> None:
            with suppress(ProcessLookupError, PermissionError):
                WHOM[whom](process_id, number, which)

        return Step(f"{number.name} to {whom} after {after:.2f} s", lambda: Blow(after, strike))

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Run, struck at each step, then undisturbed; compare the rows after each."""
        results, expected = arena.work / "results", sound.table_of(sound.slow)
        for step in steps:
            arena.bench(*sound.slow_words(results), blow=step.do())
            arena.keeps(results, expected)
        arena.bench(*sound.slow_words(results))
        arena.ends_whole(results, expected)


def _below(process_id: int, number: int, which: float) -> None:
    if below := descendants(process_id):
        os.kill(below[int(which * len(below))].process_id, number)


SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WHOM: dict[str, Callable[[int, int, float], None]] = {
    "the driver": lambda process_id, number, which: os.kill(process_id, number),
    "its process group": lambda process_id, number, which: os.killpg(process_id, number),
    "a process below it": _below,
}
