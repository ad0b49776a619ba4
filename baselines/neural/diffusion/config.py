"""Dimensions and choices of a diffusion decoder, and the base that it was trained for. No torch.

No text of the two papers beyond their abstracts was at hand. Every constant that they must have
fixed and that is chosen here is a field, for a reader of the papers to set.
"""

from dataclasses import dataclass, replace
from typing import Literal

from baselines.neural.dimensions import require_count, require_widths

Domain = Literal["residual", "picture"]
Sampler = Literal["ddim", "ancestral"]
LARGEST_PATCH_PX = 1 << 14


@dataclass(frozen=True, slots=True)
class DiffusionConfig:
    """Configuration of a diffusion decoder.

    `domain` says what is drawn. "residual": the difference from the base picture in units of its
    standard deviation, to which `noise_scale` is relative, limited to the level's threshold.
    "picture": the picture itself, of values in [-1, 1], to which `noise_scale` is relative and
    which is limited to that range. `base` and what follows say which codec's pictures the network
    was trained on; an empty `base` is that of a preset, which cannot be trained or used. Raises
    `ValueError` for dimensions that no network can have.
    """

    widths: tuple[int, int, int]  # channels at 1/4, 1/8 and 1/16 of the picture's sides
    blocks: int  # residual blocks of each level on the way down; one more on the way up
    middle: int  # residual blocks at the lowest resolution, between both ways
    embedding: int  # width of the vector that noise level and residual scale become
    domain: Domain
    noise_scale: float  # n of the schedule; lower: less noise
    sampler: Sampler
    threshold_share: float = 0.999  # of the training residuals of a level, within its threshold
    patch_px: int = 1024  # pictures larger than this in a side are drawn in patches
    overlap_px: int = 128  # of two patches
    base: str = ""  # a codec spec: "elic", "jpeg:optimize=1"
    base_fingerprint: str = ""  # of the base's weights; empty for a base without weights
    setting: str = ""  # name of the base's rate control
    settings: tuple[float, ...] = ()  # its values, one for each level, lowest rate first

    def __post_init__(self) -> None:
        require_widths((*self.widths, self.embedding), least=2)
        require_count("blocks", self.blocks, least=1)
        require_count("middle blocks", self.middle)
        require_count("levels", len(self.settings))
        if not 0 < self.noise_scale < float("inf"):
            raise ValueError(f"noise_scale is {self.noise_scale}, not above 0")
        if not 0 < self.threshold_share <= 1:
            raise ValueError(f"threshold_share is {self.threshold_share}, not within 0..1")
        sides = self.overlap_px, self.patch_px
        if any(side % 16 for side in sides) or not 0 < 2 * sides[0] <= sides[1] <= LARGEST_PATCH_PX:
            raise ValueError(
                f"patches of {self.patch_px} px overlap by {self.overlap_px}: both are multiples "
                "of 16, and the overlap is at most half a patch"
            )

    @property
    def levels(self) -> int:
        """Number of rate levels, 1 for a preset."""
        return max(1, len(self.settings))

    def for_base(
        self, spec: str, fingerprint: str, setting: str, settings: tuple[float, ...]
    ) -> "DiffusionConfig":
        """Return the configuration for a base codec and its settings."""
        return replace(
            self, base=spec, base_fingerprint=fingerprint, setting=setting, settings=settings
        )


def _both(
    widths: tuple[int, int, int], embedding: int, blocks: int = 1
) -> "dict[str, DiffusionConfig]":
    """Return the configurations of both methods for networks of the same size."""
    # Ghouse et al. 2023: a residual, late start, threshold by rate. A schedule for a signal of
    # unit variance and DDIM are our choice, the latter since one step has to be an answer.
    dirac = DiffusionConfig(
        widths=widths,
        blocks=blocks,
        middle=2,
        embedding=embedding,
        domain="residual",
        noise_scale=1.0,
        sampler="ddim",
    )
    # Hoogeboom et al. 2023: the picture given the reconstruction, and less noise. n = .1 is our
    # choice, the scale of residuals at about .1 bpp; so are ancestral steps, DDPM's.
    hfd = replace(dirac, domain="picture", noise_scale=0.1, sampler="ancestral")
    return {"dirac": dirac, "hfd": hfd}


# Sizes for both methods. `full` is our choice: neither network's size was found. `micro` takes per
# step about the work of the other methods' smallest networks; `tiny` is for tests.
SIZES = {
    "full": _both((128, 256, 384), 512, blocks=2),
    "small": _both((64, 96, 128), 256, blocks=2),
    "micro": _both((32, 48, 64), 128),
    "tiny": _both((4, 6, 8), 8),
}


def presets(method: str) -> dict[str, DiffusionConfig]:
    """Return the presets of a method, "dirac" or "hfd", by name."""
    return {name: methods[method] for name, methods in SIZES.items()}
