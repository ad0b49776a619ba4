"""Codec with a method's networks; torch is imported when the first image is coded."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from baselines.neural.bitstream.container import CheckpointMismatch, read_checkpoint_id
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

BUNDLED = Path(__file__).parents[1] / "checkpoints"  # the release has all, a wheel the small ones
ADDRESS = "https://github.com/rdrbench/rdrbench/releases/download/v0.1.0"  # all checkpoints
DIGESTS = BUNDLED / "SHA256SUMS"  # digests of unpacked files, in the format of sha256sum
LEVEL_PLACEHOLDER = "{level}"  # replaced by a number in the option `checkpoint`
PACKAGES = ("torch", "safetensors")


class NetworkCodec:
    """Codec with a method's networks, one for all rates or one per rate; subclasses set `name`.

    A single network's file is `NAME.safetensors`. With one network per level, the setting `level`
    counts rates from 1, the lowest; its file is `NAME-LEVEL.safetensors`, or the option
    `checkpoint` with `{level}` replaced. The sweep has the levels whose files exist.
    """

    name: ClassVar[str]  # in the registry and in file names
    architecture: ClassVar[str] = ""  # name of the networks' architecture; empty: the codec's
    method: str = "the only network"  # its name in tables: "Charm (Minnen, ICIP 2020)"
    levels: ClassVar[Sequence[int]] = (0,)  # one per network; 0: one network for all rates
    coding: str = "entropy path in integers"
    trained_by: str = "bench train --suite field"  # command that makes the files
    tuned_for: str = ""
    packages: ClassVar[tuple[str, ...]] = PACKAGES
    sweep: tuple[Setting, ...] = (Setting("level", 0),)
    accepts: Between | OneOf = OneOf(sweep)
    _last_stream: "tuple[PictureCodec, bytes] | None" = None

    @classmethod
    def published_weights(cls, _options: Mapping[str, str]) -> list[PublishedFile]:
        """Return the files of all the codec's networks."""
        return released_files(cls.name)

    def __init__(self, *, checkpoint: str = "") -> None:
        self._paths = self._find_checkpoints(checkpoint)
        self._cards = {level: load_card(path) for level, path in self._paths.items()}
        architecture = self.architecture or self.name
        for level, card in self._cards.items():
            if card.architecture != architecture:
                raise Unavailable(
                    f"{self._paths[level]} holds a network of {card.architecture} according to its "
                    f"card, not of {architecture}"
                )
        self._device = chosen_device()
        self.sweep = tuple(Setting("level", level) for level in self._paths)
        self.accepts = OneOf(self.sweep)

    def describe(self) -> CodecInfo:
        """Describe the checkpoints from their cards; the fingerprint is a digest of all."""
        cards = [verified_card(path) for path in self._paths.values()]
        fingerprint, caveat = cards[0].sha256, cards[0].shown_caveat
        version = f"checkpoint {fingerprint[:8]}: {cards[0].training}"
        command, card_digests = self.method, tuple[tuple[str, str], ...]()
        if self.levels != (0,):
            fingerprint = sha256("".join(card.sha256 for card in cards).encode()).hexdigest()
            caveat = self._join_caveats()
            version = "; ".join(dict.fromkeys(card.training for card in cards))
            command = f"{self.method}: the network of level {{level}}"
            cards_by_setting = zip(self.sweep, cards, strict=True)
            card_digests = tuple((str(setting), card.sha256) for setting, card in cards_by_setting)
        return CodecInfo(
            version=f"{version}; {_library_versions()}",
            command=f"{command}, {self.coding}",
            licence="MIT",
            fingerprint=fingerprint,
            timed="one call in this process: padding, transforms, entropy coding",
            device=device_kind(self._device),
            caveat=caveat,
            chroma="4:4:4",
            tuned_for=self.tuned_for,
            parts=card_digests,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream of an image."""
        require_accepted(self, setting)
        codec = self._codec_for_level(int(setting.value))
        return self._remember(codec, codec.encode(pixels, self._stream_controls(setting)))

    def decode(self, data: bytes) -> Pixels:
        """Return the image; raises `CorruptStream`, also if the stream's checkpoint is missing."""
        return self._codec_for_level(self._read_level(data)).decode(data)

    def setting_of(self, data: bytes) -> Setting:
        """Return a stream's level; raises `CorruptStream` like `decode`."""
        return Setting("level", self._read_level(data))

    def reconstruct(self, images: "Tensor", setting: Setting) -> "tuple[Tensor, Tensor]":
        """Return reconstructions and bits of images (N, 3, 64 m, 64 n) in [-1, 1]."""
        require_accepted(self, setting)
        codec = self._codec_for_level(int(setting.value))
        estimate = codec.estimate(images.to(self._device), self._stream_controls(setting))
        bits = (estimate.y_bits + estimate.z_bits).to(images.device)
        return estimate.images.clamp(-1, 1).to(images.device).clone(), bits.clone()

    def estimated_bits(self) -> float | None:
        """Return the last stream's bits by the probabilities of its symbols; None if unknown."""
        if self._last_stream is None:
            return None
        codec, data = self._last_stream
        return codec.ideal_bits(data)

    def _remember(self, codec: "PictureCodec", data: bytes) -> bytes:
        self._last_stream = codec, data
        return data

    def _stream_controls(self, _setting: Setting) -> Any:
        return None

    def _file_name(self, level: int) -> str:
        return f"{self.name}-{level}.safetensors" if level else f"{self.name}.safetensors"

    def _join_caveats(self) -> str:
        cards = list(self._cards.values())
        if not all(card.steps for card in cards):
            return "untrained"
        return "; ".join(dict.fromkeys(card.caveat for card in cards if card.caveat))

    def _read_level(self, data: bytes) -> int:
        if self.levels == (0,):
            return 0
        identity = read_checkpoint_id(data)
        for level, card in self._cards.items():
            if card.identity.startswith(identity):
                return level
        cause = f"the stream was made with the checkpoint {identity.hex()}"
        raise CheckpointMismatch(f"{cause}, which {self.name} does not have on this machine")

    def _find_checkpoints(self, checkpoint: str) -> dict[int, Path]:
        if checkpoint and LEVEL_PLACEHOLDER not in checkpoint:
            return {self.levels[0]: find_checkpoint(checkpoint)}

        def find(level: int) -> Path:
            name = checkpoint.replace(LEVEL_PLACEHOLDER, str(level))
            return find_checkpoint(name, self._file_name(level), self.trained_by)

        return find_trained_files(self.levels, find)

    def _codec_for_level(self, level: int) -> "PictureCodec":
        # a network for all rates has a setting other than `level`, and only one path
        key = level if level in self._paths else next(iter(self._paths))
        return load_picture_codec(self._paths[key], self._cards[key].sha256, self._device)


def find_existing_files(numbers: Iterable[int], find: Callable[[int], Path]) -> dict[int, Path]:
    """Return the files that `find` finds, by number; if none, raise the first error."""
    files: dict[int, Path] = {}
    errors: list[Unavailable] = []
    for number in numbers:
        try:
            files[number] = find(number)
        except Unavailable as reason:
            errors.append(reason)
    if not files:
        raise errors[0]
    return files


def find_trained_files(numbers: Iterable[int], find: Callable[[int], Path]) -> dict[int, Path]:
    """Return the files found by `find`, by number; bundled ones only if there are no others."""
    files = find_existing_files(numbers, find)
    return {number: path for number, path in files.items() if path.parent != BUNDLED} or files


def released_files(*codecs: str) -> list[PublishedFile]:
    """Return the tensors and cards of these codecs in the release: CODEC.* and CODEC-*."""
    return [
        PublishedFile(f"{ADDRESS}/{name}", name, digest)
        for digest, name in map(str.split, DIGESTS.read_text().splitlines())
        if codec_of(name) in codecs
    ]


def codec_of(name: str) -> str:
    """Return the codec at the start of a file name: `pqmim` for pqmim-perceptual-2.json."""
    return Path(name).stem.partition("-")[0]


@cache
def load_picture_codec(path: Path, sha256: str, device: str, exact: bool = False) -> "PictureCodec":
    """Load a checkpoint once for all codecs; `exact` makes pixels the same on every machine."""
    if exact:
        return load_picture_codec(path, sha256, device, False).make_exact()
    wait_without_spinning()
    from baselines.neural.checkpoint import load_checkpoint
    from baselines.neural.picture_codec import PictureCodec

    return PictureCodec(load_checkpoint(path), device)


def wait_without_spinning() -> None:
    """Let torch's threads sleep while waiting, if torch is not imported yet."""
    # by default they spin; processes that share cores are then ten times as slow
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@cache
def _library_versions() -> str:
    coder = "entropy coder in Python"
    with suppress(PackageNotFoundError):
        coder = f"constriction {version('constriction')}"
    return f"torch {version('torch')}, {coder}"


def find_checkpoint(requested_path: str, file: str = "", command: str = "") -> Path:
    """Find a checkpoint by path, in weight folders, or among bundled ones; else `Unavailable`."""
    if requested_path and Path(requested_path).is_file():
        return Path(requested_path)
    name = requested_path or file
    for folder in (*weight_folders(), BUNDLED):
        for path in (folder / name, folder / f"{name}{PACKED}"):
            if path.is_file():
                return path
    if requested_path:
        raise Unavailable(f"there is no checkpoint {requested_path}: name an existing file")
    remedy = f"make the file with `{command}`, or name another with checkpoint=..."
    if any(file == weights.name for weights in released_files(codec_of(file))):
        command = f"bench fetch {codec_of(file)}"
        remedy = f"run `{command}`"
    return find_weights([file], remedy, command)
