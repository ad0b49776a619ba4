"""Codecs of several checkpoints, one network for each rate.

Importing this file, or constructing a codec, imports no torch.
"""

from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from baselines.neural.bitstream.container import checkpoint_of
from baselines.neural.checkpoint.recognise import checked_card
from baselines.neural.checkpoint_codec import BUNDLED, card_of, find_checkpoint, loaded_codec
from benchmark.codec import CodecInfo, OneOf, Pixels, Setting, require_accepted
from benchmark.errors import CorruptStream, Unavailable
from benchmark.system.device import chosen_device

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.picture_codec import PictureCodec

PLACE = "{level}"  # stands for a number in the option `checkpoint`


class RatePointsCodec:
    """Codec of the networks of one method, each trained for one rate; a subclass names it.

    The setting `level` counts the rates from 1, the lowest. The file of a level is
    `STEM-LEVEL.safetensors`, among the weights, or bundled where no level is among them, the stem
    being the name unless a subclass says otherwise; the option `checkpoint` names another, with
    `{level}` in its name, or a single one, which is level 1. The sweep holds the levels whose files
    are there. A stream says which checkpoint it was made with, so that any of them decodes.
    """

    name: ClassVar[str]  # in the registry, of the architecture and of the files
    method: ClassVar[str]  # words for tables: "Charm (Minnen and Singh, ICIP 2020)"
    levels: ClassVar[Sequence[int]] = (1, 2, 3, 4)
    revision: ClassVar[int] = 1
    licence = "MIT"
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
        cards = [checked_card(path) for path in self._paths.values()]
        trainings = dict.fromkeys(f"{card.steps} steps, {card.training_data}" for card in cards)
        versions = f"torch {version('torch')}, constriction {version('constriction')}"
        identities = "".join(card.sha256 for card in cards)
        return CodecInfo(
            version=f"{'; '.join(trainings)}; {versions}",
            command=f"{self.method}: the network of level {{level}}, {self.coding}",
            licence=self.licence,
            fingerprint=sha256(identities.encode()).hexdigest(),
            revision=self.revision,
            timed="one call in this process: padding, transforms, entropy coding",
            device=self._device,
            caveat=self._caveat(),
            chroma="4:4:4",
            tuned_for=self.tuned_for,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream."""
        return self._codec(self._level(setting)).encode(pixels, self._controls())

    def decode(self, data: bytes) -> Pixels:
        """Return the image; raises `CorruptStream`, also for a checkpoint that is not here."""
        return self._codec(self._level_of(data)).decode(data)

    def setting_of(self, data: bytes) -> Setting:
        """Return the level that a stream was made at; raises `CorruptStream` as `decode` does."""
        return Setting("level", self._level_of(data))

    def reconstruct(self, images: "Tensor", setting: Setting) -> "tuple[Tensor, Tensor]":
        """Return reconstructions of images and their bits (N,), both without coding.

        images: float32 (N, 3, H, W) in [-1, 1], sides multiples of 64; reconstructions likewise.
        """
        codec = self._codec(self._level(setting))
        found = codec.estimate(images.to(self._device), self._controls())
        bits = found.y_bits + found.z_bits
        return found.images.clamp(-1, 1).to(images.device).clone(), bits.to(images.device).clone()

    def _controls(self) -> Any:
        """Return the controls that streams are written with; None without any."""
        return None

    def _stem(self) -> str:
        """Return what the files' names begin with."""
        return self.name

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
        raise CorruptStream(
            f"the stream was made with the checkpoint {identity.hex()}, which is none of "
            f"{self.name} here"
        )

    def _find(self, checkpoint: str) -> dict[int, Path]:
        """Return the files of the levels that are there; raises `Unavailable` without any."""
        if checkpoint and PLACE not in checkpoint:
            return {1: find_checkpoint(checkpoint, "", "")}
        found: dict[int, Path] = {}
        missing = None
        for level in self.levels:
            asked = checkpoint.replace(PLACE, str(level))
            file = f"{self._stem()}-{level}.safetensors"
            remedy = (
                f"train one with `bench train --suite {self.suite}`, or name one with "
                "checkpoint=..."
            )
            try:
                found[level] = find_checkpoint(asked, file, remedy)
            except Unavailable as reason:
                missing = missing or reason
        if not found and missing is not None:
            raise missing
        own = {level: path for level, path in found.items() if path.parent != BUNDLED}
        return own or found  # a sweep has networks of one training

    def _codec(self, level: int) -> "PictureCodec":
        return loaded_codec(self._paths[level], self._cards[level].sha256, self._device)
