"""Charm: channel-wise autoregressive entropy models, a network for each rate.

    charm
    charm:checkpoint=trained/charm-{level}.safetensors

Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
2020). torch is imported with the first image, not before.
"""

from baselines.neural.rate_points import RatePointsCodec


class Charm(RatePointsCodec):
    """The networks named `charm-1.safetensors` to `charm-4.safetensors`, or by `checkpoint`."""

    name = "charm"
    method = "Charm (Minnen and Singh, ICIP 2020)"
