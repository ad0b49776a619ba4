"""DIRAC: a base codec's streams, and a receiver that samples the residual by diffusion.

    dirac                          behind ELIC, steps=1, closest to the pixels, and steps=100
    dirac:steps=100:base=hyperprior\\:weights=matched
    dirac:steps=100:start=0.8:seed=7

Ghouse et al., "A residual diffusion model for high perceptual quality codec augmentation" (2023),
re-implemented from the abstract; our constants are fields of
`baselines.neural.diffusion.architecture`.
torch is imported with the first image.
"""

from collections.abc import Mapping

from baselines.neural.diffusion.codec import DrawingCodec
from benchmark.facts import Facts


class Dirac(DrawingCodec):
    """The network named `dirac-BASE.safetensors`, or by `checkpoint`, behind the codec `base`.

    `steps`, 1 to 1000, of DDIM; one step estimates the mean. `start`, above 0 to 1, is the time to
    begin at, by default 1 for one step and .5 for more; `seed` chooses another drawing. None of
    these three changes a bit.
    """

    name = "dirac"
    method = "DIRAC (Ghouse et al., 2023, after the abstract)"
    late_start = 0.5  # chosen on photographs held out of training
    variants = ({"steps": "1"}, {"steps": "100"})
    shown = ("steps=1", "steps=100")

    @classmethod
    def facts(cls, options: Mapping[str, str]) -> Facts:
        """Return the facts of the variant with these options."""
        steps = options.get("steps", "")
        colour, marker = ("#CC79A7", "D") if steps == "100" else ("", "")
        return Facts(
            f"DIRAC steps={steps}", "learned", "Trained for realism", colour, marker,
            trained_on=("psnr_db",),  # of the base
            typical=cls.typical(options), published=((f"DIRAC-{steps}", ""),), budget=True,
            kmac=14.7 + 14.8 * int(steps or 0), titled=("steps",),
        )  # fmt: skip

    def __init__(
        self,
        *,
        steps: int,
        base: str = "elic",
        start: float = 0.0,
        seed: int = 0,
        checkpoint: str = "",
    ) -> None:
        super().__init__(steps=steps, base=base, start=start, seed=seed, checkpoint=checkpoint)
