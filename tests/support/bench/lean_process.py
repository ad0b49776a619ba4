"""`bench` in a process where importing some packages is an error."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from support.processes import ran

ROOT = Path(__file__).parents[3]
HEAVY = (
    *("compressai", "imagecodecs", "lpips", "matplotlib", "numpy", "pandas", "polars", "scipy"),
    *("seaborn", "skimage", "torch", "torchvision"),
)


def bench_without(blocked: Iterable[str], folder: Path, *arguments: str) -> str:
    """What `bench` prints where importing one of these packages is an error, in workers as well."""
    for package in blocked:
        (folder / f"{package}.py").write_text(f"raise AssertionError('{package} was imported')\n")
    return printed_in(folder, "from benchmark.cli import main; main()", *arguments)


def modules_of(folder: Path, *arguments: str) -> set[str]:
    """Return the names of all modules that `bench` has imported when it ends, without workers."""
    script = (
        "import atexit, pathlib, sys\n"
        "atexit.register(lambda: pathlib.Path('modules').write_text(' '.join(sys.modules)))\n"
        "from benchmark.cli import main; main()"
    )
    printed_in(folder, script, *arguments)
    return set((folder / "modules").read_text().split())


def printed_in(folder: Path, script: str, *arguments: str) -> str:
    """Return what a program prints that imports from a folder before any other place."""
    variables = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "COLUMNS": 100}
    result = ran(sys.executable, "-c", script, *arguments, folder=folder, **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout
