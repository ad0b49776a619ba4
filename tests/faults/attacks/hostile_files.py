"""Pipes, devices, links, bombs and nonsense in the places of files that commands read."""

import os
import pickle
import random
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from faults.attacks.arena import Arena
from faults.attacks.attack import Step
from faults.attacks.sound import Sound
from support.files.hostile_files import HEADERS, bomb, png, tar_of

SECRET = b"the secret of the user"
DEEP = 100_000  # brackets


class _Shot:
    """Object whose unpickling makes a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self._canary}",)


def _device(path: Path, arena: Arena) -> None:
    with suppress(PermissionError):  # only a privileged user may make one
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero


def _link_to(target: str) -> Callable[[Path, Arena], object]:
    return lambda path, arena: path.symlink_to(target.format(arena=arena.folder))


def _holding(content: bytes) -> Callable[[Path, Arena], object]:
    return lambda path, arena: path.write_bytes(content)


def _hole(path: Path, arena: Arena) -> None:
    path.touch()
    os.truncate(path, 1 << 36)


FILES: dict[str, Callable[[Path, Arena], object]] = {
    "a pipe": lambda path, arena: os.mkfifo(path),
    "a device": _device,
    "a link to /dev/zero": _link_to("/dev/zero"),
    "a link to a secret": _link_to("{arena}/secret"),
    "a link to itself": lambda path, arena: path.symlink_to(path),
    "a link to nothing": _link_to("{arena}/nothing"),
    "a folder": lambda path, arena: path.mkdir(),
    "nothing": _holding(b""),
    "64 GiB of zeros": _hole,
    "a pickle that runs a program": lambda path, arena: path.write_bytes(
        pickle.dumps(_Shot(arena.canary))
    ),
    "a torch file larger than itself": lambda path, arena: bomb(path),
    "deep JSON": _holding(b"[" * DEEP),
    "JSON of no meaning": _holding(b'{"format": 1e999, "run": null, "codecs": [[]]}'),
    "bytes that are no text": _holding(b"\xff\xfe\x00\x1b[2J" * 50),
    "the head of a shard": _holding(b"PAR1" + b"\x15\x04" * 200 + b"PAR1"),
    "a picture of 4 gigapixels": lambda path, arena: path.write_bytes(png(1, 65_535, 65_535)),
    "a picture without its last rows": lambda path, arena: path.write_bytes(png(3, 40, 48)),
    "a tar with an endless header": lambda path, arena: tar_of(
        path, {"pack.json": b"{}"}, HEADERS["one long number"]
    ),
}
# Where a file may be put, and which commands then read it.
REPORT = ("report", "--results", "results", "--metrics", "psnr")
ENCODE = ("encode", "photos/0.png", "a.crdr", "--checkpoint", "ours.safetensors")
PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "results/*/per_image/strange.parquet": (REPORT, ("merge", "results", "--into", "merged")),
    "results/*/runs/20260101T000000-aa.json": (REPORT, ("merge", "results", "--into", "merged")),
    "results/*/streams/*/?": (("merge", "results", "--into", "merged"), ("doctor", "results")),
    "results/*/features/a/b.npy": (REPORT, ("merge", "results", "--into", "merged")),
    "results/*/sets/x.parquet": (REPORT, ("doctor", "results")),
    "results/*/README.md": (REPORT, ("merge", "results", "--into", "merged")),
    "results/strange": (REPORT, ("doctor", "results")),
    "photos/strange.png": (
        ("run", "--codecs", "jpeg", "--dataset", "photos", "--metrics", "psnr", "--results", "r"),
    ),
    "pack.tar": (("pack", "import", "pack.tar", "--results", "imported"),),
    "ours.safetensors": (ENCODE,),
    "ours.json": (ENCODE,),
    "stream.crdr": (("decode", "stream.crdr", "decoded.png"),),
    "stream.jpg": (("decode", "stream.jpg", "decoded.png"),),
    "crdr.pth.tar": (("checkpoint", "import", "crdr.pth.tar"),),
}


class HostileFiles:
    """A step is one such file in one such place; the commands that read it follow."""

    most_steps = 4

    def draw(self, chance: random.Random) -> Step:
        """Draw the place and the file."""
        place, (name, make) = chance.choice(sorted(PLACES)), chance.choice(sorted(FILES.items()))

        def do(arena: Arena) -> str:
            for path in _paths(arena.work, place):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                path.unlink(missing_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                make(path, arena)
            return place

        return Step(f"{name} as {place}", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Copy what is sound, put the files there, and run what reads them."""
        (arena.folder / "secret").write_bytes(SECRET)
        sound.copied(arena)
        shutil.copytree(sound.photos, arena.work / "photos")
        sound.copy_loose_files(arena)
        commands = [command for step in steps for command in PLACES[step.do(arena)]]
        for command in dict.fromkeys(commands):
            arena.bench(*command, limits=("--fsize=100000000",))
        arena.judge(_copies_of_the_secret(arena.work))


def _paths(folder: Path, place: str) -> list[Path]:
    """Return the paths of a place: a star is the folder with `per_image`, ? the name of a file."""
    parent, _, name = place.rpartition("/")
    folders = sorted(folder.glob(parent)) if "*" in parent else [folder / parent]
    if not folders:  # of a room that these results do not have
        first, _, rest = parent.partition("/*/")
        folders = [next((folder / first).glob("*/per_image")).parent / rest]
    if name == "?":
        name = sorted(folders[0].iterdir())[0].name
    return [folders[0] / name]


def _copies_of_the_secret(folder: Path) -> list[str]:
    """Return which files below the folder, links aside, hold the bytes of the user's secret."""
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 24:
            continue
        if SECRET in path.read_bytes():
            found.append(f"the user's secret was copied to {path.relative_to(folder)}")
    return found
