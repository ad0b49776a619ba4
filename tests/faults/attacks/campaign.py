"""A campaign: attacks by seed, what each found, and the smallest attack that finds it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import NamedTuple

from faults.attacks.arena import BENCH, Arena
from faults.attacks.attack import Kind, Step, steps_of
from faults.attacks.sound import Sound

KINDS = {
    "kills": "kills:Kills",
    "full-disk": "full_disk:FullDisk",
    "bit-flips": "bit_flips:BitFlips",
    "bits-of-others": "bit_flips:BitsOfOthers",
    "hostile-files": "hostile_files:HostileFiles",
    "hostile-streams": "hostile_streams:HostileStreams",
    "hostile-folders": "hostile_folders:HostileFolders",
    "hostile-packs": "hostile_folders:HostilePacks",
    "memory": "memory:MemoryEnds",
    "hung-programs": "hung_programs:HungPrograms",
}
MOST_TRIES = 40  # attacks that shrinking may take


class Outcome(NamedTuple):
    """An attack that was carried out; `steps` are the numbers of those that were taken."""

    kind: str
    seed: int
    steps: tuple[int, ...]
    commands: int
    findings: tuple[str, ...]
    slowest_seconds: float
    largest_bytes: int


class Campaign:
    """Attacks below a folder, against the program that is run as `bench`.

    kinds: others than those of `KINDS`, by name.
    """

    def __init__(
        self,
        folder: Path,
        kinds: Mapping[str, Kind] | None = None,
        program: Sequence[str] = BENCH,
    ) -> None:
        self._kinds = dict(kinds or {})
        self._folder, self._program = folder, program
        self.sound = Sound(folder / "sound")
        self._numbers = count()

    def attack(self, kind: str, seed: int, steps: Iterable[int] | None = None) -> Outcome:
        """Carry out an attack, or the given steps of it; nothing of it is left."""
        drawn = self._steps(kind, seed)
        taken = tuple(range(len(drawn)) if steps is None else steps)
        arena = Arena(self._folder / str(next(self._numbers)), self._program)
        try:
            self._kind(kind).carry_out(arena, self.sound, [drawn[at] for at in taken])
        except Exception as error:  # whatever the attack could not read: reported, and goes on
            arena.findings.append(f"the attack itself ends: {type(error).__name__}: {error}"[:500])
        finally:
            arena.leave()
        return Outcome(
            kind, seed, taken, arena.commands, tuple(dict.fromkeys(arena.findings)),
            arena.slowest_seconds, arena.largest_bytes,
        )  # fmt: skip

    def attacks(
        self, kinds: Sequence[str], seed: int, rounds: int | None, minutes: float
    ) -> Iterator[Outcome]:
        """Yield attacks of seed, seed + 1 and so on, of each kind with every seed.

        It ends after `rounds` seeds, or with the first attack that ends after so many minutes.
        """
        ends = time.monotonic() + 60 * minutes
        for at in count(seed):
            for kind in kinds:
                if rounds is None and time.monotonic() >= ends:
                    return
                yield self.attack(kind, at)
            if rounds is not None and at + 1 >= seed + rounds:
                return

    def shrink(self, found: Outcome) -> Outcome:
        """Return the attack with the fewest steps that finds the first of those findings.

        Steps are left out in ever smaller parts (Zeller's ddmin), as long as something is found
        that begins with the same words. An outcome that does not come again is returned as it is.
        """
        wanted, smallest, tries = _gist(found), found, 0
        size = len(found.steps)
        while size >= 1 and tries < MOST_TRIES:
            size = min(size, len(smallest.steps))
            for start in range(0, len(smallest.steps), size):
                fewer = smallest.steps[:start] + smallest.steps[start + size :]
                if not fewer:
                    continue
                tries += 1
                outcome = self.attack(found.kind, found.seed, fewer)
                if outcome.findings and _gist(outcome) == wanted:
                    smallest = outcome
                    break
            else:
                size //= 2
        return smallest

    def steps(self, outcome: Outcome) -> list[Step]:
        """Return the steps that were taken."""
        drawn = self._steps(outcome.kind, outcome.seed)
        return [drawn[at] for at in outcome.steps]

    def _steps(self, kind: str, seed: int) -> list[Step]:
        return steps_of(kind, self._kind(kind), seed)

    def _kind(self, name: str) -> Kind:
        if name not in self._kinds:
            self._kinds[name] = load_kind(name)
        return self._kinds[name]


def load_kind(name: str) -> Kind:
    """Return the kind of that name, of `KINDS`."""
    module, _, of_class = KINDS[name].partition(":")
    make: Callable[[], Kind] = getattr(import_module(f"faults.attacks.{module}"), of_class)
    return make()


def _gist(outcome: Outcome) -> str:
    """Return the first words of the first finding, which say what kind of finding it is."""
    return " ".join(outcome.findings[0].split()[:4])
