"""Generative codecs: a base codec's streams, unchanged, and a receiver that samples behind them.

The noise follows from the stream and `seed`; between processors, rounding of sums may change a
pixel by a level over many steps. torch is imported with a learned base or the first image.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from baselines.neural.card import Card, verified_card
from baselines.neural.diffusion.base_codec import BaseCodec
from baselines.neural.network_codec import NetworkCodec, released, wait_without_spinning
from benchmark.codec import (
    Between,
    CodecInfo,
    OneOf,
    Pixels,
    Setting,
    device_kind,
    require_accepted,
)
from benchmark.errors import BadOption, Unavailable
from benchmark.spec import parse_codec
from benchmark.system.settings import PublishedFile
from benchmark.system.text import counted

if TYPE_CHECKING:
    from baselines.neural.diffusion.model import DiffusionNetwork

MOST_STEPS = 1000
LARGEST_SEED = (1 << 64) - 1
AFTER_THE_ABSTRACT = "after the abstract"


class DrawingCodec(NetworkCodec):
    """Codec of a base and a diffusion decoder trained for it; a subclass names the method.

    `steps` and `seed` are the receiver's: they change no bit. A single step, which estimates the
    mean, begins at time 1. The network's file is `NAME-BASE.safetensors`, or the option
    `checkpoint`. Settings are the base's.
    """

    late_start: ClassVar[float]  # time to begin at with several steps
    revision: ClassVar[int] = 1
    licence = "MIT"

    def __init__(
        self,
        *,
        steps: int,
        base: str = "elic",
        seed: int = 0,
        checkpoint: str = "",
    ) -> None:
        if not 1 <= steps <= MOST_STEPS:
            raise BadOption(f"steps={steps}: it is 1 to {MOST_STEPS}")
        if not 0 <= seed <= LARGEST_SEED:
            raise BadOption(f"seed={seed}: it is 0 to {LARGEST_SEED}")
        self._steps, self._seed = steps, seed
        self._start = 1.0 if steps == 1 else self.late_start
        self._base = BaseCodec(base)
        named = self._base.spec.name.rpartition(":")[2]
        self._member = f"{self.name}-{named}"
        self.trained_by = f"bench train --suite generative --members {self._member}"
        super().__init__(checkpoint=checkpoint)
        config = self._cards[0].config
        if not self._base.spec.options and parse_codec(config.base).name == named:
            self._base = BaseCodec(config.base)  # which may have options
        _require_base(self._paths[0], self._cards[0], self._base)
        self.sweep = config.sweep
        accepts: Between | OneOf | None = getattr(self._base.codec, "accepts", None)
        self.accepts = accepts or OneOf(self.sweep)

    @classmethod
    def published_weights(cls, options: Mapping[str, str]) -> list[PublishedFile]:
        """Return the files of the decoder's network and of the base's."""
        base = parse_codec(options.get("base", "elic")).name
        return released(cls.name, base)

    def describe(self) -> CodecInfo:
        """Return the base's description, and the decoder's as its card has it."""
        card, info = verified_card(self._paths[0]), self._base.info
        caveats = (AFTER_THE_ABSTRACT, card.shown_caveat, *info.caveat.split("; "))
        late = "" if self._start == 1 else f" from time {self._start:g}"
        seeded = f", seed {self._seed}" if self._seed else ""
        return CodecInfo(
            version=f"{info.version}; checkpoint {card.sha256[:8]}: {card.training}; "
            f"torch {version('torch')}",
            command=f"{info.command}; then {self.method}, drawn by the receiver in "
            f"{counted(self._steps, 'step')}{late}{seeded}, schedule "
            f"{card.config.noise_scale:g} of the {card.config.domain}",
            licence=" AND ".join(dict.fromkeys([*info.licence.split(" AND "), self.licence])),
            fingerprint=sha256(f"{card.sha256}{info.fingerprint}".encode()).hexdigest(),
            revision=self.revision,
            timed=f"{info.timed}; drawing in this process",
            device=device_kind(self._device),
            caveat="; ".join(dict.fromkeys(filter(None, caveats))),
            chroma=info.chroma,
            tuned_for="PSNR" if self._steps == 1 else "perceptual quality",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the base's stream."""
        require_accepted(self, setting)
        return self._base.codec.encode(pixels, setting)

    def estimated_bits(self) -> float | None:
        """Return the bits of the base's last stream by its symbols' probabilities, if it says."""
        return getattr(self._base.codec, "estimated_bits", lambda: None)()

    def decode(self, data: bytes) -> Pixels:
        """Return the picture sampled behind the base's; raises what the base does for bad bytes."""
        base = self._base.codec.decode(data)
        network = _network(self._paths[0], self._cards[0].sha256, self._device)
        config, table = network.sizes, network.level_table
        from baselines.neural.diffusion.model import OVERHEAD, RATE, receive

        rates, overhead = table[:, RATE].tolist(), float(table[:, OVERHEAD].mean())
        position = self._base.position(data, base, config.settings, rates, overhead)
        return receive(network, base, data, position, self._steps, self._start, self._seed)

    def _file(self, _level: int) -> str:
        return f"{self._member}.safetensors"


def _require_base(path: Path, card: Card, base: BaseCodec) -> None:
    config = card.config
    if config.base != base.spec.text:
        raise Unavailable(
            f"{path} was trained for the base {config.base or '(none)'}, not for {base.spec.text}: "
            "name that base, or another checkpoint"
        )
    if config.base_fingerprint != base.fingerprint:
        raise Unavailable(
            f"{path} was trained for other weights of {config.base} than are here "
            f"({config.base_fingerprint[:8]}, not {base.fingerprint[:8]}): use those, or train it "
            "anew for these"
        )


@cache
def _network(path: Path, _sha256: str, device: str) -> "DiffusionNetwork":
    wait_without_spinning()
    import torch

    from baselines.neural.checkpoint import load_checkpoint

    network = load_checkpoint(path).network
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
