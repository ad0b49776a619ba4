"""Learned codecs from papers, built and trained by this project; their networks: `neural/`.

    elic
    elic:checkpoint=trained/elic-{level}.safetensors     replaces the bundled networks
    multirealism                   beta=0, closest to the pixels, and beta=2.56, most realistic
    pqmim:perceptual=1             with LPIPS and a GAN in the loss
    dirac                          with ELIC: steps=1, closest to the pixels, and steps=100
    dirac:steps=100:base=hyperprior\\:weights=matched
    hfd:steps=100:seed=7

torch is imported with the first image, or with a learned base of DIRAC or HFD.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from baselines.neural.card import verified_card
from baselines.neural.diffusion.base_codec import BaseCodec
from baselines.neural.network_codec import NetworkCodec, released_files, wait_without_spinning
from benchmark.codec import (
    Between,
    CodecInfo,
    OneOf,
    Pixels,
    Setting,
    device_kind,
    require_accepted,
    require_options,
)
from benchmark.errors import BadOption, Unavailable
from benchmark.spec import parse_codec
from benchmark.system.settings import PublishedFile
from benchmark.system.text import counted

if TYPE_CHECKING:
    from baselines.neural.diffusion.model import DiffusionNetwork

MULTIREALISM_MAX_BETA = 2.56
MAX_STEPS = 1000
MAX_SEED = (1 << 64) - 1
AFTER_THE_ABSTRACT = "after the abstract"


class Charm(NetworkCodec):
    """Charm (Minnen, Singh, ICIP 2020): channel-wise autoregressive entropy models; 4 networks."""

    name = "charm"
    levels = (1, 2, 3, 4)
    method = "Charm (Minnen and Singh, ICIP 2020)"
    tuned_for = "PSNR"


class Elic(NetworkCodec):
    """ELIC (He et al., CVPR 2022): uneven channel groups, checkerboard context; four networks."""

    name = "elic"
    levels = (1, 2, 3, 4)
    method = "ELIC (He et al., CVPR 2022)"
    tuned_for = "PSNR"


class IVR(NetworkCodec):
    """IVR: one network for all rates, whose channels are scaled by interpolated masks.

    Sun et al., "Interpolation Variable Rate Image Compression" (ACM MM 2021). q has steps of 1/16.
    """

    name = "ivr"
    method = "IVR (Sun et al., ACM MM 2021) at q={q}"
    trained_by = "bench train --suite field --members ivr"

    def __init__(self, *, checkpoint: str = "") -> None:
        super().__init__(checkpoint=checkpoint)
        highest_q = self._cards[0].config.rate_levels - 1
        self.sweep = tuple(Setting("q", q) for q in range(highest_q + 1))
        self.accepts = Between("q", 0, highest_q)

    def _stream_controls(self, setting: Setting) -> int:
        from baselines.neural.field.ivr import RATE_GRID

        return RATE_GRID.step(setting.value)


class Hific(NetworkCodec):
    """HiFiC: a generator trained against a discriminator that sees the latent; three rates.

    Mentzer et al. (NeurIPS 2020); the levels 1, 2, 3 are its "lo", "mi", "hi".
    """

    name = "hific"
    method = "HiFiC (Mentzer et al., NeurIPS 2020)"
    levels = (1, 2, 3)
    tuned_for = "perceptual quality"


class MultiRealism(NetworkCodec):
    """Multi-Realism: one network for each rate, whose decoder takes a realism weight beta.

    Agustsson et al. (CVPR 2023). beta, 0 to 2.56, is rounded to a multiple of .02 and changes only
    the header of a stream.
    """

    name = "multirealism"
    levels = (1, 2, 3, 4)
    method = "Multi-Realism (Agustsson et al., CVPR 2023)"
    variants = ({"beta": "0"}, {"beta": "2.56"})

    def __init__(self, *, beta: float, checkpoint: str = "") -> None:
        if not 0 <= beta <= MULTIREALISM_MAX_BETA:
            raise BadOption(f"beta must be from 0 to {MULTIREALISM_MAX_BETA:g}, not {beta:g}")
        self._beta = beta
        self.coding = f"{self.coding}, beta={beta:g}"
        self.tuned_for = "PSNR" if beta == 0 else "perceptual quality"
        super().__init__(checkpoint=checkpoint)

    def _stream_controls(self, _setting: Setting) -> int:
        from baselines.neural.field.multirealism import BETA_GRID

        return BETA_GRID.step(self._beta)


class PqMim(NetworkCodec):
    """PQ-MIM: product-quantised tokens, coded with a masked transformer; networks for four rates.

    El-Nouby et al. (TMLR 2023). Files are `pqmim-LEVEL`, or `pqmim-perceptual-LEVEL`. Built from
    the abstract: layers, sizes and constants are our choice.
    """

    name = "pqmim"
    levels = (1, 2, 3, 4)
    method = "PQ-MIM (El-Nouby et al., TMLR 2023), after the abstract"
    coding = "transformer without rounded sums"
    trained_by = "bench train --suite generative"

    def __init__(self, *, perceptual: int = 0, checkpoint: str = "") -> None:
        require_options(self.name, perceptual=(perceptual, (0, 1)))
        self._perceptual = bool(perceptual)
        self.tuned_for = "perceptual quality" if perceptual else "PSNR"
        super().__init__(checkpoint=checkpoint)

    def _file_name(self, level: int) -> str:
        return f"{'pqmim-perceptual' if self._perceptual else 'pqmim'}-{level}.safetensors"

    def _join_caveats(self) -> str:
        return "; ".join(filter(None, [AFTER_THE_ABSTRACT, super()._join_caveats()]))


class SamplingCodec(NetworkCodec):
    """Codec that keeps the streams of a base codec; its decoder samples pictures by diffusion.

    The noise follows from the stream and `seed`; another processor may change a pixel by one level.
    `steps` and `seed` do not affect the stream. A single step, which estimates the mean, starts at
    time 1. The weights are in `NAME-BASE.safetensors` or `checkpoint`.
    """

    late_start: ClassVar[float]  # time at which sampling starts, with several steps
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
        if not 1 <= steps <= MAX_STEPS:
            raise BadOption(f"steps must be from 1 to {MAX_STEPS}, not {steps}")
        if not 0 <= seed <= MAX_SEED:
            raise BadOption(f"seed must be from 0 to {MAX_SEED}, not {seed}")
        self._steps, self._seed = steps, seed
        self._start = 1.0 if steps == 1 else self.late_start
        self._base = BaseCodec(base)
        base_name = self._base.spec.name.rpartition(":")[2]
        self._member = f"{self.name}-{base_name}"
        self.trained_by = f"bench train --suite generative --members {self._member}"
        super().__init__(checkpoint=checkpoint)
        config = self._cards[0].config
        if not self._base.spec.options and parse_codec(config.base).name == base_name:
            self._base = BaseCodec(config.base)  # the card's base may have options
        subject, text = f"{self._paths[0]} was trained for", self._base.spec.text
        if config.base != text:
            card_base = config.base or "(none)"
            raise Unavailable(
                f"{subject} the base {card_base}, not for {text}: use base={card_base}, or a "
                f"checkpoint that was trained for {text}"
            )
        expected, actual = config.base_fingerprint, self._base.fingerprint
        if expected != actual:
            raise Unavailable(
                f"{subject} the weights {expected[:8]} of {text}, but {actual[:8]} are installed: "
                f"install {expected[:8]}, or train a checkpoint for {actual[:8]}"
            )
        self.sweep = config.sweep
        accepts: Between | OneOf | None = getattr(self._base.codec, "accepts", None)
        self.accepts = accepts or OneOf(self.sweep)

    @classmethod
    def published_weights(cls, options: Mapping[str, str]) -> list[PublishedFile]:
        """Return the weight files of the decoder and of the base."""
        base = parse_codec(options.get("base", "elic")).name
        return released_files(cls.name, base)

    def describe(self) -> CodecInfo:
        """Return the base's description, extended by the facts of the decoder's card."""
        card, info = verified_card(self._paths[0]), self._base.codec.describe()
        caveats = (AFTER_THE_ABSTRACT, card.shown_caveat, *info.caveat.split("; "))
        start_note = "" if self._start == 1 else f" from time {self._start:g}"
        seed_note = f", seed {self._seed}" if self._seed else ""
        return CodecInfo(
            version=f"{info.version}; checkpoint {card.sha256[:8]}: {card.training}; "
            f"torch {version('torch')}",
            command=f"{info.command}; then {self.method}, drawn by the receiver in "
            f"{counted(self._steps, 'step')}{start_note}{seed_note}, schedule "
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
        """Return the base's estimate of its last stream's bits; None if it has none."""
        return getattr(self._base.codec, "estimated_bits", lambda: None)()

    def decode(self, data: bytes) -> Pixels:
        """Return a picture sampled from the base codec's picture; raises the errors of the base."""
        base = self._base.codec.decode(data)
        network = load_diffusion(self._paths[0], self._cards[0].sha256, self._device)
        config, table = network.sizes, network.level_table
        from baselines.neural.diffusion.model import OVERHEAD, RATE, receive

        rates, overhead = table[:, RATE].tolist(), float(table[:, OVERHEAD].mean())
        position = self._base.position(data, base, config.settings, rates, overhead)
        return receive(network, base, data, position, self._steps, self._start, self._seed)

    def _file_name(self, _level: int) -> str:
        return f"{self._member}.safetensors"


@cache
def load_diffusion(path: Path, _sha256: str, device: str) -> "DiffusionNetwork":
    """Load a checkpoint with a diffusion decoder, once for each file and device."""
    wait_without_spinning()
    import torch

    from baselines.neural.checkpoint import load_checkpoint

    network = load_checkpoint(path).network
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


class Dirac(SamplingCodec):
    """DIRAC: a base codec's streams, and a receiver that samples the residual by diffusion.

    Ghouse et al. (2023), built from the abstract. `steps`, 1 to 1000, are DDIM's: one step
    estimates the mean; more start at time .5. `seed` selects a sample. Neither affects streams.
    """

    name = "dirac"
    method = "DIRAC (Ghouse et al., 2023, after the abstract)"
    late_start = 0.5  # chosen on photographs outside the training set
    variants = ({"steps": "1"}, {"steps": "100"})


class Hfd(SamplingCodec):
    """HFD: an autoencoder's streams, and a score-based decoder that samples the picture.

    Hoogeboom et al. (2023), built from the abstract. Options as for `Dirac`; DDPM from time .3.
    """

    name = "hfd"
    method = "HFD (Hoogeboom et al., 2023, after the abstract)"
    late_start = 0.3  # chosen on photographs outside the training set

    def __init__(
        self,
        *,
        steps: int = 20,
        base: str = "elic",
        seed: int = 0,
        checkpoint: str = "",
    ) -> None:
        super().__init__(steps=steps, base=base, seed=seed, checkpoint=checkpoint)
