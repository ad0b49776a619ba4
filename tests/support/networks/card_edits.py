"""Changes of a checkpoint's card on disk: functions of the path of its tensors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.system.digest import file_sha256

Edit = Callable[[Path], None]


def edited(**changes: Any) -> Edit:
    return lambda path: _rewrite(path, lambda card: card | changes)


def resized(**changes: Any) -> Edit:
    return lambda path: _rewrite(path, lambda card: card | {"config": card["config"] | changes})


def bless(path: Path) -> None:
    """Let the card vouch for whatever the tensors' file holds now."""
    edited(sha256=file_sha256(path))(path)


def _rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps(change(json.loads(card.read_text()))))
