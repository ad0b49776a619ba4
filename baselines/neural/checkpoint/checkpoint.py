"""A trained network <-> a safetensors file and the json card beside it.

The tensors' file holds the parameters by their names in `CRDR`, in float32 or float16, and integer
tables by names that begin with `tables.`. The card says where they come from and carries the
sha256 of that file, whose first bytes name the checkpoint in every stream.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from baselines.neural.checkpoint.card import Card, check_file, load_card, save_card
from baselines.neural.crdr.model import CRDR
from benchmark.errors import Unavailable
from benchmark.system.digest import file_sha256

TABLES = "tables."
FLOATS = (torch.float32, torch.float16)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Checkpoint(NamedTuple):
    """As read from disk."""

    model: CRDR  # on the CPU, in float32 and evaluation mode
    card: Card
    tables: dict[str, Tensor]  # integers, by name


def save_checkpoint(
    path: Path,
    model: CRDR,
    card: Card,
    tables: Mapping[str, Tensor] | None = None,
    *,
    half: bool = False,
) -> Card:
    """Write the tensors to `path`, then the card; returns the card with its sha256.

    Each file appears whole or not at all. With `half`, parameters are rounded to float16. Raises
    `ValueError` for parameters that are not finite then, tables that hold no integers, and a card
    that speaks of another network.
    """
    if card.sizes != model.sizes:
        raise ValueError("the card and the model have different sizes")
    kept = torch.float16 if half else torch.float32
    tensors = {
        name: value.detach().to("cpu", kept).contiguous().clone()
        for name, value in model.state_dict().items()
    }
    broken = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if broken:
        raise ValueError(f"not finite as {kept}: {', '.join(broken[:4])}")
    for name, table in (tables or {}).items():
        if table.dtype not in INTEGERS:
            raise ValueError(f"the table {name} holds {table.dtype}")
        tensors[f"{TABLES}{name}"] = table.detach().cpu().contiguous().clone()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(save(tensors))  # not save_file, which lets nobody else read the file
    os.replace(draft, path)
    written = replace(card, sha256=file_sha256(path))
    save_card(path, written)  # last: a card that is there has its tensors
    return written


def load_checkpoint(path: Path) -> Checkpoint:
    """The network, its card and its tables.

    Raises `Unavailable` for files that are missing, damaged, foreign, or of another checkpoint.
    Nothing is made that is larger than the file itself, twice over in float16.
    """
    card = load_card(path)
    check_file(path, card.sha256)
    with torch.device("meta"):
        model = CRDR(card.sizes)
    parameters, tables = _read(path, {k: v.shape for k, v in model.state_dict().items()})
    model.load_state_dict(parameters, assign=True)
    return Checkpoint(model.eval(), card, tables)


def _read(
    path: Path, shapes: Mapping[str, torch.Size]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = {name for name in file.keys() if not name.startswith(TABLES)}  # noqa: SIM118
            strange = sorted(names ^ shapes.keys()) or sorted(
                name for name in names if file.get_slice(name).get_shape() != list(shapes[name])
            )
            if strange:
                raise Unavailable(f"{path} does not hold its card's network: {strange[0]} differs")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise Unavailable(f"{path} cannot be read as safetensors: {error}") from error
    for name, value in tensors.items():
        expected = FLOATS if name in names else INTEGERS
        if value.dtype not in expected or not bool(value.isfinite().all()):
            raise Unavailable(f"{path} cannot be used: {name} holds {value.dtype} or no numbers")
    return (
        {name: tensors[name].to(torch.float32) for name in names},
        {k.removeprefix(TABLES): v for k, v in tensors.items() if k.startswith(TABLES)},
    )
