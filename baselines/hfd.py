"""HFD: an autoencoder's streams, and a score-based decoder that samples the picture.

    hfd                            behind ELIC, in 20 steps
    hfd:steps=100:seed=7
    hfd:base=charm

Hoogeboom et al., "High-fidelity image compression with score-based generative models" (2023),
re-implemented from the abstract; our constants are fields of
`baselines.neural.diffusion.architecture`.
torch is imported with the first image.
"""

from collections.abc import Mapping

from baselines.neural.diffusion.codec import DrawingCodec
from benchmark.facts import Facts


class Hfd(DrawingCodec):
    """The network named `hfd-BASE.safetensors`, or by `checkpoint`, behind the codec `base`.

    `steps`, 1 to 1000, are ancestral ones, as DDPM's; one step estimates the mean. `start`, above 0
    to 1, is the time to begin at, by default 1 for one step and .3 for more; `seed` chooses another
    drawing. None of these three changes a bit.
    """

    name = "hfd"
    method = "HFD (Hoogeboom et al., 2023, after the abstract)"
    late_start = 0.3  # chosen on photographs held out of training
    default_steps = 20

    @classmethod
    def facts(cls, options: Mapping[str, str]) -> Facts:
        """Return the facts of the variant with these options."""
        return Facts(
            "HFD", "learned", "Trained for realism", "#E69F00", ">", trained_on=("psnr_db",),
            typical=cls.typical(options), published=(("HFD", ""),), budget=True,
            kmac=310.3,  # 20 steps behind ELIC
        )  # fmt: skip

    def __init__(
        self,
        *,
        steps: int = 20,
        base: str = "elic",
        start: float = 0.0,
        seed: int = 0,
        checkpoint: str = "",
    ) -> None:
        super().__init__(steps=steps, base=base, start=start, seed=seed, checkpoint=checkpoint)
