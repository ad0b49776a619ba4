"""Charm: channel-wise autoregressive entropy models, a network for each rate.

    charm
    charm:checkpoint=trained/charm-{level}.safetensors

Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
2020). torch is imported with the first image, not before.
"""

from baselines.neural.checkpoint_codec import RatePointsCodec
from benchmark.facts import Facts, Typical


class Charm(RatePointsCodec):
    """The networks named `charm-1.safetensors` to `charm-4.safetensors`, or by `checkpoint`."""

    name = "charm"
    method = "Charm (Minnen and Singh, ICIP 2020)"
    facts = Facts(
        "Charm", "learned", "Trained for distortion", "#44AA99", "p", trained_on=("psnr_db",),
        typical=(Typical("level", ((1, 1.3),)),), published=(("Charm", ""),), budget=True,
        kmac=14.1,
    )  # fmt: skip
