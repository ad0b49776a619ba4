"""Encoders that hang, flood, crash or leave children behind, beside codecs that do not."""

import random
from collections.abc import Sequence

from faults.attacks import invariants
from faults.attacks.arena import Arena, store_in
from faults.attacks.attack import Step
from faults.attacks.sound import Sound
from support.faults.misbehaving import HONEST_ENOUGH, MISBEHAVING, SMALL_FILES
from support.rows.stable_rows import stable

SECONDS_OF_A_PROGRAM = 5.0  # more than a copy takes on a machine that is busy
SECONDS_OF_A_CELL = 20.0


class HungPrograms:
    """A step is an encoder that misbehaves; the codecs beside it give the rows that they always do.

    Rows of programs may be failed or not: a machine may be too busy for an honest one.
    """

    most_steps = 4

    def draw(self, chance: random.Random) -> Step:
        """Draw an encoder."""
        name, script = chance.choice(sorted({**MISBEHAVING, **HONEST_ENOUGH}.items()))

        def do(arena: Arena, number: int) -> str:
            path = arena.work / f"{number}.sh"
            path.write_text(script.replace("{mark}", arena.mark) + "\n")
            return (
                rf"command:name=program-{number}:encode=sh {path} {{in}} {{out}}:values=1:"
                rf"decode=cp {{in}} {{out}}:timeout_seconds={SECONDS_OF_A_PROGRAM}"
            )

        return Step(f"an encoder that {name}", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Run all encoders beside sound codecs, with and without a time limit of the cell."""
        (arena.work / "sitecustomize.py").write_text(SMALL_FILES)
        results = arena.work / "results"
        programs = ",".join(step.do(arena, number) for number, step in enumerate(steps))
        limit = ("--timeout", SECONDS_OF_A_CELL) if len(steps) % 2 else ()
        words = sound.run_words(results, *limit)
        words[words.index("--codecs") + 1] += f",{programs}"
        paths = arena.environment()["PYTHONPATH"] + f":{arena.work}"
        arena.bench(*words, environment={"PYTHONPATH": paths})
        store = store_in(results)
        rows = stable(store) if store else []
        others = [row for row in rows if row["codec"] == "command"]
        arena.judge(invariants.same_rows([row for row in rows if row not in others], sound.table))
        arena.judge(invariants.failures_have_reasons(others))
        arena.judge(invariants.nothing_temporary(arena.temporary))
