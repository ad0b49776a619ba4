"""Hyperpriors that are compute-matched to `ours`, for the suite `matched` of `suites.toml`."""

from collections.abc import Mapping
from typing import Any

from benchmark.errors import UnknownName

HYPERPRIOR = "bmshj2018-hyperprior"
# CompressAI's N and M for the work per pixel of each size of `ours`, 14.6 k multiply-accumulates of
# `micro`; neither is above the published 320, so that `full` has no match. With the zoo's own
# M / N, 1.5 to 1.7, principal components would end at 30.9 dB on Kodak, whatever the rate; those of
# 48 and 172 reach 35.4 dB, those of `micro` 34.2 dB.
WIDTHS = {
    "full": (320, 320), "small": (167, 229), "mini": (84, 229), "micro": (48, 172), "tiny": (9, 14),
}  # fmt: skip


def rate_weight(lmbda: float) -> float:
    """Return the weight of a bit per pixel beside 150 MSE in [0, 1], from CompressAI's lambda.

    CompressAI minimises lambda 255^2 MSE + bpp. The function is its own inverse.

    >>> round(rate_weight(0.0067), 4)
    0.3443
    """
    return 150 / (lmbda * 255**2)


def hyperprior(sizes: str, lmbda: float) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the dimensions for the work of `sizes` of `ours`, and fields of the stages."""
    if sizes not in WIDTHS:
        raise UnknownName("size of ours with a hyperprior of its work", sizes, WIDTHS)
    dimensions = {"model": HYPERPRIOR, "lmbda": lmbda, "widths": list(WIDTHS[sizes])}
    return dimensions, {"lambdas": (rate_weight(lmbda),)}
