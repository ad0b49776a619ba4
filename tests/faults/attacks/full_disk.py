"""Disks that are full and files that may not grow, under every verb that writes results."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from faults.attacks.arena import Arena
from faults.attacks.attack import Step
from faults.attacks.sound import Sound

MOST_FILE_BYTES = 60_000
MOST_DISK_KIB = 200
ROOM_KIB = 64 << 10
VERBS = ("run", "merge", "pack import", "report")


class FullDisk:
    """A step is a command that gets too little room; at the end the same ones get enough.

    A small file system in memory is the disk where one can be mounted, otherwise only the size of
    files is limited.
    """

    most_steps = 4

    def draw(self, chance: random.Random) -> Step:
        """Draw a verb and how much room it has."""
        verb, of_files = chance.choice(VERBS), chance.random() < 0.5
        most_bytes = int(chance.uniform(0, 1) ** 2 * MOST_FILE_BYTES)
        most_kib = chance.randint(4, MOST_DISK_KIB)
        says = f"files of {most_bytes} bytes" if of_files else f"a disk of {most_kib} KiB"

        def do(arena: Arena, sound: Sound, disk: Path) -> None:
            of_size = of_files or not resized(disk, most_kib)
            limits = [f"--fsize={most_bytes}"] if of_size else []
            arena.bench(*words_of(verb, sound, disk / "results"), limits=limits)
            resized(disk, ROOM_KIB)

        return Step(f"`{verb}` with {says}", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Give too little room at each step, then enough."""
        with disk_below(arena.work / "disk") as disk:
            for step in steps:
                step.do(arena, sound, disk)
                arena.keeps(disk / "results", sound.table)
            arena.bench(*sound.run_words(disk / "results"))
            arena.ends_whole(disk / "results", sound.table)


def words_of(verb: str, sound: Sound, results: Path) -> list[object]:
    """Return the words of a command that writes into `results`."""
    if verb == "run":
        return sound.run_words(results)
    if verb == "merge":
        return ["merge", sound.results, "--into", results]
    if verb == "pack import":
        return ["pack", "import", sound.pack, "--results", results]
    return ["report", "--results", results, "--metrics", "psnr", "--dataset", sound.photos]


@contextmanager
def disk_below(folder: Path) -> Iterator[Path]:
    """Mount a file system in memory there if this user may, else use the folder as it is."""
    folder.mkdir()
    options = f"size={ROOM_KIB}k"
    mounted = _done("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield folder
    finally:
        if mounted:
            _done("umount", "-l", str(folder))


def resized(disk: Path, kib: int) -> bool:
    """Return whether the disk has that size now; what is used already counts in addition."""
    used = sum(path.stat().st_size // 1024 + 4 for path in disk.rglob("*"))
    return _done("mount", "-o", f"remount,size={kib + used}k", str(disk))


def _done(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
