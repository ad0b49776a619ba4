"""HiFiC: a generator trained against a discriminator that sees the latent, for three rates.

    hific
    hific:checkpoint=trained/hific-{level}.safetensors

Mentzer, Toderici, Tschannen, Agustsson, "High-Fidelity Generative Image Compression" (NeurIPS
2020); the levels 1, 2, 3 are its "lo", "mi", "hi". torch is imported with the first image, not
before.
"""

from baselines.neural.checkpoint_codec import RatePointsCodec
from benchmark.facts import Facts, Typical


class Hific(RatePointsCodec):
    """The networks named `hific-1.safetensors` to `hific-3.safetensors`, or by `checkpoint`."""

    name = "hific"
    method = "HiFiC (Mentzer et al., NeurIPS 2020)"
    facts = Facts(
        "HiFiC", "learned", "Trained for realism", "#0072B2", "^",
        trained_on=("psnr_db", "lpips_alex"), typical=(Typical("level", ((1, 2.4),)),),
        published=(("HiFiC", ""),), budget=True, kmac=14.1,
    )  # fmt: skip
    levels = (1, 2, 3)
    tuned_for = "perceptual quality"
