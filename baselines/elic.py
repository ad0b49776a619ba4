"""ELIC: uneven channel groups with a checkerboard context, a network for each rate.

    elic
    elic:checkpoint=trained/elic-{level}.safetensors

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022). torch is imported with the first image, not before.
"""

from baselines.neural.checkpoint_codec import RatePointsCodec
from benchmark.facts import Facts, Typical


class Elic(RatePointsCodec):
    """The networks named `elic-1.safetensors` to `elic-4.safetensors`, or by `checkpoint`."""

    name = "elic"
    method = "ELIC (He et al., CVPR 2022)"
    facts = Facts(
        "ELIC", "learned", "Trained for distortion", "#56B4E9", "s", trained_on=("psnr_db",),
        typical=(Typical("level", ((1, 1.15),)),), published=(("ELIC", "mse"),), budget=True,
        kmac=14.7,
    )  # fmt: skip
