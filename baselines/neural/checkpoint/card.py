"""The json card beside a checkpoint's tensors: its network and how to make it again. No torch.

Cards of format 1 have CRDR's sizes, or CompressAI's model, widths and lambda, in place of an
architecture and its configuration.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from baselines.neural.architecture import load_architecture
from benchmark.errors import Unavailable, UnknownName
from benchmark.system.atomic import write_file
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import read_regular

FORMAT = 2
LARGEST_CARD_BYTES = 1 << 20
UNKNOWN = "unknown"  # in place of a fact
TRAINING_UNKNOWN = "training unknown"  # caveat in tables and figures

Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Card:
    """Description of a checkpoint, from which it can be made again."""

    architecture: str  # a name in `ARCHITECTURES`
    config: Any  # what that architecture builds its network from
    training_data: str = UNKNOWN
    steps: int | None = None  # None: unknown
    command: str = UNKNOWN
    commit: str = UNKNOWN  # of the code that trained it
    measured: Mapping[str, float] = field(default_factory=dict)  # unit in the name: "kodak_q2_bpp"
    caveat: str = ""  # what tables and figures say beside its name: "untrained"
    crops: int = 0  # seen in training, all steps together; 0 where unknown
    sha256: str = ""  # of the tensors' file, in hexadecimal; `save_checkpoint` fills it in
    # Training steps by the precision of convolutions, "bfloat16" or "float32"; none where unknown.
    precision_steps: Mapping[str, int] = field(default_factory=dict)
    deterministic_steps: int = 0  # those with deterministic kernels alone
    optimiser: str = UNKNOWN  # of the network: "adam", "soap", or both in turn
    seed: int | None = None  # of start values and crops; None: unknown
    device: str = UNKNOWN  # "cpu", or the name of the GPU

    @property
    def identity(self) -> bytes:
        """32 bytes; streams carry the first few."""
        return bytes.fromhex(self.sha256)

    @property
    def training(self) -> str:
        """Number of training steps and training data, as rows have them."""
        if self.steps is None and self.training_data == UNKNOWN:
            return TRAINING_UNKNOWN
        steps = "an unknown number of" if self.steps is None else self.steps
        return f"{steps} steps, {self.training_data}"

    @property
    def shown_caveat(self) -> str:
        """Caveat of tables and figures beside its name; of an untrained network, this alone."""
        if self.steps == 0:
            return "untrained"
        unknown = TRAINING_UNKNOWN if self.steps is None else ""
        return ", ".join(filter(None, [unknown, self.caveat]))


class _Stored(msgspec.Struct, kw_only=True):
    """The fields of a card's json, of either format."""

    format: Literal[1, 2]
    training_data: str
    steps: Count | Literal["unknown"]
    command: str
    commit: str
    measured: dict[str, float]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    caveat: str = ""
    crops: Count = 0
    precision_steps: dict[str, Count] = {}
    deterministic_steps: Count = 0
    optimiser: str = UNKNOWN
    seed: Count | None = None
    device: str = UNKNOWN
    architecture: str = ""
    config: Any = None
    sizes: Any = None  # format 1: CRDR's
    model: Any = None  # format 1: CompressAI's, with the next two
    widths: Any = None
    lmbda: Any = None


def card_path(path: Path) -> Path:
    """Return the path of a tensors' file's card: the same name, ending in .json."""
    return path.with_suffix(".json")


def save_card(path: Path, card: Card) -> None:
    """Write the card of the tensors' file `path`, whole or not at all."""
    record: dict[str, Any] = {
        "format": FORMAT,
        "architecture": card.architecture,
        "config": load_architecture(card.architecture).config_to_json(card.config),
        "training_data": card.training_data,
        "steps": UNKNOWN if card.steps is None else card.steps,
        "crops": card.crops,
        "precision_steps": dict(card.precision_steps),
    }
    if card.deterministic_steps:
        record["deterministic_steps"] = card.deterministic_steps
    for name in ("optimiser", "seed", "device"):
        if getattr(card, name) not in (UNKNOWN, None):
            record[name] = getattr(card, name)
    for name in ("command", "commit", "measured", "caveat", "sha256"):
        record[name] = getattr(card, name)
    write_file(card_path(path), json.dumps(record, indent=2) + "\n", durable=True)


def load_card(path: Path) -> Card:
    """Return the card of a tensors' file, without reading the tensors; raises `Unavailable`."""
    source = card_path(path)
    try:
        return _card(json.loads(read_regular(source, LARGEST_CARD_BYTES)))
    except FileNotFoundError:
        if not path.is_file():
            missing = f"no checkpoint {path}"
        elif path.suffix != ".safetensors":
            missing = (
                f"{path} is no .safetensors file with its card beside it: `bench checkpoint import "
                f"{path}` makes a checkpoint of the weights of CRDR's authors"
            )
        else:
            makes = f"`bench checkpoint card {path}` makes one"
            missing = f"{path} has no card {source.name} beside it: {makes}"
        raise Unavailable(missing) from None
    except (OSError, ValueError, OverflowError, RecursionError, UnknownName) as error:
        raise Unavailable(f"{source} is no card of a checkpoint: {error}") from error


def verified_card(path: Path) -> Card:
    """Return the card of a tensors' file that is whole; raises `Unavailable` for any other."""
    card = load_card(path)
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise Unavailable(f"no checkpoint {path}: {error.strerror}") from error
    if actual != card.sha256:
        raise Unavailable(
            f"{path} is damaged or of another checkpoint: its sha256 begins with {actual[:8]}, "
            f"that on its card with {card.sha256[:8]}; get both files again"
        )
    return card


def _card(record: Any) -> Card:
    stored = msgspec.convert(record, _Stored)
    broken = [name for name, value in stored.measured.items() if not math.isfinite(value)]
    if broken:
        raise ValueError(f"measured is not finite at {broken[0]}")
    architecture, config = stored.architecture, stored.config
    if stored.format == 1 and stored.model is not None:
        architecture = "compressai"
        config = {"model": stored.model, "widths": stored.widths, "lmbda": stored.lmbda}
    elif stored.format == 1:
        architecture, config = "crdr", stored.sizes
    facts: dict[str, Any] = {field.name: getattr(stored, field.name) for field in fields(Card)}
    steps = None if isinstance(stored.steps, str) else stored.steps
    config = load_architecture(architecture).config_from_json(config)
    return Card(**(facts | {"architecture": architecture, "config": config, "steps": steps}))
