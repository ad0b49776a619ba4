"""What a checkpoint is and how to make it again <-> the json file beside its tensors. No torch."""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from baselines.neural.crdr.sizes import Sizes
from benchmark.errors import Unavailable
from benchmark.system.digest import file_sha256

FORMAT = 1
LARGEST_CARD_BYTES = 1 << 20

Understood = TypeVar("Understood")


@dataclass(frozen=True, slots=True)
class Card:
    """What a checkpoint is and how to make it again."""

    sizes: Sizes
    training_data: str
    steps: int
    command: str
    commit: str  # of the code that trained it
    measured: Mapping[str, float] = field(default_factory=dict)  # unit in the name: "kodak_q2_bpp"
    caveat: str = ""  # what tables and figures say beside its name: "untrained"
    sha256: str = ""  # of the tensors' file, in hexadecimal; `save_checkpoint` fills it in

    @property
    def identity(self) -> bytes:
        """32 bytes; streams carry the first few."""
        return bytes.fromhex(self.sha256)


def card_path(path: Path) -> Path:
    """The card of a tensors' file: the same name, ending in .json."""
    return path.with_suffix(".json")


def save_card(path: Path, card: Card) -> None:
    """Write the card of the tensors' file `path`, whole or not at all."""
    write_record(path, _to_json(card))


def load_card(path: Path) -> Card:
    """The card of a tensors' file, without reading the tensors; raises `Unavailable`."""
    return read_record(path, _from_json)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """What a card of any kind says, beside the tensors' file `path`."""
    draft = path.with_name(f".{card_path(path).name}.part")
    draft.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(draft, card_path(path))


def read_record(path: Path, understood: Callable[[Any], Understood]) -> Understood:
    """The inverse, checked by a function that raises `ValueError`; raises `Unavailable`."""
    source = card_path(path)
    try:
        if source.stat().st_size > LARGEST_CARD_BYTES:
            raise ValueError("it is larger than 1 MiB")
        return understood(json.loads(source.read_text()))
    except FileNotFoundError:
        raise Unavailable(f"no checkpoint {path} with its card {source.name} beside it") from None
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise Unavailable(f"{source} is no card of a checkpoint: {error}") from error


def check_file(path: Path, sha256: str) -> None:
    """Raise `Unavailable` where the tensors' file is not the one that its card was written for."""
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise Unavailable(f"no checkpoint {path}: {error.strerror}") from error
    if actual != sha256:
        raise Unavailable(
            f"{path} is damaged or of another checkpoint: its sha256 begins with {actual[:8]}, "
            f"that on its card with {sha256[:8]}; get both files again"
        )


def _to_json(card: Card) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "sizes": card.sizes.to_json(),
        "training_data": card.training_data,
        "steps": card.steps,
        "command": card.command,
        "commit": card.commit,
        "measured": dict(card.measured),
        "caveat": card.caveat,
        "sha256": card.sha256,
    }


def _from_json(record: Any) -> Card:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    for name in ("training_data", "command", "commit", "sha256"):
        if not isinstance(record.get(name), str):
            raise ValueError(f"{name} is {record.get(name)!r}")
    digest = record["sha256"]
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ValueError(f"sha256 is {digest!r}")
    caveat = record.get("caveat", "")
    if not isinstance(caveat, str):
        raise ValueError(f"caveat is {caveat!r}")
    steps, measured, sizes = record.get("steps"), record.get("measured"), record.get("sizes")
    if type(steps) is not int or steps < 0:
        raise ValueError(f"steps is {steps!r}")
    if not isinstance(measured, dict) or not all(_is_finite(one) for one in measured.values()):
        raise ValueError("measured is not a number by each name")
    if not isinstance(sizes, dict):
        raise ValueError(f"sizes is {sizes!r}")
    return Card(
        Sizes.from_json(sizes),
        record["training_data"],
        steps,
        record["command"],
        record["commit"],
        measured,
        caveat,
        digest,
    )


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
