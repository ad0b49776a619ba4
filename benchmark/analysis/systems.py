"""The systems of the paper's comparison: what they are called, and which numbers are theirs."""

from typing import NamedTuple

OURS, GENERATIVE, LEARNED, PROGRAMS = (
    "This method",
    "Trained for realism",
    "Trained for distortion",
    "Programs",
)
GROUPS = (OURS, GENERATIVE, LEARNED, PROGRAMS)  # as legends have them, from left to right


class System(NamedTuple):
    """One system at one choice of realism."""

    name: str  # in legends
    group: str
    look: str  # label that `figures.style.looks` knows it by, the same in every figure
    measured: str  # label of rows measured here; empty where nothing here can be that system
    published: tuple[tuple[str, str], ...]  # system, variant: the first that has points stands

    @property
    def keeps_published(self) -> bool:
        """Whether published points stay beside measured ones: another network of one method."""
        return self.group == OURS


SYSTEMS = (
    System("CRDR β=3.84", OURS, "ours:beta=3.84", "ours:beta=3.84", (("CRDR", "beta=3.84"),)),
    System("CRDR β=0", OURS, "ours:beta=0", "ours:beta=0", (("CRDR", "beta=0"),)),
    System("HiFiC", GENERATIVE, "hific", "", (("HiFiC", ""),)),
    System(
        "Multi-Realism β=2.56", GENERATIVE, "multi-realism", "", (("Multi-Realism", "beta=2.56"),)
    ),
    System(
        "Multi-Realism β=0", GENERATIVE, "multi-realism:beta=0", "", (("Multi-Realism", "beta=0"),)
    ),
    System("DIRAC-1", GENERATIVE, "dirac-1", "", (("DIRAC-1", ""),)),
    System("DIRAC-100", GENERATIVE, "dirac-100", "", (("DIRAC-100", ""),)),
    System("HFD", GENERATIVE, "hfd", "", (("HFD", ""),)),
    System("PQ-MIM", GENERATIVE, "pq-mim", "", (("PQ-MIM", ""),)),
    System("MS-ILLM", GENERATIVE, "ms-illm", "", (("MS-ILLM", ""),)),
    System("EGIC α=1", GENERATIVE, "egic", "", (("EGIC", "alpha=1"),)),
    System("DC-VIC", GENERATIVE, "dc-vic", "", (("DC-VIC", "oasis"),)),
    System("ELIC", LEARNED, "elic", "", (("ELIC", "mse"),)),
    System("Charm", LEARNED, "charm", "", (("Charm", ""),)),
    System("IVR", LEARNED, "ivr", "", (("IVR", "with U-Net"),)),
    System("Hyperprior", LEARNED, "hyperprior", "hyperprior", (("Hyperprior", "CompressAI mse"),)),
    System(
        "Hyperprior, our budget",
        LEARNED,
        "hyperprior:weights=matched",
        "hyperprior:weights=matched",
        (),
    ),
    System("VTM", PROGRAMS, "vtm", "vtm", (("VTM", "CompressAI"), ("VTM", "version 20.0"))),
    System("BPG", PROGRAMS, "bpg", "", (("BPG", "4:4:4 x265"), ("BPG", "version 0.9.8"))),
    System("JPEG", PROGRAMS, "jpeg", "jpeg", (("JPEG", "Pillow 7.1.2"), ("JPEG", ""))),
)

# Rules of published numbers that meet in the paper's figures, by metric column; the figures say so.
# All of FID's cut HiFiC's patches: they differ in rounding and in the port of Inception. Whatever
# cuts or counts otherwise (fid/diffeic, fid/stablecodec) stays out.
MAY_MEET = {
    "psnr_db": (
        "psnr-rgb8/1", "psnr-rgb8-truncated/1", "psnr-rgb-unrounded/1", "psnr-rgb/reported",
    ),
    "ms_ssim": ("ms-ssim-rgb8/1", "ms-ssim-rgb-unrounded/1", "ms-ssim-rgb/reported"),
    "lpips_alex": (
        "lpips-alex-truncated/0.1.4", "lpips-alex-unrounded/torchmetrics", "lpips-alex/hific",
        "lpips-alex/reported",
    ),
    "fid256": (
        "fid256-truncated/pytorch-fid-0.3.0", "fid256/torch-fidelity", "fid256/hific",
        "fid256/reported",
    ),
}  # fmt: skip

# Codecs that are measured here and are not in the paper's curves.
OTHERS = {
    "raw": "Raw", "webp": "WebP", "jpeg2000": "JPEG 2000", "avif": "AVIF", "jpegxl": "JPEG XL",
    "x265": "x265", "vvenc": "VVenC",
}  # fmt: skip
TITLES = {"clic2020": "CLIC2020 test", "kodak": "Kodak", "sample": "sample photographs"}


def titled(dataset: str) -> str:
    """The dataset as figures call it."""
    return TITLES.get(dataset, dataset)


def measured_names() -> dict[str, str]:
    """What figures call codecs that are measured here, by label, the paper's own first."""
    own = {system.measured: system.name for system in SYSTEMS if system.measured}
    return {**own, **OTHERS}
