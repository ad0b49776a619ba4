"""Run the scripts of this folder and print the table of docs/experiments/speed.md, in half an hour.

    python tests/speed/all.py [--kodak FOLDER] [--authors CHECKOUT] [--only WORD] [--tiny]

Run by hand on two idle cores. Each row is a verdict of a script, which says what it compares and
with which options; a peer that cannot be had is a row that says why. `--authors` is a checkout of
github.com/iwa-shi/CRDR, whose PyYAML goes into a throw-away environment. `--tiny` runs the scripts
that take other input on very little of it, to see that they work: its figures say nothing. Exit
code 1 where a target is missed or a script failed.
"""

import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from harness import KODAK, ROOT, options

HERE = Path(__file__).parent
VERDICT = re.compile(r"^(met   |MISSED) (.+): (-?[\d.]+), at most ([\d.]+)$", re.MULTILINE)
LIMIT_SECONDS = 900  # of a script
HEADER = "| work | figure | bar | verdict |\n|---|--:|--:|---|"


class Script(NamedTuple):
    """A script with its words, those of `--tiny`, and what its rows begin with."""

    file: str
    title: str
    words: tuple[str, ...] = ()
    tiny: tuple[str, ...] | None = None  # None: it takes no smaller input
    needs: str = ""  # "kodak", "authors"


SCRIPTS = (
    Script(
        "kodak_jpeg.py", "Kodak x 5 JPEG qualities, peer compressai.bench pinned", needs="kodak"
    ),
    Script("kodak_hyperprior.py", "hyperprior on Kodak, peer eval_model", needs="kodak"),
    Script("inception.py", "features, peer pytorch-fid", (), ("--patches", "4", "--rounds", "1")),
    Script("metrics.py", "metrics, peers of their packages", (), ("--repeat", "2")),
    Script("crdr.py", "ours full, peer the authors' code", needs="authors"),
    Script("ours.py", "768 x 512, one thread", (), ("--height", "64", "--width", "64")),
    Script("store.py", "store", (), ("--rows", "20000", "--repeated", "200")),
    Script("start.py", "harness", (), ("--images", "10", "--codecs", "raw,jpeg", "--limit", "1")),
    Script(
        "linear.py", "linearity", (), ("--images", "2,4,8", "--codecs", "1,2", "--workers", "1,2")
    ),
    Script("local_engine.py", "local engine, Kodak x WebP and AVIF", needs="kodak"),
    Script("frechet.py", "Frechet distance", (), ("--dimensions", "64", "--samples", "200")),
    Script("worker.py", "worker", (), ("--calls", "3")),
    Script("first_minutes.py", "first minutes, in fresh clones"),
)
BY_HAND = (
    ("training, crops/s", "tests/speed/training.py; it has no peer"),
    ("whole default test suite on two idle cores", "`time ./run_all.sh test`"),
)


def main() -> int:
    """Run each script, then print the table."""
    given = options(__doc__, kodak=str(KODAK), authors="", only="", tiny=False)
    rows, failed, began = [], False, perf_counter()
    for script in SCRIPTS:
        if given.only not in script.file:
            continue
        print(f"{script.file} ...", file=sys.stderr, flush=True)
        of_script, bad = table_rows(script, given.kodak, given.authors, given.tiny)
        rows += of_script
        failed |= bad
    rows += [f"| {what} | – | – | by hand: {how} |" for what, how in BY_HAND] * (not given.only)
    commit = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    minutes = (perf_counter() - began) / 60
    print(f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {cpu()}, {minutes:.0f} minutes\n")
    print("\n".join([HEADER, *rows]))
    return 1 if failed else 0


def table_rows(script: Script, kodak: str, authors: str, tiny: bool) -> tuple[list[str], bool]:
    """Return the rows of a script, and whether a target was missed or it failed."""

    def row(why: str) -> str:
        return f"| {script.title} | – | – | {why} |"

    if script.needs == "kodak" and len(list(Path(kodak).glob("*.png"))) != 24:
        return [row(f"absent: {kodak} does not hold Kodak (--kodak)")], False
    if script.needs == "authors" and not authors:
        return [row("absent: no checkout of github.com/iwa-shi/CRDR (--authors)")], False
    if tiny and script.tiny is None:
        return [row("not run with --tiny")], False
    words = list((script.tiny or ()) if tiny else script.words)
    words += ["--kodak", kodak] if script.needs == "kodak" else []
    with TemporaryDirectory() as folder:
        python = sys.executable
        if script.needs == "authors":
            python = with_packages(Path(folder), "PyYAML")
            words += ["--authors", authors]
        try:
            done = subprocess.run(
                [python, str(HERE / script.file), *words],
                cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return [row(f"stopped after {LIMIT_SECONDS} s")], True
    result = VERDICT.findall(done.stdout)
    rows = [
        f"| {script.title}: {what} | {value} | {bar} | {verdict.strip()} |"
        for verdict, what, value, bar in result
    ]
    if not result:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        return [row(f"failed: {' '.join(last)}")], True
    return rows, done.returncode != 0


def with_packages(folder: Path, *packages: str) -> str:
    """Return the interpreter of a throw-away environment with these packages beside ours."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "project.pth").write_text("\n".join([*ours, str(ROOT)]) + "\n")
    return str(python)


def cpu() -> str:
    """Return the processor's name, and its widest vectors."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.+)", text)
    flags = set(text.split())
    wide = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "neither AVX2"
    return f"{name[1] if name else platform.machine()}, {wide}"


if __name__ == "__main__":
    sys.exit(main())
