"""The state of a run <-> one file, whole or not at all."""

import os
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UsageError

FILE = "state.pt"


def save_state(run: Path, state: dict[str, Any], name: str = FILE) -> None:
    """Replace the file in one step: a process that dies here leaves the one before."""
    draft = run / f".{name}.part"
    with draft.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, run / name)


def load_state(run: Path, device: torch.device, name: str = FILE) -> dict[str, Any] | None:
    """None where a run has not saved any; raises `UsageError` for a file that is no state."""
    path = run / name
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever unpickling foreign bytes raises
        raise UsageError(
            f"{path} is no state of a training run: remove it to start anew."
        ) from error
    return state
