"""The results that come with the project, without those that were measured in this checkout."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def copy_bundled_results(to: Path) -> Path:
    """Copy the files below `results/` that git tracks, all of them outside of a repository."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "results"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode or not listed.stdout:
        return Path(shutil.copytree(ROOT / "results", to))
    for name in listed.stdout.rstrip("\0").split("\0"):
        file = to / Path(name).relative_to("results")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, file)
    return to
