"""The JSON card of a checkpoint: its network and training. Does not import torch."""
# A card is next to the file of tensors, which may be packed by `xz` as NAME.safetensors.xz; the
# sha256 is that of the unpacked file.

import json
import lzma
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import msgspec

from baselines.neural.architecture import load_architecture
from benchmark.errors import Unavailable, UnknownName
from benchmark.system.atomic import write_file
from benchmark.system.digest import cached_value, file_sha256
from benchmark.system.text import bench_command, read_json

FORMAT = 2
MAX_CARD_BYTES = 1 << 20
TENSORS, PACKED = ".safetensors", ".xz"  # suffixes
TORCH_SUFFIXES = {".pth", ".pt", ".tar", ".ckpt"}
MAX_UNPACKED_BYTES, MAX_UNPACKING_BYTES = 1 << 30, 1 << 27
UNKNOWN = "unknown"  # in place of a fact
TRAINING_UNKNOWN = "training unknown"  # caveat in tables and figures

Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Card:
    """Description of a checkpoint, with all that is needed to train it again."""

    architecture: str  # a name in `ARCHITECTURES`
    config: Any  # dimensions of the network
    training_data: str = UNKNOWN
    steps: Count | None = None  # total number of training steps; None: unknown
    command: str = UNKNOWN
    commit: str = UNKNOWN  # commit of the code that trained it
    measured: Mapping[str, float] = field(default_factory=dict)  # unit in the name: "kodak_q2_bpp"
    caveat: str = ""  # added to the name in tables and figures: "untrained"
    crops: Count = 0  # total number of crops in training; 0: unknown
    # Digest of the file of tensors
    sha256: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""
    # Training steps by precision of convolutions: "bfloat16", "float32"; empty: unknown
    precision_steps: Mapping[str, Count] = field(default_factory=dict)
    optimiser: str = UNKNOWN  # of the network: "adam", "soap", or both in the order of use
    seed: Count | None = None  # for initial values and crops; None: unknown
    device: str = UNKNOWN  # "cpu", or the name of the GPU
    losses: tuple[str, ...] = ()  # files that define the user's losses: "mine.py, sha256 ..."

    @property
    def identity(self) -> bytes:
        """The sha256 as 32 bytes; a stream contains the first four."""
        return bytes.fromhex(self.sha256)

    @property
    def training(self) -> str:
        """Training steps and training data, as text for rows."""
        if self.steps is None and self.training_data == UNKNOWN:
            return TRAINING_UNKNOWN
        steps = "an unknown number of" if self.steps is None else self.steps
        return f"{steps} steps, {self.training_data}"

    @property
    def shown_caveat(self) -> str:
        """Caveat for tables and figures; "untrained" for an untrained network."""
        if self.steps == 0:
            return "untrained"
        unknown_caveat = TRAINING_UNKNOWN if self.steps is None else ""
        return ", ".join(filter(None, [unknown_caveat, self.caveat]))


REQUIRED = ("training_data", "steps", "command", "commit", "measured", "sha256")  # on a card
OPTIONAL = ("optimiser", "seed", "device", "losses")  # omitted from a card if unknown


def card_path(path: Path) -> Path:
    """Return the path of the card for a file of tensors: the same name, ending in .json."""
    return path.with_name(path.name.removesuffix(PACKED)).with_suffix(".json")


def has_card(path: Path) -> bool:
    """Return whether a file has the name of a checkpoint's tensors, and thus a card."""
    return path.name.removesuffix(PACKED).endswith(TENSORS)


def unpack_xz(path: Path) -> bytes:
    """Return the content of an xz file; raises `OSError`, or `ValueError` if it is not one."""
    decompressor = lzma.LZMADecompressor(memlimit=MAX_UNPACKING_BYTES)
    try:
        data = decompressor.decompress(path.read_bytes(), MAX_UNPACKED_BYTES)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    if not decompressor.eof:
        raise ValueError(f"it is truncated, or unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
    return data


def tensors_sha256(path: Path) -> str:
    """Hash a file of tensors, unpacking it if necessary; raises the errors of `unpack_xz`."""
    if path.suffix != PACKED:
        return file_sha256(path)
    return str(cached_value(path, "sha256 unpacked", lambda: sha256(unpack_xz(path)).hexdigest()))


def save_card(path: Path, card: Card) -> None:
    """Write the card for the file of tensors `path`, completely or not at all."""
    values = {field: getattr(card, field.name) for field in fields(card)}
    record = {
        field.name: value
        for field, value in values.items()
        if field.name not in OPTIONAL or value != field.default
    }
    record["config"] = asdict(card.config)
    record["steps"] = UNKNOWN if card.steps is None else card.steps
    content = json.dumps({"format": FORMAT, **record}, indent=2) + "\n"
    write_file(card_path(path), content, durable=True)


def load_card(path: Path) -> Card:
    """Return the card of a file of tensors, without reading them; raises `Unavailable`."""
    source = card_path(path)
    try:
        return _parse_card(read_json(source, dict[str, Any], MAX_CARD_BYTES))
    except FileNotFoundError:
        problem = f"there is no checkpoint {path}"
        if path.is_file():
            command = bench_command("checkpoint import", path)
            remedy = (
                f"`{command}` makes a card for weights of CRDR's authors"
                if path.suffix in TORCH_SUFFIXES
                else f"get both files, *{TENSORS} and the card"
            )
            problem = f"{path} has no card {source.name} next to it: {remedy}"
        raise Unavailable(problem) from None
    except (OSError, ValueError, UnknownName) as error:
        raise Unavailable(f"{source} is not a checkpoint's card: {error}") from error


def verified_card(path: Path) -> Card:
    """Return the card of a file of tensors after verifying its sha256; raises `Unavailable`."""
    card = load_card(path)
    try:
        actual = tensors_sha256(path)
    except OSError as error:
        raise Unavailable(f"there is no checkpoint {path}: {error.strerror}") from error
    except ValueError as error:
        raise Unavailable(f"{path} cannot be unpacked: {error}; get the file again") from error
    if actual != card.sha256:
        raise Unavailable(
            f"{path} is damaged or does not belong to its card: its sha256 begins with "
            f"{actual[:8]}, the card's with {card.sha256[:8]}; get both files again"
        )
    return card


def _parse_card(record: dict[str, Any]) -> Card:
    missing_keys = [name for name in REQUIRED if name not in record]
    if missing_keys or record.get("format") not in (1, FORMAT):
        raise ValueError(f"it lacks {', '.join(missing_keys) or 'a supported format'}")
    if record["format"] == 1:
        zoo_sizes = {name: record.get(name) for name in ("model", "widths", "lmbda")}
        crdr_fields = {"architecture": "crdr", "config": record.get("sizes")}
        record |= (
            crdr_fields
            if zoo_sizes["model"] is None
            else {"architecture": "compressai", "config": zoo_sizes}
        )
    architecture = load_architecture(str(record.get("architecture")))
    record["config"] = architecture.read(record.get("config"))
    if record["steps"] == UNKNOWN:
        record["steps"] = None
    card = msgspec.convert(record, Card)
    not_finite = [name for name, value in card.measured.items() if not math.isfinite(value)]
    if not_finite:
        raise ValueError(f"the measured value {not_finite[0]} is not finite")
    return card
