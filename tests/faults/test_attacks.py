"""Random attacks on `bench` by a stranger's files: its promises hold.

    python -m pytest tests/faults/test_attacks.py -m slow -k 7

No file of the user may be copied, no code of a stranger may run, nothing may take long. A failure
lists what the attack did, and every broken promise with the command after which it was found. A
parser of bytes that others send is attacked by `test_parsers.py`.
"""

import os
import pickle
import random
import re
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import ROOT
from support.bench.command import bench
from support.codecs.files import FAKES
from support.files.hostile_files import HEADERS, MakesFolder, bomb, png, tar_of
from support.files.noise import noise_images
from support.networks.tiny_checkpoint import write_checkpoint

HONEST = f"{FAKES}:Honest"
SECRET = b"the secret of the user"
LIMITS = (  # of a command, which takes ten seconds on a busy machine
    *("timeout", "--kill-after=5", "300", "prlimit", "--fsize=100000000", "--cpu=120"),
)
MOST_BYTES = 2 << 30  # resident, of the largest process of a command
EXIT_CODES = {0, 1, 2, 3, 4, 130}  # 124 or a signal: beyond a limit of time
# What an interpreter or the C library prints where a program has not caught its error, and what
# steers a terminal.
WRONG = re.compile(
    r"Traceback \(most recent call last\)|Fatal Python error|Exception ignored"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x9b\u202a-\u202e\u2066-\u2069]"
)
Placing = Callable[[Path, Path], object]  # at a path, in the folder of an attack


def _device(path: Path, folder: Path) -> None:
    with suppress(PermissionError):  # only a privileged user may make one
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero


def _link_to(target: str) -> Placing:
    return lambda path, folder: path.symlink_to(target.format(folder))


def _holding(content: bytes) -> Placing:
    return lambda path, folder: path.write_bytes(content)


def _hole(path: Path, folder: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 36)


FILES: dict[str, Placing] = {
    "a pipe": lambda path, folder: os.mkfifo(path),
    "a device": _device,
    "a link to /dev/zero": _link_to("/dev/zero"),
    "a link to a secret": _link_to("{}/secret"),
    "a link to itself": lambda path, folder: path.symlink_to(path),
    "a link to nothing": _link_to("{}/nothing"),
    "a folder": lambda path, folder: path.mkdir(),
    "nothing": _holding(b""),
    "64 GiB of zeros": _hole,
    "a pickle that runs a program": lambda path, folder: path.write_bytes(
        pickle.dumps(MakesFolder(folder / "PWNED"))
    ),
    "a torch file larger than itself": lambda path, folder: bomb(path),
    "deep JSON": _holding(b"[" * 100_000),
    "JSON of no meaning": _holding(b'{"format": 1e999, "run": null, "codecs": [[]]}'),
    "bytes that are no text": _holding(b"\xff\xfe\x00\x1b[2J" * 50),
    "the head of a shard": _holding(b"PAR1" + b"\x15\x04" * 200 + b"PAR1"),
    "a picture of 4 gigapixels": lambda path, folder: path.write_bytes(png(1, 65_535, 65_535)),
    "a picture without its last rows": lambda path, folder: path.write_bytes(png(3, 40, 48)),
    "a tar with an endless header": lambda path, folder: tar_of(
        path, {"rows.parquet": b"PAR1"}, HEADERS["one long number"]
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
def sound(tmp_path_factory):
    """A folder with photographs, results, a pack, and a checkpoint, all of them whole."""
    folder = tmp_path_factory.mktemp("sound")
    noise_images(folder / "photos", ((48, 40), (96, 33)))
    results = ("--results", folder / "results")
    points = ("--points", "jpeg.quality=10,90,webp.quality=5,50", "--metrics", "psnr")
    codecs = ("--codecs", f"jpeg,webp,{HONEST}")
    run = ("run", *codecs, "--dataset", folder / "photos", *points, *results)
    for words in (run, ("pack", "export", folder / "pack.tar", "--codecs", "jpeg", *results)):
        bench(*words, code=0)
    write_checkpoint(folder / "ours.safetensors")
    return folder


def wrongs(words: tuple[str, ...], folder: Path) -> list[str]:
    """Run a command of `bench` within `LIMITS`; return what is wrong with its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(
        [*LIMITS, sys.executable, "-m", "benchmark", *words],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}", "COLUMNS": "200"},
        cwd=folder / "work", text=True, errors="backslashreplace", check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    found = WRONG.search(done.stdout)
    last = done.stdout.rstrip().rpartition("\n")[2]
    wrong = {
        f"it prints {found and found[0]!r}: {done.stdout[-1500:]}": found,
        f"it ends with exit code {done.returncode}: {last}": done.returncode not in EXIT_CODES,
        f"it ends with a sentence, not {last!r}": done.returncode == 2 and last[:7] != "bench: ",
        f"it ends with exit code {done.returncode} and says nothing": done.returncode and not last,
        f"a process of it takes {peak:,} KiB": peak > max(before, MOST_BYTES >> 10),
        "code of a stranger was executed": (folder / "PWNED").exists(),
    }
    return [f"`bench {' '.join(words)}`: {what}" for what, is_so in wrong.items() if is_so]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_an_attack_breaks_no_promise(seed, tmp_path, sound):
    """Pipes, devices, links, bombs and nonsense in the places of files that commands read."""
    work, chance = tmp_path / "work", random.Random(f"hostile_files {seed}")
    (tmp_path / "secret").write_bytes(SECRET)
    shutil.copytree(sound, work, symlinks=True)
    deeds, commands = [], []
    for _ in range(chance.randint(1, 4)):
        where, name = chance.choice(sorted(PLACES)), chance.choice(sorted(FILES))
        deeds.append(f"{name} as {where}")
        path = _path(work, where)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        FILES[name](path, tmp_path)
        commands += PLACES[where]
    findings = [what for words in dict.fromkeys(commands) for what in wrongs(words, tmp_path)]
    for path in work.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 24:
            assert SECRET not in path.read_bytes(), f"the user's secret was copied to {path.name}"
    assert findings == [], "\n".join([*deeds, *findings])


def _path(folder: Path, place: str) -> Path:
    """Return the path of a place: a star is the folder with `per_image`, ? the name of a file."""
    parent, _, name = place.rpartition("/")
    result = sorted(folder.glob(parent)) if "*" in parent else [folder / parent]
    if not result:  # of a room that these results do not have
        first, _, rest = parent.partition("/*/")
        result = [next((folder / first).glob("*/per_image")).parent / rest]
    return result[0] / (sorted(result[0].iterdir())[0].name if name == "?" else name)
