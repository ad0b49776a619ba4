"""The state of a run in a file, which is replaced as a whole."""

from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UsageError
from benchmark.system.atomic import write_file

STATE, BEST = "state.pt", "best.pt"  # after the last saved step; with the best validation


def save_state(run: Path, state: dict[str, Any], name: str = STATE) -> None:
    """Replace the file in one step: a process that dies here leaves the one before."""
    content = BytesIO()
    torch.save(state, content)
    write_file(run / name, content.getbuffer(), durable=True)


def load_state(run: Path, device: torch.device, name: str = STATE) -> dict[str, Any] | None:
    """Return the state, None where a run has not saved any; raises `UsageError`."""
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
