"""The state of a run in a file, which is replaced as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UsageError
from benchmark.system.atomic import write_file
from benchmark.system.foreign.torch_file import load_tensors

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
        state = load_tensors(path, device)
    except Exception as error:  # whatever unpickling foreign bytes raises
        raise _no_state(path) from error
    if not isinstance(state, dict):
        raise _no_state(path)
    return state


@contextmanager
def taking_up(run: Path) -> Iterator[None]:
    """Raise `UsageError` for a state that lacks a part, or has one of another network or kind."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _no_state(run / STATE) from error


def _no_state(path: Path) -> UsageError:
    return UsageError(f"{path} is no state of a training run: remove it to start anew.")
