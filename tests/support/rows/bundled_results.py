"""The results that come with the project, without those that were measured in this checkout."""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]


@cache
def bundled_results() -> Path:
    """Return the folder of bundled results: a copy where runs in this checkout added others."""
    if not _listed("--others"):
        return ROOT / "results"
    folder = Path(tempfile.mkdtemp(prefix="rdrbench-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return copy_bundled_results(folder / "results")


def copy_bundled_results(to: Path) -> Path:
    """Copy the files below `results/` that git tracks, all of them outside of a repository."""
    tracked = _listed()
    if not tracked:
        return Path(shutil.copytree(ROOT / "results", to))
    for name in tracked:
        file = to / Path(name).relative_to("results")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, file)
    return to


def _listed(*which: str) -> list[str]:
    words = ["git", "-C", str(ROOT), "ls-files", "-z", *which, "results"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    return [name for name in result.stdout.split("\0") if name]
