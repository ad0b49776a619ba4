"""Attacks on runs and on what they store: kills, full disks, flipped bits.

Each function gets an arena, sound inputs, and the generator that decides what it does.
"""

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.system.processes import descendants
from faults.attacks import promises
from faults.attacks.arena import Arena, Blow, store_in
from faults.attacks.sound import Sound

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LATEST_SECONDS = 6.0  # of a blow; a run takes three to eight on an idle machine
MOST_FILE_BYTES = 60_000
MOST_DISK_KIB, ROOM_KIB = 200, 64 << 10
STORED = ("*/per_image/*.parquet", "*/streams/*/*", "*/runs/*.json")
READERS = (
    ("doctor", "{results}"),
    ("report", "--results", "{results}", "--metrics", "psnr"),
    ("merge", "{results}", "--into", "merged"),
    ("audit", "decode", "{results}"),
    ("pack", "export", "out.tar", "--codecs", "jpeg", "--results", "{results}"),
    ("plan", "--codecs", "jpeg", "--dataset", "{photos}", "--results", "{results}"),
)


def _below(process_id: int, number: int, which: float) -> None:
    if below := descendants(process_id):
        os.kill(below[int(which * len(below))].process_id, number)


WHOM: dict[str, Callable[[int, int, float], None]] = {
    "the driver": lambda process_id, number, which: os.kill(process_id, number),
    "its process group": lambda process_id, number, which: os.killpg(process_id, number),
    "a process below it": _below,
}


def kills(arena: Arena, sound: Sound, chance: random.Random) -> None:
    """Runs of which a process, or all, is killed with an encoder's children; the last is not."""
    results, expected = arena.work / "results", sound.table_of(sound.slow)
    for _ in range(chance.randint(1, 4)):
        whom, which = chance.choice(sorted(WHOM)), chance.random()
        number = chance.choice(SIGNALS) if whom != "a process below it" else signal.SIGKILL
        after = chance.uniform(0.1, LATEST_SECONDS)
        arena.did(f"{number.name} to {whom} after {after:.2f} s")

        def strike(process_id: int, whom=whom, number=number, which=which) -> None:  # type: ignore[no-untyped-def]
            with suppress(ProcessLookupError, PermissionError):
                WHOM[whom](process_id, number, which)

        arena.bench(*sound.slow_words(results), blow=Blow(after, strike))
        arena.keeps(results, expected)
    arena.bench(*sound.slow_words(results))
    arena.ends_whole(results, expected)


def full_disk(arena: Arena, sound: Sound, chance: random.Random) -> None:
    """Commands with too little room, on a small disk if one can be mounted; the last has enough."""
    with _disk_below(arena.work / "disk") as disk:
        results = disk / "results"
        verbs: dict[str, list[object]] = {
            "run": sound.run_words(results),
            "merge": ["merge", sound.results, "--into", results],
            "pack": ["pack", "import", sound.pack, "--results", results],
            "report": ["report", "--results", results, "--dataset", sound.photos],
        }
        for _ in range(chance.randint(1, 4)):
            verb, of_files = chance.choice(sorted(verbs)), chance.random() < 0.5
            most_bytes = int(chance.random() ** 2 * MOST_FILE_BYTES)
            kib = chance.randint(4, MOST_DISK_KIB)
            limited = of_files or not _resized(disk, kib)
            arena.did(f"{verb} with {f'files of {most_bytes}' if limited else f'{kib * 1024}'} B")
            arena.bench(*verbs[verb], limits=[f"--fsize={most_bytes}"] if limited else [])
            _resized(disk, ROOM_KIB)
            arena.keeps(results, sound.table)
        arena.bench(*sound.run_words(results))
        arena.ends_whole(results, sound.table)


@contextmanager
def _disk_below(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mounted = _done("mount", "-t", "tmpfs", "-o", f"size={ROOM_KIB}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        if mounted:
            _done("umount", "-l", str(folder))


def _resized(disk: Path, kib: int) -> bool:
    """Return whether the disk has that size now; what is used already counts in addition."""
    used = sum(path.stat().st_size // 1024 + 4 for path in disk.rglob("*"))
    return _done("mount", "-o", f"remount,size={kib + used}k", str(disk))


def _done(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def bit_flips(arena: Arena, sound: Sound, chance: random.Random) -> None:
    """Bits of stored files change, commands read them, and runs make the rest again."""
    results, readers = sound.copied(arena), []
    for _ in range(chance.randint(1, 6)):
        files = sorted(results.glob(chance.choice(STORED)))
        arena.did(_flip(chance.choice(files), chance))
        readers.append(chance.choice(READERS))
    for reader in dict.fromkeys(readers):
        arena.bench(*(word.format(results=results, photos=sound.photos) for word in reader))
    arena.judge(promises.differing(store_in(arena.work / "merged"), sound.table))
    for _ in range(2):
        arena.bench(*sound.run_words(results, "--verify"))
    arena.ends_whole(results, sound.table)


def _flip(path: Path, chance: random.Random) -> str:
    """Change a bit of a file, in place and with the time that it had; return what was done."""
    content, before = bytearray(path.read_bytes()), path.stat()
    at, bit = chance.randrange(len(content)), chance.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"bit {bit} of byte {at} of {path.name} flipped"
