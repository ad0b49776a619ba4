"""The codec of a method's networks, which imports no torch before the first image."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from baselines.neural.bitstream.container import OtherCheckpoint, checkpoint_of
from baselines.neural.card import PACKED, load_card, verified_card
from benchmark.codec import (
    Between,
    CodecInfo,
    OneOf,
    Pixels,
    Setting,
    device_kind,
    require_accepted,
)
from benchmark.errors import Unavailable
from benchmark.system.settings import PublishedFile, chosen_device, find_weights, weight_folders

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.picture_codec import PictureCodec

BUNDLED = Path(__file__).parents[1] / "checkpoints"  # of the release; a wheel has the small ones
ADDRESS = "https://github.com/rdrbench/rdrbench/releases/download/v0.1.0"  # has all of them
DIGESTS = BUNDLED / "SHA256SUMS"  # unpacked, in the form of sha256sum, which verifies them, too
PLACE = "{level}"  # replaced by a number in the option `checkpoint`
PACKAGES = ("torch", "safetensors")


class NetworkCodec:
    """Codec of the networks of a method, of all rates or one for each; a subclass names it.

    With one network, its file is `NAME.safetensors`. With one for each of `levels`, the setting
    `level` counts the rates from 1, the lowest, and the file of a level is `NAME-LEVEL.safetensors`
    or what the option `checkpoint` names with `{level}` in it; a single name is level 1. The sweep
    holds the levels whose files exist, and a stream names its checkpoint.
    """

    name: ClassVar[str]  # in the registry and of the files
    architecture: ClassVar[str] = ""  # of the networks; empty: the name
    method: str = "the only network"  # words for tables: "Charm (Minnen, ICIP 2020)"
    levels: ClassVar[Sequence[int]] = (0,)  # of the networks; 0 is one of all rates
    coding: str = "entropy path in integers"
    trained_by: str = "bench train --suite field"  # command that makes the files
    tuned_for: str = ""
    packages: ClassVar[tuple[str, ...]] = PACKAGES
    sweep: tuple[Setting, ...] = (Setting("level", 0),)
    accepts: Between | OneOf = OneOf(sweep)
    _coded: "tuple[PictureCodec, bytes] | None" = None  # the last stream

    @classmethod
    def published_weights(cls, _options: Mapping[str, str]) -> list[PublishedFile]:
        """Return the files of all networks of the codec."""
        return released(cls.name)

    def __init__(self, *, checkpoint: str = "") -> None:
        self._paths = self._find(checkpoint)
        self._cards = {level: load_card(path) for level, path in self._paths.items()}
        kind = self.architecture or self.name
        for level, card in self._cards.items():
            if card.architecture != kind:
                other = f"{self._paths[level]} holds a network of {card.architecture} by its card"
                raise Unavailable(f"{other}, not of {kind}")
        self._device = chosen_device()
        self.sweep = tuple(Setting("level", level) for level in self._paths)
        self.accepts = OneOf(self.sweep)

    def describe(self) -> CodecInfo:
        """Return the checkpoints as their cards describe them, and a digest of all of them."""
        cards = [verified_card(path) for path in self._paths.values()]
        fingerprint, caveat = cards[0].sha256, cards[0].shown_caveat
        version = f"checkpoint {fingerprint[:8]}: {cards[0].training}"
        command, parts = self.method, tuple[tuple[str, str], ...]()
        if self.levels != (0,):
            fingerprint = sha256("".join(card.sha256 for card in cards).encode()).hexdigest()
            caveat = self._caveat()
            version = "; ".join(dict.fromkeys(card.training for card in cards))
            command = f"{self.method}: the network of level {{level}}"
            named = zip(self.sweep, cards, strict=True)
            parts = tuple((str(setting), card.sha256) for setting, card in named)
        return CodecInfo(
            version=f"{version}; {_libraries()}",
            command=f"{command}, {self.coding}",
            licence="MIT",
            fingerprint=fingerprint,
            timed="one call in this process: padding, transforms, entropy coding",
            device=device_kind(self._device),
            caveat=caveat,
            chroma="4:4:4",
            tuned_for=self.tuned_for,
            parts=parts,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream."""
        require_accepted(self, setting)
        codec = self._at(int(setting.value))
        return self._noted(codec, codec.encode(pixels, self._controls(setting)))

    def decode(self, data: bytes) -> Pixels:
        """Return the image; raises `CorruptStream`, also for a checkpoint that is missing."""
        return self._at(self._level_of(data)).decode(data)

    def setting_of(self, data: bytes) -> Setting:
        """Return the level that a stream was made at; raises `CorruptStream` as `decode` does."""
        return Setting("level", self._level_of(data))

    def reconstruct(self, images: "Tensor", setting: Setting) -> "tuple[Tensor, Tensor]":
        """Return reconstructions like images (N, 3, H, W) in [-1, 1], multiples of 64, and bits."""
        require_accepted(self, setting)
        codec = self._at(int(setting.value))
        estimate = codec.estimate(images.to(self._device), self._controls(setting))
        bits = (estimate.y_bits + estimate.z_bits).to(images.device)
        return estimate.images.clamp(-1, 1).to(images.device).clone(), bits.clone()

    def estimated_bits(self) -> float | None:
        """Return the bits of the last stream by its symbols' probabilities; None if unknown."""
        if self._coded is None:
            return None
        codec, data = self._coded
        return codec.ideal_bits(data)

    def _noted(self, codec: "PictureCodec", data: bytes) -> bytes:
        self._coded = codec, data
        return data

    def _controls(self, _setting: Setting) -> Any:
        """Return the controls that streams are written with; None without any."""
        return None

    def _file(self, level: int) -> str:
        return f"{self.name}-{level}.safetensors" if level else f"{self.name}.safetensors"

    def _caveat(self) -> str:
        cards = list(self._cards.values())
        if not all(card.steps for card in cards):
            return "untrained"
        return "; ".join(dict.fromkeys(card.caveat for card in cards if card.caveat))

    def _level_of(self, data: bytes) -> int:
        if self.levels == (0,):
            return 0
        identity = checkpoint_of(data)
        for level, card in self._cards.items():
            if card.identity.startswith(identity):
                return level
        made_with = f"the stream was made with the checkpoint {identity.hex()}"
        raise OtherCheckpoint(f"{made_with}, which is none of {self.name} here")

    def _find(self, checkpoint: str) -> dict[int, Path]:
        if checkpoint and PLACE not in checkpoint:
            return {self.levels[0]: find_checkpoint(checkpoint)}

        def find(level: int) -> Path:
            asked = checkpoint.replace(PLACE, str(level))
            return find_checkpoint(asked, self._file(level), self.trained_by)

        return of_one_training(self.levels, find)

    def _at(self, level: int) -> "PictureCodec":
        at = level if level in self._paths else next(iter(self._paths))  # q of a network of all
        return loaded_codec(self._paths[at], self._cards[at].sha256, self._device)


def those_here(numbers: Iterable[int], find: Callable[[int], Path]) -> dict[int, Path]:
    """Return the files that `find` finds, by number; raise its first `Unavailable` without any."""
    files: dict[int, Path] = {}
    missing: list[Unavailable] = []
    for number in numbers:
        try:
            files[number] = find(number)
        except Unavailable as reason:
            missing.append(reason)
    if not files:
        raise missing[0]
    return files


def of_one_training(numbers: Iterable[int], find: Callable[[int], Path]) -> dict[int, Path]:
    """Return the files that `find` finds, by number: those that are not bundled, if any."""
    files = those_here(numbers, find)
    return {at: path for at, path in files.items() if path.parent != BUNDLED} or files


def released(*codecs: str) -> list[PublishedFile]:
    """Return the tensors and cards of all networks of codecs, CODEC.* and CODEC-*."""
    return [
        PublishedFile(f"{ADDRESS}/{name}", name, digest)
        for digest, name in map(str.split, DIGESTS.read_text().splitlines())
        if codec_of(name) in codecs
    ]


def codec_of(name: str) -> str:
    """Return the codec that a file's name begins with: `pqmim` of pqmim-perceptual-2.json."""
    return Path(name).stem.partition("-")[0]


@cache
def loaded_codec(path: Path, sha256: str, device: str, exact: bool = False) -> "PictureCodec":
    """Load a checkpoint once for all instances; the sha256 identifies its content.

    exact: whether pixels are the same on every machine, as streams are.
    """
    if exact:
        return loaded_codec(path, sha256, device, False).exactly()
    wait_without_spinning()
    from baselines.neural.checkpoint import load_checkpoint
    from baselines.neural.picture_codec import PictureCodec

    return PictureCodec(load_checkpoint(path), device)


def wait_without_spinning() -> None:
    """Have torch's threads sleep while they wait, if it is not imported yet.

    By default they spin, which takes ten times as long where they do not have a core each.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@cache
def _libraries() -> str:
    coder = "entropy coder in Python"
    with suppress(PackageNotFoundError):
        coder = f"constriction {version('constriction')}"
    return f"torch {version('torch')}, {coder}"


def find_checkpoint(asked: str, file: str = "", command: str = "") -> Path:
    """Return the checkpoint `asked` for, by default `file`: a path, else a name among the weights.

    The bundled are searched last. Raises `Unavailable` without any, which names the command that
    makes it.
    """
    if asked and Path(asked).is_file():
        return Path(asked)
    name = asked or file
    for folder in (*weight_folders(), BUNDLED):
        for path in (folder / name, folder / f"{name}{PACKED}"):
            if path.is_file():
                return path
    if asked:
        raise Unavailable(f"no checkpoint {asked}")
    remedy = f"make it with `{command}`, or name one with checkpoint=..."
    if any(file == weights.name for weights in released(codec_of(file))):
        command = f"bench fetch {codec_of(file)}"
        remedy = f"run `{command}`"
    return find_weights([file], remedy, command)
