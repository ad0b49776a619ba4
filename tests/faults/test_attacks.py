"""Random attacks on `bench` by a stranger's files: its promises hold.

    python -m pytest tests/faults/test_attacks.py -m slow -k 7

No file of the user may be copied, no code of a stranger may run, nothing may take long. A failure
lists what the attack did, and every broken promise with the command after which it was found. A
parser of bytes that others send is attacked by `test_parsers.py`.
"""

import os
import pickle
import random
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from faults.arena import Arena
from support.bench.command import bench
from support.codecs.files import FAKES
from support.files.hostile_files import HEADERS, MakesFolder, bomb, png, tar_of
from support.files.noise import noise_images
from support.networks.tiny_checkpoint import write_checkpoint

HONEST = f"{FAKES}:Honest"
SECRET = b"the secret of the user"


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
        pickle.dumps(MakesFolder(arena.canary))
    ),
    "a torch file larger than itself": lambda path, arena: bomb(path),
    "deep JSON": _holding(b"[" * 100_000),
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
MERGE, DOCTOR = ("merge", "results", "--into", "merged"), ("doctor", "results")
ENCODE = ("encode", "photos/0.png", "a.crdr", "--codec", "ours:beta=0:checkpoint=ours.safetensors")
RUN = ("run", "--codecs", "jpeg", "--dataset", "photos", "--metrics", "psnr", "--results", "r")
PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "results/*/per_image/strange.parquet": (REPORT, MERGE),
    "results/*/runs/20260101T000000-aa.json": (REPORT, MERGE),
    "results/*/streams/*/?": (MERGE, DOCTOR),
    "results/*/features/a/b.npy": (REPORT, MERGE),
    "results/*/sets/x.parquet": (REPORT, DOCTOR),
    "results/*/README.md": (REPORT, MERGE),
    "results/strange": (REPORT, DOCTOR),
    "photos/strange.png": (RUN,),
    "pack.tar": (("pack", "import", "pack.tar", "--results", "imported"),),
    "ours.safetensors": (ENCODE,),
    "ours.json": (ENCODE,),
    "stream.crdr": (("decode", "stream.crdr", "decoded.png"),),
    "stream.jpg": (("decode", "stream.jpg", "decoded.png"),),
    "crdr.pth.tar": (("checkpoint", "import", "crdr.pth.tar"),),
}


@pytest.fixture(scope="module")
def place():
    """A folder of a short path: sockets of workers lie below it, with 107 bytes at most."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def sound(place):
    """A folder with photographs, results, a pack, and a checkpoint, all of them whole."""
    folder = place / "sound"
    noise_images(folder / "photos", ((48, 40), (96, 33)))
    results = ("--results", folder / "results")
    points = ("--points", "jpeg.quality=10,90,webp.quality=5,50", "--metrics", "psnr")
    codecs = ("--codecs", f"jpeg,webp,{HONEST}")
    run = ("run", *codecs, "--dataset", folder / "photos", *points, *results)
    for words in (run, ("pack", "export", folder / "pack.tar", "--codecs", "jpeg", *results)):
        done = bench(*words)
        assert done.returncode == 0, done.stderr
    write_checkpoint(folder / "ours.safetensors")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_an_attack_breaks_no_promise(seed, place, sound):
    """Pipes, devices, links, bombs and nonsense in the places of files that commands read."""
    arena, chance = Arena(place / "arena"), random.Random(f"hostile_files {seed}")
    (arena.folder / "secret").write_bytes(SECRET)
    shutil.copytree(sound, arena.work, dirs_exist_ok=True, symlinks=True)
    deeds, commands = [], []
    for _ in range(chance.randint(1, 4)):
        where, name = chance.choice(sorted(PLACES)), chance.choice(sorted(FILES))
        deeds.append(f"{name} as {where}")
        path = _path(arena.work, where)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        FILES[name](path, arena)
        commands += PLACES[where]
    for command in dict.fromkeys(commands):
        arena.bench(*command)
    for path in arena.work.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 24:
            copied = SECRET in path.read_bytes()
            arena.findings += [f"the user's secret was copied to {path.name}"] * copied
    arena.leave()
    findings = list(dict.fromkeys(arena.findings))
    assert findings == [], "\n".join([*deeds, *findings])


def _path(folder: Path, place: str) -> Path:
    """Return the path of a place: a star is the folder with `per_image`, ? the name of a file."""
    parent, _, name = place.rpartition("/")
    result = sorted(folder.glob(parent)) if "*" in parent else [folder / parent]
    if not result:  # of a room that these results do not have
        first, _, rest = parent.partition("/*/")
        result = [next((folder / first).glob("*/per_image")).parent / rest]
    return result[0] / (sorted(result[0].iterdir())[0].name if name == "?" else name)
