"""Carry a training run's state to another machine in small files.

    .venv/bin/python tools/state_parts.py runs/a carried --part-mib 16
    cat carried/state.pt.* > runs/b/state.pt        # there, beside the run's other files

Weights and their means stay as they are; Adam's moments, two thirds of a state, travel in bfloat16,
so that losses after the journey differ from those of an unbroken run by less than .1 %. The trainer
turns them into float32 again.
"""

import argparse
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from baselines.neural.training.run import STATE, load_state
from benchmark.errors import BenchError, UsageError
from benchmark.system.atomic import write_file

MOMENTS = ("exp_avg", "exp_avg_sq")


def shortened(state: Any) -> Any:
    """Return a state whose moments are in bfloat16."""
    if isinstance(state, dict):
        return {
            name: part.bfloat16() if name in MOMENTS else shortened(part)
            for name, part in state.items()
        }
    return type(state)(map(shortened, state)) if isinstance(state, list | tuple) else state


def split(run: Path, folder: Path, part_bytes: int) -> list[Path]:
    """Write the state of `run` as files of at most `part_bytes`, in the order of their names."""
    state = load_state(run, torch.device("cpu"))
    if state is None:
        raise UsageError(f"{run} has no {STATE}: train there first")
    if part_bytes < 1 or list(folder.glob(f"{STATE}.*")):
        raise UsageError(f"{folder} has parts already, or they are to have no byte: name another")
    whole = BytesIO()
    torch.save(shortened(state), whole)
    folder.mkdir(parents=True, exist_ok=True)
    content = whole.getvalue()
    starts = range(0, len(content), part_bytes)
    paths = [folder / f"{STATE}.{number:06}" for number in range(len(starts))]
    for path, start in zip(paths, starts, strict=True):
        write_file(path, content[start : start + part_bytes])
    return paths


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Split a training run's state.")
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part-mib", type=float, default=16)
    arguments = parser.parse_args()
    try:
        paths = split(arguments.run, arguments.folder, int(arguments.part_mib * (1 << 20)))
    except (BenchError, OSError, ValueError, OverflowError) as error:  # also of --part-mib nan
        print(f"state_parts: {error}", file=sys.stderr)
        return 2
    print(f"{len(paths)} parts; there: cat {arguments.folder}/{STATE}.* > RUN/{STATE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
