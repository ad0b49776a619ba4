"""HiFiC: a generator trained against a discriminator that sees the latent, for three rates.

    hific
    hific:checkpoint=trained/hific-{level}.safetensors

Mentzer, Toderici, Tschannen, Agustsson, "High-Fidelity Generative Image Compression" (NeurIPS
2020); the levels 1, 2, 3 are its "lo", "mi", "hi". torch is imported with the first image, not
before.
"""

from baselines.neural.rate_points import RatePointsCodec


class Hific(RatePointsCodec):
    """The networks named `hific-1.safetensors` to `hific-3.safetensors`, or by `checkpoint`."""

    name = "hific"
    method = "HiFiC (Mentzer et al., NeurIPS 2020)"
    levels = (1, 2, 3)
    tuned_for = "perceptual quality"
