"""Codecs of one checkpoint: the file, its description, and a network loaded with the first image.

Importing this file, or constructing a codec, imports no torch.
"""

import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.neural.checkpoint.card import Card, load_card
from baselines.neural.checkpoint.recognise import checked_card
from benchmark.codec import Between, CodecInfo, OneOf, Pixels, Setting, require_accepted
from benchmark.errors import Unavailable
from benchmark.system.device import Device, chosen_device
from benchmark.system.weights import find_weights

if TYPE_CHECKING:
    from baselines.neural.picture_codec import PictureCodec

BUNDLED = Path(__file__).parents[1] / "checkpoints"


class CheckpointCodec:
    """Codec of a network of one rate, without controls; a subclass gives the name and docstring.

    `name` is that of the codec in the registry, of its architecture and of its file: without the
    option `checkpoint`, `NAME.safetensors` is looked for where weights are.
    """

    name: str
    trained_by: str = "bench train --recipe"  # command that makes the file
    revision = 1
    licence = "MIT"
    sweep: tuple[Setting, ...] = (Setting("level", 0),)
    accepts: Between | OneOf = OneOf(sweep)

    def __init__(self, *, checkpoint: str = "") -> None:
        self._path = find_checkpoint(
            checkpoint, f"{self.name}.safetensors", f"train it with `{self.trained_by}`"
        )
        self._card = card_of(self._path, self.name)
        self._device = chosen_device()

    def describe(self) -> CodecInfo:
        """Return the checkpoint as its card describes it, and the sha256 of its tensors."""
        command = f"{self.name} at level {{level}}, the only one"
        return described(
            checked_card(self._path), command, self.licence, self.revision, self._device
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream."""
        require_accepted(self, setting)
        return self._codec().encode(pixels)

    def decode(self, data: bytes) -> Pixels:
        """Return the image; raises `CorruptStream`."""
        return self._codec().decode(data)

    def _codec(self) -> "PictureCodec":
        return loaded_codec(self._path, self._card.sha256, self._device)


def card_of(path: Path, architecture: str) -> Card:
    """Return the card of a checkpoint of an architecture; raises `Unavailable` for any other."""
    card = load_card(path)
    if card.architecture != architecture:
        raise Unavailable(
            f"{path} holds a network of {card.architecture} by its card, not of {architecture}"
        )
    return card


@cache
def loaded_codec(path: Path, _sha256: str, device: str) -> "PictureCodec":
    """Load a checkpoint once for all instances; the sha256 identifies its content."""
    # OpenMP reads it when torch is imported. By default its threads wait by spinning, which takes
    # ten times as long where they do not have a core each: the entropy path waits often.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from baselines.neural.checkpoint.checkpoint import load_checkpoint
    from baselines.neural.picture_codec import PictureCodec

    return PictureCodec(load_checkpoint(path), device)


@cache
def exact_codec(path: Path, sha256: str, device: str) -> "PictureCodec":
    """Return the codec of `loaded_codec` whose pixels are the same on every machine."""
    return loaded_codec(path, sha256, device).exactly()


def described(card: Card, command: str, licence: str, revision: int, device: Device) -> CodecInfo:
    """Return what rows say of a codec of one checkpoint, by its card.

    command: the call, with the setting's name in braces. revision: of the adapter's code.
    """
    return CodecInfo(
        version=f"checkpoint {card.sha256[:8]}: {card.training}; "
        f"torch {version('torch')}, constriction {version('constriction')}",
        command=command,
        licence=licence,
        fingerprint=card.sha256,
        revision=revision,
        timed="one call in this process: padding, transforms, entropy coding",
        device=device,
        caveat=card.shown_caveat,
        chroma="4:4:4",
    )


def find_checkpoint(asked: str, file: str, remedy: str) -> Path:
    """Return the checkpoint asked for, else the first `file` where weights are, else the bundled.

    Raises `Unavailable`, ending with `remedy`, where there is none.
    """
    if asked:
        if not Path(asked).is_file():
            raise Unavailable(f"no checkpoint {asked}")
        return Path(asked)
    try:
        return find_weights([file], remedy)
    except Unavailable:
        if (BUNDLED / file).exists():
            return BUNDLED / file
        raise
