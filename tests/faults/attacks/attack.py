"""What an attack is: a kind, a seed, and steps of which each is drawn by itself."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from faults.attacks.arena import Arena
from faults.attacks.sound import Sound


class Step(NamedTuple):
    """One act of an attack: what it says in a report, and what it does to the arena.

    What `do` gets beside the arena, and when it is called, its kind says.
    """

    says: str
    do: Callable[..., object]


class Kind(Protocol):
    """One kind of attack: it draws steps, and carries them out with real commands.

    Whatever is wrong, the arena's invariants find. Steps are independent: some of them, in the same
    order, are an attack as well, by which a finding is shrunk.
    """

    most_steps: int

    def draw(self, chance: random.Random) -> Step:
        """Draw one step."""
        ...

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Prepare the arena, run the commands, and judge what they leave."""
        ...


def steps_of(name: str, kind: Kind, seed: int) -> list[Step]:
    """Return the steps of the attack of that kind and seed, one to `kind.most_steps`.

    Each has a generator of its own, so that leaving one out changes none of the others.
    """
    number = random.Random(f"{name} {seed}").randint(1, kind.most_steps)
    return [kind.draw(random.Random(f"{name} {seed} {at}")) for at in range(number)]
