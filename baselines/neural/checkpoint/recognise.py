"""The architecture and configuration of bare tensors, told from their names and shapes."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from baselines.neural.architecture import ARCHITECTURES, Architecture, Shapes, load_architecture
from baselines.neural.checkpoint.card import Card, verified_card
from benchmark.errors import Unavailable
from benchmark.system.foreign.regular_file import open_regular

TABLES = "tables."
SCALES = "scales."  # of parameters in integers
NAMED = 3  # tensors named in an error
LARGEST_HEADER_BYTES = 100_000_000  # as the format has it


class TensorFile(NamedTuple):
    """Names and shapes of what a checkpoint's file holds."""

    shapes: Shapes  # of the network's tensors
    tables: frozenset[str]  # names of the integer tables


class _Entry(msgspec.Struct):
    """Entry of a tensor in the header of a safetensors file, as far as it is needed here."""

    shape: tuple[int, ...]


class Recognised(NamedTuple):
    """A network whose parameters have exactly the names and shapes of a file's tensors."""

    architecture: str
    config: Any
    absent: tuple[str, ...]  # buffers that the file lacks, or has empty: tables were never made


class _Difference(NamedTuple):
    """Difference of the tensors of a file from those of an architecture's nearest network."""

    architecture: str
    landmarks: int  # of the architecture's, in the file
    number: int  # of differences
    words: str  # empty for none
    network: Recognised | None = None


def tensor_file(path: Path) -> TensorFile:
    """Return what the file's header says, without reading a tensor; raises `Unavailable`."""
    try:
        with open_regular(path) as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= min(LARGEST_HEADER_BYTES, path.stat().st_size - 8):
                raise ValueError("it does not begin with a header")
            record = msgspec.json.decode(file.read(size), type=dict[str, Any])
        record.pop("__metadata__", None)
        entries = msgspec.convert(record, dict[str, _Entry])
    except (OSError, ValueError) as error:
        raise Unavailable(f"{path} cannot be read as safetensors: {error}") from error
    return TensorFile(
        {k: one.shape for k, one in entries.items() if not k.startswith((TABLES, SCALES))},
        frozenset(name.removeprefix(TABLES) for name in entries if name.startswith(TABLES)),
    )


def checked_card(path: Path) -> Card:
    """Return the card of a tensors' file after comparing both; torch is not imported.

    Raises `Unavailable` for a card that is missing or wrong, tensors of another sha256, of another
    architecture or of other dimensions than the card says, and for tables that are missing.
    """
    card = verified_card(path)
    architecture, found = load_architecture(card.architecture), tensor_file(path)
    try:
        config = architecture.config_from_shapes(found.shapes, card.config)
    except (KeyError, ValueError, IndexError) as error:
        raise Unavailable(
            f"{path} does not hold its card's network, of {card.architecture}: {_told(error)}"
        ) from error
    if config != card.config:
        on_card, told = (architecture.config_to_json(one) for one in (card.config, config))
        name = next(name for name in on_card if on_card[name] != told[name])
        raise Unavailable(
            f"{path} does not fit its card: {name} is {told[name]} by its tensors, "
            f"{on_card[name]} on the card"
        )
    lacking = [name for name in architecture.table_names if name not in found.tables]
    if lacking:
        raise Unavailable(
            f"{path} lacks the integer table {lacking[0]}, without which it cannot code: "
            f"`bench checkpoint card {path}` makes a checkpoint with tables"
        )
    return card


def recognise(path: Path, shapes: Shapes, among: Collection[str] = ()) -> Recognised:
    """Return the network whose parameters have exactly these names and shapes.

    `path` is named in errors, `among` restricts the architectures. Raises `Unavailable`, with the
    nearest architecture and how it differs, where there is none, and where there are several.
    """
    tried = [_difference(load_architecture(name), shapes) for name in among or ARCHITECTURES]
    exact = [one for one in tried if one.network]
    if len(exact) == 1 and exact[0].network:
        return exact[0].network
    if exact:
        names = " and ".join(one.architecture for one in exact)
        raise Unavailable(f"{path} may be of {names}: say which with --architecture")
    nearest = min(tried, key=lambda one: (-one.landmarks, one.number))
    if not nearest.landmarks:
        known = ", ".join(one.architecture for one in tried)
        raise Unavailable(
            f"{path} holds {len(shapes)} tensors ({_listed(shapes)}), and none is of a network "
            f"known here: {known}"
        )
    raise Unavailable(
        f"{path} holds no network known here; nearest is {nearest.architecture}, but "
        f"{nearest.words}"
    )


def _difference(architecture: Architecture[Any], shapes: Shapes) -> _Difference:
    """Compare tensors with those of the network that the architecture would make of them."""
    import torch
    from torch import nn

    name = architecture.name
    landmarks = sum(landmark in shapes for landmark in architecture.landmarks)
    try:
        config = architecture.config_from_shapes(shapes)
        with torch.device("meta"):
            expected = architecture.build(config).stored_state()
    except (KeyError, ValueError, IndexError) as error:
        return _Difference(name, landmarks, len(shapes), _told(error))
    parameters = {k: tuple(v.shape) for k, v in expected.items() if isinstance(v, nn.Parameter)}
    lacking = sorted(parameters.keys() - shapes.keys())
    foreign = sorted(shapes.keys() - expected.keys())
    other = [
        f"{key} is {shapes[key]}, not {shape}"
        for key, shape in parameters.items()
        if shapes.get(key, shape) != shape
    ]
    words = [f"it lacks {_listed(lacking)}"] * bool(lacking)
    words += [f"it has {_listed(foreign)} besides"] * bool(foreign)
    words += [_listed(other, "; ")] * bool(other)
    if words:
        number = len(lacking) + len(foreign) + len(other)
        return _Difference(name, landmarks, number, "; ".join(words))
    buffers = expected.keys() - parameters.keys()
    absent = tuple(sorted(key for key in buffers if 0 in shapes.get(key, (0,))))
    return _Difference(name, landmarks, 0, "", Recognised(name, config, absent))


def _listed(names: Iterable[str], between: str = ", ") -> str:
    named = list(names)
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return between.join(named[:NAMED]) + more


def _told(error: Exception) -> str:
    return f"it lacks {error.args[0]}" if isinstance(error, KeyError) else str(error)
