"""Bits that change in stored shards, streams and records, in packs, cards and checkpoints."""

import os
import random
from collections.abc import Sequence
from pathlib import Path

from faults.attacks import invariants
from faults.attacks.arena import Arena, store_in
from faults.attacks.attack import Step
from faults.attacks.sound import PARTS, Sound

STORED = ("*/per_image/*.parquet", "*/streams/*/*", "*/runs/*.json")
READERS = (
    ("doctor", "{results}"),
    ("report", "--results", "{results}", "--metrics", "psnr"),
    ("merge", "{results}", "--into", "merged"),
    ("audit", "decode", "{results}"),
    ("pack", "export", "out.tar", "--codecs", "jpeg", "--results", "{results}"),
    ("plan", "--codecs", "jpeg", "--dataset", "{photos}", "--results", "{results}"),
)


class BitFlips:
    """A step is a bit of a stored file; some commands read it, then a run makes the rest again."""

    most_steps = 6

    def draw(self, chance: random.Random) -> Step:
        """Draw which kind of file, which of them, and which bit; and who reads it."""
        pattern, which, where = chance.choice(STORED), chance.random(), chance.random()
        bit, reader = chance.randrange(8), chance.choice(READERS)

        def do(results: Path) -> tuple[str, ...]:
            found = sorted(results.glob(pattern))
            flip(found[int(which * len(found))], where, bit)
            return reader

        return Step(f"a bit at {where:.4f} of one of {pattern}, read by `{reader[0]}`", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Flip all bits, read, verify twice (which measures again what is damaged), compare."""
        results = sound.copied(arena)
        readers = [step.do(results) for step in steps]
        for reader in dict.fromkeys(readers):
            arena.bench(*(word.format(results=results, photos=sound.photos) for word in reader))
        arena.judge(invariants.differing(store_in(arena.work / "merged"), sound.table))
        for _ in range(2):
            arena.bench(*sound.run_words(results, "--verify"))
        arena.ends_whole(results, sound.table)


class BitsOfOthers:
    """A step is a bit of a pack, a card or a checkpoint, which are read before anything is known.

    A pack or a checkpoint with a bit of another value may be another valid one, with numbers that
    its author answers for; what is judged is how the commands end.
    """

    most_steps = 4

    def draw(self, chance: random.Random) -> Step:
        """Draw which file, and which bit; half of them in the first four kilobytes."""
        name, where, bit = chance.choice(PARTS), chance.random(), chance.randrange(8)
        near = chance.random() < 0.5
        place = f"the first 4 kB of {name}" if near else name

        def do(folder: Path) -> str:
            flip(folder / name, where, bit, 4096 if near else None)
            return name

        return Step(f"a bit at {where:.4f} of {place}", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Copy card, checkpoint and pack, flip all bits, and read what was touched."""
        codec = sound.ours.replace(str(sound.folder), str(arena.work))
        sound.copy_loose_files(arena)
        touched = {step.do(arena.work) for step in steps}
        if "pack.tar" in touched:
            arena.bench("pack", "import", "pack.tar", "--results", "imported")
            arena.bench("report", "--results", "imported", "--metrics", "psnr")
        if touched - {"pack.tar"}:
            image = sound.photos / "0.png"
            arena.bench(*sound.run_words(arena.work / "r", "--points", "ours.q=0", codecs=codec))
            arena.bench("encode", image, "a.crdr", "--checkpoint", "ours.safetensors")


def flip(path: Path, where: float, bit: int, within: int | None = None) -> None:
    """Change a bit of a file, in place and with the time that it had.

    where: from 0 to 1 of its size, or of its first `within` bytes.
    """
    content, before = bytearray(path.read_bytes()), path.stat()
    size = min(len(content), within or len(content))
    content[int(where * size)] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
