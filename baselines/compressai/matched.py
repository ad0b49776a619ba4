"""Hyperpriors that are compute-matched to `ours`, for the suite `matched` of `suites.toml`."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from baselines.neural.architecture import ZooSizes, load_architecture
from baselines.neural.costs import macs_per_pixel

HYPERPRIOR = "bmshj2018-hyperprior"
# N and M for the work of CRDR's `micro`, 14.6 k multiply-accumulates per pixel. With the zoo's own
# M / N, 1.5 to 1.7, principal components would end at 30.9 dB on Kodak, whatever the rate; those of
# these widths reach 35.4 dB, those of `micro` 34.2 dB.
MATCHED_WIDTHS = (48, 172)
LARGEST_WIDTH = 320  # of the published hyperpriors


def rate_weight(lmbda: float) -> float:
    """Return the weight of a bit per pixel beside 150 MSE in [0, 1], from CompressAI's lambda.

    CompressAI minimises lambda 255^2 MSE + bpp. The function is its own inverse.

    >>> round(rate_weight(0.0067), 4)
    0.3443
    """
    return 150 / (lmbda * 255**2)


def hyperprior(sizes: str, lmbda: float) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the dimensions for the work of `sizes` of `ours`, and fields of the stages."""
    widths = list(matched_widths(sizes))
    dimensions = {"model": HYPERPRIOR, "lmbda": lmbda, "widths": widths}
    return dimensions, {"lambdas": (rate_weight(lmbda),)}


def matched_widths(size: str) -> tuple[int, int]:
    """Return CompressAI's N and M for the work of a named size of `ours`, as near as can be.

    The latent has as many channels as `MATCHED_WIDTHS` has for the size `micro`, in proportion,
    neither width more than `LARGEST_WIDTH`: `full` has no match. `small` has (167, 229).
    """
    sizes = load_architecture("crdr").sizes
    latent = min(
        LARGEST_WIDTH, round(MATCHED_WIDTHS[1] / sizes["micro"].latent * sizes[size].latent)
    )
    target = macs_per_pixel("crdr", sizes[size])

    def work(n: int) -> float:
        return macs_per_pixel("compressai", ZooSizes(HYPERPRIOR, (n, latent)))

    widths = range(2, LARGEST_WIDTH + 1)
    above = bisect_left(widths, target, key=work)  # the work rises with the width
    nearest = min(widths[max(0, above - 1) : above + 1], key=lambda n: abs(work(n) - target))
    return nearest, latent
