"""ELIC: uneven channel groups with a checkerboard context, a network for each rate.

    elic
    elic:checkpoint=trained/elic-{level}.safetensors
    elic:narrow=1                  level 4 with the latent of the other levels, under DIRAC and HFD

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022). torch is imported with the first image, not before.
"""

from baselines.neural.checkpoint_codec import RatePointsCodec
from benchmark.errors import BadOption
from benchmark.facts import Facts, Typical

NARROW_LEVEL = 4


class Elic(RatePointsCodec):
    """The networks named `elic-1.safetensors` to `elic-4.safetensors`, or by `checkpoint`.

    `narrow=1` takes `elic-narrow-4` as level 4, the network of before, whose latent of 112 channels
    limits the PSNR: the bundled networks of DIRAC and HFD were trained for it.
    """

    name = "elic"
    method = "ELIC (He et al., CVPR 2022)"
    facts = Facts(
        "ELIC", "learned", "Trained for distortion", "#56B4E9", "s", trained_on=("psnr_db",),
        typical=(Typical("level", ((1, 1.15),)),), published=(("ELIC", "mse"),), budget=True,
        kmac=14.7,
    )  # fmt: skip

    def __init__(self, *, narrow: int = 0, checkpoint: str = "") -> None:
        if narrow not in (0, 1):
            raise BadOption(f"narrow={narrow}: it is 0 or 1")
        self._narrow = bool(narrow)
        super().__init__(checkpoint=checkpoint)

    def _file(self, level: int) -> str:
        narrow = self._narrow and level == NARROW_LEVEL
        return f"elic-narrow-{level}.safetensors" if narrow else super()._file(level)
