"""PQ-MIM: product-quantised tokens, coded with a masked transformer; a network for each rate.

    pqmim                     trained for the squared error
    pqmim:perceptual=1        with LPIPS and a GAN in the loss
    pqmim:checkpoint=trained/pqmim-{level}.safetensors

El-Nouby, Muckley, Ullrich, Laptev, Verbeek, Jégou, "Image compression with product quantized masked
image modeling" (TMLR 2023). Built after the abstract: layers, sizes and constants are our choice.
torch is imported with the first image, not before.
"""

from collections.abc import Mapping
from dataclasses import replace

from baselines.neural.checkpoint_codec import RatePointsCodec
from benchmark.codec import CodecInfo
from benchmark.errors import BadOption
from benchmark.facts import Facts, Typical

AFTER_THE_ABSTRACT = "after the abstract"


class PqMim(RatePointsCodec):
    """The networks named `pqmim-1.safetensors` to `-4`, or `pqmim-perceptual-1` to `-4`.

    `perceptual`, 0 or 1, is what they are trained for.
    """

    name = "pqmim"
    method = "PQ-MIM (El-Nouby et al., TMLR 2023), after the abstract"
    coding = "transformer without rounded sums"
    suite = "generative"
    shown = ("perceptual=1", "")

    @staticmethod
    def facts(options: Mapping[str, str]) -> Facts:
        """Return the facts of the variant with these options."""
        typical = (Typical("level", ((1, 9), (4, 10.6))),)
        if options.get("perceptual") == "1":
            return Facts(
                "PQ-MIM", "learned", "Trained for realism", "#882255", "s",
                trained_on=("psnr_db", "lpips_alex"), typical=typical,
                published=(("PQ-MIM", ""),), budget=True, kmac=41.2, titled=("perceptual",),
            )  # fmt: skip
        return Facts(
            "PQ-MIM (MSE)", "learned", "Trained for distortion", trained_on=("psnr_db",),
            typical=typical, budget=True, kmac=45.3,
        )  # fmt: skip

    def __init__(self, *, perceptual: int = 0, checkpoint: str = "") -> None:
        if perceptual not in (0, 1):
            raise BadOption(f"perceptual={perceptual}: it is 0 or 1")
        self._perceptual = bool(perceptual)
        super().__init__(checkpoint=checkpoint)

    def describe(self) -> CodecInfo:
        """Return the checkpoints as their cards describe them, and what they are trained for."""
        info = super().describe()
        return replace(info, tuned_for="perceptual quality" if self._perceptual else "PSNR")

    def _stem(self) -> str:
        return "pqmim-perceptual" if self._perceptual else "pqmim"

    def _caveat(self) -> str:
        return "; ".join(filter(None, [AFTER_THE_ABSTRACT, super()._caveat()]))
