"""Codecs of a checkpoint, or of several, that import no torch before the first image."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from baselines.neural.bitstream.container import checkpoint_of
from baselines.neural.checkpoint.card import Card, load_card, verified_card
from baselines.neural.released import BUNDLED, codec_of, released
from benchmark.codec import Between, CodecInfo, OneOf, Pixels, Setting, require_accepted
from benchmark.errors import CorruptStream, Unavailable
from benchmark.system.settings import Device, chosen_device
from benchmark.system.weights import PublishedFile, find_weights

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.picture_codec import PictureCodec

PLACE = "{level}"  # replaced by a number in the option `checkpoint`
PACKAGES = ("torch", "safetensors")
TIMED = "one call in this process: padding, transforms, entropy coding"


class KnowsIdealBits:
    """Codec that can say how many bits its last stream would take with an ideal coder."""

    _coded: "tuple[PictureCodec, bytes] | None" = None

    def _noted(self, codec: "PictureCodec", data: bytes) -> bytes:
        self._coded = codec, data
        return data

    def estimated_bits(self) -> float | None:
        """Return the bits of the last stream by its symbols' probabilities; None if unknown."""
        if self._coded is None:
            return None
        codec, data = self._coded
        return codec.ideal_bits(data)


class CheckpointCodec(KnowsIdealBits):
    """Codec of a network of a single rate, without controls; a subclass gives its name."""

    name: ClassVar[str]  # in the registry, of the architecture and of the files
    packages: ClassVar[tuple[str, ...]] = PACKAGES
    trained_by: ClassVar[str] = "bench train --recipe"  # command that makes the file
    revision: ClassVar[int] = 1
    licence = "MIT"
    sweep: tuple[Setting, ...] = (Setting("level", 0),)
    accepts: Between | OneOf = OneOf(sweep)

    @classmethod
    def published_weights(cls, _options: Mapping[str, str]) -> list[PublishedFile]:
        """Return the files of all networks of the codec."""
        return released(cls.name)

    def __init__(self, *, checkpoint: str = "") -> None:
        file = f"{self.name}.safetensors"
        self._path = find_checkpoint(checkpoint, file, "train it with `{}`", self.trained_by)
        self._card = card_of(self._path, self.name)
        self._device = chosen_device()

    def describe(self) -> CodecInfo:
        """Return the checkpoint as its card describes it, and the sha256 of its tensors."""
        command = f"{self.name} at level {{level}}, the only one"
        card = verified_card(self._path)
        return described(card, command, self.licence, self.revision, self._device)

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream."""
        require_accepted(self, setting)
        return self._noted(self._codec(), self._codec().encode(pixels))

    def decode(self, data: bytes) -> Pixels:
        """Return the image; raises `CorruptStream`."""
        return self._codec().decode(data)

    def _codec(self) -> "PictureCodec":
        return loaded_codec(self._path, self._card.sha256, self._device)


class RatePointsCodec(CheckpointCodec):
    """Codec of the networks of a method, each trained for a rate; a subclass names it.

    The setting `level` counts the rates from 1, the lowest. The file of a level is
    `STEM-LEVEL.safetensors`, or what the option `checkpoint` names with `{level}` in it; a single
    name is level 1. The sweep holds the levels whose files exist. A stream names its checkpoint.
    """

    method: ClassVar[str]  # words for tables: "Charm (Minnen and Singh, ICIP 2020)"
    levels: ClassVar[Sequence[int]] = (1, 2, 3, 4)
    tuned_for: ClassVar[str] = "PSNR"
    coding: ClassVar[str] = "entropy path in integers"
    suite: ClassVar[str] = "field"  # that trains the networks

    def __init__(self, *, checkpoint: str = "") -> None:
        self._paths = self._find(checkpoint)
        self._cards = {level: card_of(path, self.name) for level, path in self._paths.items()}
        self._device = chosen_device()
        self.sweep = tuple(Setting("level", level) for level in self._paths)
        self.accepts = OneOf(self.sweep)

    def describe(self) -> CodecInfo:
        """Return the checkpoints as their cards describe them, and a digest of all of them."""
        cards = [verified_card(path) for path in self._paths.values()]
        trainings = dict.fromkeys(card.training for card in cards)
        identities = "".join(card.sha256 for card in cards)
        command = f"{self.method}: the network of level {{level}}, {self.coding}"
        return replace(
            described(cards[0], command, self.licence, self.revision, self._device),
            version=f"{'; '.join(trainings)}; {_libraries()}",
            fingerprint=sha256(identities.encode()).hexdigest(),
            caveat=self._caveat(),
            tuned_for=self.tuned_for,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream."""
        codec = self._at(self._level(setting))
        return self._noted(codec, codec.encode(pixels, self._controls()))

    def decode(self, data: bytes) -> Pixels:
        """Return the image; raises `CorruptStream`, also for a checkpoint that is missing."""
        return self._at(self._level_of(data)).decode(data)

    def setting_of(self, data: bytes) -> Setting:
        """Return the level that a stream was made at; raises `CorruptStream` as `decode` does."""
        return Setting("level", self._level_of(data))

    def reconstruct(self, images: "Tensor", setting: Setting) -> "tuple[Tensor, Tensor]":
        """Return reconstructions like images (N, 3, H, W) in [-1, 1], multiples of 64, and bits."""
        codec = self._at(self._level(setting))
        estimate = codec.estimate(images.to(self._device), self._controls())
        bits = (estimate.y_bits + estimate.z_bits).to(images.device)
        return estimate.images.clamp(-1, 1).to(images.device).clone(), bits.clone()

    def _controls(self) -> Any:
        """Return the controls that streams are written with; None without any."""
        return None

    def _stem(self) -> str:
        return self.name

    def _file(self, level: int) -> str:
        return f"{self._stem()}-{level}.safetensors"

    def _caveat(self) -> str:
        cards = list(self._cards.values())
        if not all(card.steps for card in cards):
            return "untrained"
        return "; ".join(dict.fromkeys(card.caveat for card in cards if card.caveat))

    def _level(self, setting: Setting) -> int:
        require_accepted(self, setting)
        return int(setting.value)

    def _level_of(self, data: bytes) -> int:
        identity = checkpoint_of(data)
        for level, card in self._cards.items():
            if card.identity.startswith(identity):
                return level
        made_with = f"the stream was made with the checkpoint {identity.hex()}"
        raise CorruptStream(f"{made_with}, which is none of {self.name} here")

    def _find(self, checkpoint: str) -> dict[int, Path]:
        """Return the files of the levels that exist; raises `Unavailable` without any."""
        if checkpoint and PLACE not in checkpoint:
            return {1: find_checkpoint(checkpoint, "", "")}
        remedy = "train one with `{}`, or name one with checkpoint=..."
        command = f"bench train --suite {self.suite}"
        files: dict[int, Path] = {}
        missing: list[Unavailable] = []
        for level in self.levels:
            asked, file = checkpoint.replace(PLACE, str(level)), self._file(level)
            try:
                files[level] = find_checkpoint(asked, file, remedy, command)
            except Unavailable as reason:
                missing.append(reason)
        if not files:
            raise missing[0]
        own = {level: path for level, path in files.items() if path.parent != BUNDLED}
        return own or files  # a sweep has networks of the same training

    def _at(self, level: int) -> "PictureCodec":
        return loaded_codec(self._paths[level], self._cards[level].sha256, self._device)


def card_of(path: Path, architecture: str) -> Card:
    """Return the card of a checkpoint of an architecture; raises `Unavailable` for any other."""
    card = load_card(path)
    if card.architecture != architecture:
        other = f"{path} holds a network of {card.architecture} by its card"
        raise Unavailable(f"{other}, not of {architecture}")
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
    """Return the description for rows of a codec of a checkpoint; `revision` is the adapter's."""
    return CodecInfo(
        version=f"checkpoint {card.sha256[:8]}: {card.training}; {_libraries()}",
        command=command,
        licence=licence,
        fingerprint=card.sha256,
        revision=revision,
        timed=TIMED,
        device=device,
        caveat=card.shown_caveat,
        chroma="4:4:4",
    )


@cache
def _libraries() -> str:
    coder = "entropy coder in Python"
    with suppress(PackageNotFoundError):
        coder = f"constriction {version('constriction')}"
    return f"torch {version('torch')}, {coder}"


def find_checkpoint(asked: str, file: str, remedy: str, command: str = "") -> Path:
    """Return the checkpoint `asked` for, else the first `file` among the weights, else the bundled.

    Raises `Unavailable` without any, ending with `remedy`, in which {} is the command.
    """
    if asked:
        if not Path(asked).is_file():
            raise Unavailable(f"no checkpoint {asked}")
        return Path(asked)
    bundled = BUNDLED / file
    here = bundled.exists()
    if not here and any(file == published.name for published in released(codec_of(file))):
        remedy, command = "run `{}`", f"bench fetch {codec_of(file)}"
    try:
        return find_weights([file], remedy.format(command), command)
    except Unavailable:
        if here:
            return bundled
        raise
