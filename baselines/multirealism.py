"""Multi-Realism: one network for each rate, whose decoder takes a realism weight beta.

    multirealism              beta=0, which is closest to the pixels, and beta=2.56, most realistic
    multirealism:beta=1.28
    multirealism:beta=0:checkpoint=trained/multirealism-{level}.safetensors

Agustsson, Minnen, Toderici, Mentzer, "Multi-Realism Image Compression with a Conditional Generator"
(CVPR 2023). The realism weight is only written to the header; the other bits do not depend on it.
torch is imported with the first image, not before.
"""

from collections.abc import Mapping
from dataclasses import replace

from baselines.neural.checkpoint_codec import RatePointsCodec
from benchmark.codec import CodecInfo
from benchmark.errors import BadOption
from benchmark.facts import Facts, Typical

HIGHEST_BETA = 2.56


class MultiRealism(RatePointsCodec):
    """The networks named `multirealism-1.safetensors` to `-4.safetensors`, at one beta.

    `beta`, 0 to 2.56, is rounded to multiples of .02.
    """

    name = "multirealism"
    method = "Multi-Realism (Agustsson et al., CVPR 2023)"
    variants = ({"beta": "0"}, {"beta": "2.56"})
    shown = ("beta=2.56", "beta=0")

    @staticmethod
    def facts(options: Mapping[str, str]) -> Facts:
        """Return the facts of the variant with these options."""
        beta = options.get("beta", "")
        colour, marker = ("#009E73", "v") if beta == "2.56" else ("", "")
        return Facts(
            f"Multi-Realism β={beta}", "learned", "Trained for realism", colour, marker,
            trained_on=("psnr_db", "lpips_alex"), typical=(Typical("level", ((1, 0.9),)),),
            published=(("Multi-Realism", f"beta={beta}"),), budget=True, kmac=14.4,
            titled=("beta",),
        )  # fmt: skip

    def __init__(self, *, beta: float, checkpoint: str = "") -> None:
        if not 0 <= beta <= HIGHEST_BETA:
            raise BadOption(f"beta={beta:g}: it is 0 to {HIGHEST_BETA:g}")
        self._beta = beta
        super().__init__(checkpoint=checkpoint)

    def describe(self) -> CodecInfo:
        """Return the checkpoints as their cards describe them, and what this beta is good for."""
        info = super().describe()
        return replace(
            info,
            command=f"{info.command}, beta={self._beta:g}",
            tuned_for="PSNR" if self._beta == 0 else "perceptual quality",
        )

    def _controls(self) -> int:
        from baselines.neural.multirealism.architecture import BETA_GRID

        return BETA_GRID.step(self._beta)
