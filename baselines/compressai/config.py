"""Configuration of CompressAI's networks with a hyperprior that are trained here. No torch."""

from dataclasses import dataclass

MODELS = ("bmshj2018-hyperprior", "mbt2018-mean")
# N and M for the work of CRDR's `micro`, 14.6 k multiply-accumulates per
# pixel. The zoo's own M / N, 1.5 to 1.7, would be no fair choice at this size: the principal
# components that N=50, M=91 can represent end at 30.9 dB on Kodak, whatever the rate; those of
# these widths reach 35.4 dB, those of MICRO's 34.2 dB.
MATCHED_WIDTHS = (48, 172)


@dataclass(frozen=True, slots=True)
class ZooConfig:
    """Configuration of a network of CompressAI's that is trained for a rate."""

    model: str  # CompressAI's name of the architecture
    widths: tuple[int, int]  # CompressAI's N and M: channels of the transforms, of the latent
    lmbda: float = 0.0  # CompressAI's: it weighs 255^2 times the MSE of values in [0, 1] with bpp


def rate_weight(lmbda: float) -> float:
    """Return the weight of a bit per pixel beside 150 MSE in [0, 1], from CompressAI's lambda.

    CompressAI minimises lambda 255^2 MSE + bpp. The function is its own inverse.

    >>> round(rate_weight(0.0067), 4)
    0.3443
    """
    return 150 / (lmbda * 255**2)
