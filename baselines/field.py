"""Learned methods of the field, built and trained by this project; networks are in `neural/`.

    elic
    elic:checkpoint=trained/elic-{level}.safetensors     instead of the networks that are bundled
    multirealism                   beta=0, closest to the pixels, and beta=2.56, most realistic
    pqmim:perceptual=1             with LPIPS and a GAN in the loss
    dirac                          behind ELIC, steps=1, closest to the pixels, and steps=100
    dirac:steps=100:base=hyperprior\\:weights=matched
    hfd:steps=100:seed=7

torch is imported with the first image, not before.
"""

from baselines.neural.diffusion.codec import AFTER_THE_ABSTRACT, DrawingCodec
from baselines.neural.network_codec import NetworkCodec
from benchmark.codec import Between, Setting, require_options
from benchmark.errors import BadOption

MULTIREALISM_HIGHEST_BETA = 2.56


class Charm(NetworkCodec):
    """Charm: channel-wise autoregressive entropy models, a network for each rate.

    Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
    2020). Files are `charm-1.safetensors` to `charm-4.safetensors`.
    """

    name = "charm"
    levels = (1, 2, 3, 4)
    method = "Charm (Minnen and Singh, ICIP 2020)"
    tuned_for = "PSNR"


class Elic(NetworkCodec):
    """ELIC: uneven channel groups with a checkerboard context, a network for each rate.

    He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel
    contextual adaptive coding" (CVPR 2022).
    """

    name = "elic"
    levels = (1, 2, 3, 4)
    method = "ELIC (He et al., CVPR 2022)"
    tuned_for = "PSNR"


class IVR(NetworkCodec):
    """IVR: one network for all rates, whose channels are scaled by interpolated masks.

    Sun, Tan, Sun, Sun, Feng, "Interpolation Variable Rate Image Compression" (ACM MM 2021). The
    rate is a real number q, coded in steps of 1/16.
    """

    name = "ivr"
    method = "IVR (Sun et al., ACM MM 2021) at q={q}"
    trained_by = "bench train --suite field --members ivr"

    def __init__(self, *, checkpoint: str = "") -> None:
        super().__init__(checkpoint=checkpoint)
        highest = self._cards[0].config.rate_levels - 1
        self.sweep = tuple(Setting("q", q) for q in range(highest + 1))
        self.accepts = Between("q", 0, highest)

    def _controls(self, setting: Setting) -> int:
        from baselines.neural.field.ivr import RATE_GRID

        return RATE_GRID.step(setting.value)


class Hific(NetworkCodec):
    """HiFiC: a generator trained against a discriminator that sees the latent, for three rates.

    Mentzer, Toderici, Tschannen, Agustsson, "High-Fidelity Generative Image Compression" (NeurIPS
    2020); the levels 1, 2, 3 are its "lo", "mi", "hi".
    """

    name = "hific"
    method = "HiFiC (Mentzer et al., NeurIPS 2020)"
    levels = (1, 2, 3)
    tuned_for = "perceptual quality"


class MultiRealism(NetworkCodec):
    """Multi-Realism: one network for each rate, whose decoder takes a realism weight beta.

    Agustsson, Minnen, Toderici, Mentzer, "Multi-Realism Image Compression with a Conditional
    Generator" (CVPR 2023). beta, 0 to 2.56, is rounded to multiples of .02 and only written to the
    header; the other bits do not depend on it.
    """

    name = "multirealism"
    levels = (1, 2, 3, 4)
    method = "Multi-Realism (Agustsson et al., CVPR 2023)"
    variants = ({"beta": "0"}, {"beta": "2.56"})

    def __init__(self, *, beta: float, checkpoint: str = "") -> None:
        if not 0 <= beta <= MULTIREALISM_HIGHEST_BETA:
            raise BadOption(f"beta={beta:g}: it is 0 to {MULTIREALISM_HIGHEST_BETA:g}")
        self._beta = beta
        self.coding = f"{self.coding}, beta={beta:g}"
        self.tuned_for = "PSNR" if beta == 0 else "perceptual quality"
        super().__init__(checkpoint=checkpoint)

    def _controls(self, _setting: Setting) -> int:
        from baselines.neural.field.multirealism import BETA_GRID

        return BETA_GRID.step(self._beta)


class PqMim(NetworkCodec):
    """PQ-MIM: product-quantised tokens, coded with a masked transformer; networks for four rates.

    El-Nouby, Muckley, Ullrich, Laptev, Verbeek, Jégou, "Image compression with product quantized
    masked image modeling" (TMLR 2023). Files are `pqmim-LEVEL`, or `pqmim-perceptual-LEVEL`. Built
    after the abstract: layers, sizes and constants are our choice.
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

    def _file(self, level: int) -> str:
        return f"{'pqmim-perceptual' if self._perceptual else 'pqmim'}-{level}.safetensors"

    def _caveat(self) -> str:
        return "; ".join(filter(None, [AFTER_THE_ABSTRACT, super()._caveat()]))


class Dirac(DrawingCodec):
    """DIRAC: a base codec's streams, and a receiver that samples the residual by diffusion.

    Ghouse et al., "A residual diffusion model for high perceptual quality codec augmentation"
    (2023), built after the abstract. `steps`, 1 to 1000, of DDIM; one step estimates the mean, more
    begin at the time .5. `seed` chooses another sample. Neither changes a bit.
    """

    name = "dirac"
    method = "DIRAC (Ghouse et al., 2023, after the abstract)"
    late_start = 0.5  # chosen on photographs that were not trained on
    variants = ({"steps": "1"}, {"steps": "100"})


class Hfd(DrawingCodec):
    """HFD: an autoencoder's streams, and a score-based decoder that samples the picture.

    Hoogeboom et al., "High-fidelity image compression with score-based generative models" (2023),
    built after the abstract. Options as for `Dirac`; steps are ancestral ones, as DDPM's, from the
    time .3 on.
    """

    name = "hfd"
    method = "HFD (Hoogeboom et al., 2023, after the abstract)"
    late_start = 0.3  # chosen on photographs that were not trained on

    def __init__(
        self,
        *,
        steps: int = 20,
        base: str = "elic",
        seed: int = 0,
        checkpoint: str = "",
    ) -> None:
        super().__init__(steps=steps, base=base, seed=seed, checkpoint=checkpoint)
