"""The table of systems: names in figures, labels of rows, published variants, colours, markers.

Colours are Okabe and Ito's (without the yellow, which is lost on white paper) and Tol's muted set:
colour-blind readers can tell them apart, and the marker says the same without colour.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from benchmark.analysis.comparable import plain_label
from benchmark.codec_spec import split_unescaped
from benchmark.registry import ALIASES, CODECS

OURS, GENERATIVE, LEARNED, PROGRAMS = (
    "This method",
    "Trained for realism",
    "Trained for distortion",
    "Programs",
)
GROUPS = (OURS, GENERATIVE, LEARNED, PROGRAMS)  # in legends, from left to right
NETWORKS = (GENERATIVE, LEARNED)
OWN = ("ours", "folder", "command")  # names of codecs that are this project's or the user's own
PROGRAM_NAMES = ("bpg", "hm")  # standard codecs that are only published
MATCHED = "size=micro"  # the network of our codec whose work and crops the budget is


class System(NamedTuple):
    """A codec or published method at one choice of realism."""

    name: str  # in legends and tables
    label: str  # of rows measured here, else a name of its own; styles go by it
    colour: str = ""  # "#D55E00"; empty: a shade of the colour of its family
    marker: str = ""  # as matplotlib names it
    group: str = ""  # one of GROUPS; empty for systems that are in none of the paper's figures
    # System and variant of published numbers. The paper draws the first that has points; of a
    # codec that can be measured here, the first is what the same program or weights gave.
    published: tuple[tuple[str, str], ...] = ()
    budget: bool = False  # its rows are of a network trained here with the budget of `MATCHED`

    @property
    def measured(self) -> str:
        """Label of rows measured here; empty where no codec of the registry is this system."""
        name = self.label.partition(":")[0]
        return self.label if name in CODECS or name in ALIASES else ""

    @property
    def keeps_published(self) -> bool:
        """True if published points stay beside measured ones: another network of one method."""
        return self.group == OURS

    @property
    def method(self) -> str:
        """Name without the choice of realism.

        >>> SYSTEMS[0].method, SYSTEMS[0].choice, SYSTEMS[4].method, SYSTEMS[4].choice
        ('CRDR', 'β=3.84', 'HiFiC', '')
        """
        return self.name.removesuffix(self.choice).rstrip()

    @property
    def choice(self) -> str:
        """Choice of realism, as the name has it: "β=3.84"; empty where there is none."""
        last = self.name.rpartition(" ")[2]
        return last if "=" in last else ""


SYSTEMS = (
    System("CRDR β=3.84", "ours:beta=3.84", "#D55E00", "*", OURS, (("CRDR", "beta=3.84"),)),
    System("CRDR β=0", "ours:beta=0", "", "", OURS, (("CRDR", "beta=0"),)),
    System("CRDR micro β=3.84", f"ours:beta=3.84:{MATCHED}", "", "", OURS, budget=True),
    System("CRDR micro β=0", f"ours:beta=0:{MATCHED}", "", "", OURS, budget=True),
    System("HiFiC", "hific", "#0072B2", "^", GENERATIVE, (("HiFiC", ""),), budget=True),
    System(
        "Multi-Realism β=2.56", "multirealism:beta=2.56", "#009E73", "v", GENERATIVE,
        (("Multi-Realism", "beta=2.56"),), budget=True,
    ),
    System(
        "Multi-Realism β=0", "multirealism:beta=0", "", "", GENERATIVE,
        (("Multi-Realism", "beta=0"),), budget=True,
    ),
    System(
        "DIRAC steps=1", "dirac:steps=1", "", "", GENERATIVE, (("DIRAC-1", ""),), budget=True
    ),
    System(
        "DIRAC steps=100", "dirac:steps=100", "#CC79A7", "D", GENERATIVE, (("DIRAC-100", ""),),
        budget=True,
    ),
    System("HFD", "hfd", "#E69F00", ">", GENERATIVE, (("HFD", ""),), budget=True),
    System(
        "PQ-MIM", "pqmim:perceptual=1", "#882255", "s", GENERATIVE, (("PQ-MIM", ""),), budget=True
    ),
    System("MS-ILLM", "msillm", "#000000", "o", GENERATIVE, (("MS-ILLM", ""),)),
    System("EGIC α=1", "egic", "#117733", ">", GENERATIVE, (("EGIC", "alpha=1"),)),
    System("DC-VIC", "dc-vic", "#AA4499", "h", GENERATIVE, (("DC-VIC", "oasis"),)),
    System("ELIC", "elic", "#56B4E9", "s", LEARNED, (("ELIC", "mse"),), budget=True),
    System("PQ-MIM (MSE)", "pqmim", "", "", LEARNED, budget=True),
    System("Charm", "charm", "#44AA99", "p", LEARNED, (("Charm", ""),), budget=True),
    System("IVR", "ivr", "#999933", "<", LEARNED, (("IVR", "with U-Net"),), budget=True),
    System(
        "Hyperprior", "hyperprior", "#882255", "h", LEARNED, (("Hyperprior", "CompressAI mse"),)
    ),
    System("Hyperprior, our budget", "hyperprior:weights=matched", "", "", LEARNED, budget=True),
    System(
        "VTM", "vtm", "#332288", "X", PROGRAMS, (("VTM", "CompressAI"), ("VTM", "version 20.0"))
    ),
    System(
        "BPG", "bpg", "#6699CC", "H", PROGRAMS,
        (("BPG", "4:4:4 x265"), ("BPG", "version 0.9.8")),
    ),
    System("JPEG", "jpeg", "#000000", "s", PROGRAMS, (("JPEG", "Pillow 7.1.2"), ("JPEG", ""))),
    # not in the paper's figures
    System("Raw", "raw", "#666666", "x"),
    System("WebP", "webp", "#CC79A7", "v", "", (("WebP", "Pillow 7.1.2"),)),
    System("JPEG 2000", "jpeg2000", "#8C510A", "D"),
    System("AVIF", "avif", "#56B4E9", "^"),
    System("JPEG XL", "jpegxl", "#009E73", "P"),
    System("x265", "x265", "#E69F00", "<"),
    System("VVenC fast 4:2:0", "vvenc", "#0072B2", "o"),
    System("jpegli", "jpegli", "#999933", "p"),
    System("mozjpeg", "mozjpeg", "#882255", "h"),
    System("Factorized prior", "compressai:model=bmshj2018-factorized", "#6699CC", ">"),
    System(
        "Hyperprior MS-SSIM", "compressai:metric=ms-ssim:model=bmshj2018-hyperprior", "", "", "",
        (("Hyperprior", "CompressAI ms-ssim"),),
    ),
    System(
        "Mean-scale hyperprior", "compressai:model=mbt2018-mean", "#AA4499", "p", "",
        (("MeanScaleHyperprior", "CompressAI mse"),),
    ),
    System(
        "Joint autoregressive", "compressai:model=mbt2018", "#999933", "d", "",
        (("JointAutoregressive", "CompressAI mse"),),
    ),
    System(
        "Cheng2020 anchor", "compressai:model=cheng2020-anchor", "#44AA99", "8", "",
        (("Cheng2020-anchor", "CompressAI mse"),),
    ),
    System(
        "Cheng2020 attention", "compressai:model=cheng2020-attn", "#117733", "H", "",
        (("Cheng2020-attn", "CompressAI mse"),),
    ),
    System(
        "HiFiC without GAN", "hific-without-gan", "#4477AA", "<", "", (("HiFiC without GAN", ""),)
    ),
    System("StableCodec", "stablecodec", "#661100", "v", "", (("StableCodec", ""),)),
    System("DiffEIC", "diffeic", "#777700", "8", "", (("DiffEIC", ""),)),
    System("HM", "hm", "#332288", "d", "", (("HM", "CompressAI"),)),
)  # fmt: skip
# Options of codecs that names in figures give even where they are the defaults, and what follows
# them: without these a fast encoder or lost chroma would stand unmarked beside the others.
STATED: Mapping[str, tuple[Mapping[str, str], str]] = {"vvenc": ({"preset": "fast"}, "4:2:0")}
GROUPED_SYSTEMS = tuple(system for system in SYSTEMS if system.group)
# One trainer, one budget: every network that has it, and two programs to compare.
FIELD_SYSTEMS = tuple(
    system for system in GROUPED_SYSTEMS if system.budget or system.label in ("vtm", "jpeg")
)
PAPER_SYSTEMS = tuple(
    system for system in GROUPED_SYSTEMS if not (system.group == OURS and system.budget)
)
PLAIN = frozenset(system.label for system in SYSTEMS if system.colour)


# Metric columns in the training loss, PSNR as the squared error; by label, or by family. Of systems
# that are only published nothing is said here.
TRAINED_ON: Mapping[str, tuple[str, ...]] = {
    "ours": ("psnr_db", "lpips_alex"),
    "charm": ("psnr_db",),
    "elic": ("psnr_db",),
    "ivr": ("psnr_db",),
    "hific": ("psnr_db", "lpips_alex"),
    "msillm": ("psnr_db", "lpips_alex"),
    "multirealism": ("psnr_db", "lpips_alex"),
    "dirac": ("psnr_db",),  # of the base
    "hfd": ("psnr_db",),
    "pqmim": ("psnr_db",),
    "pqmim:perceptual=1": ("psnr_db", "lpips_alex"),
    "bmshj2018-factorized": ("psnr_db",),
    "bmshj2018-hyperprior": ("psnr_db",),
    "mbt2018-mean": ("psnr_db",),
    "mbt2018": ("psnr_db",),
    "cheng2020-anchor": ("psnr_db",),
    "cheng2020-attn": ("psnr_db",),
}
Kind = Literal["own", "standard", "learned"]


def trained_on(label: str) -> tuple[str, ...]:
    """Return the metric columns that a codec's training loss contains, as far as it is known.

    >>> trained_on("ours:beta=0"), trained_on("compressai:metric=ms-ssim:model=mbt2018")
    (('psnr_db', 'lpips_alex'), ('ms_ssim',))
    >>> trained_on("vtm"), trained_on("pqmim"), trained_on("pqmim:perceptual=1")
    ((), ('psnr_db',), ('psnr_db', 'lpips_alex'))
    """
    known = TRAINED_ON.get(label, TRAINED_ON.get(family(label), ()))
    other = _options(label)[1].get("metric", "mse")
    return known if other == "mse" else ("ms_ssim",) if other == "ms-ssim" else ()


def kind(system: System) -> Kind:
    """Return whether a system is this project's or the user's own, a standard or a learned codec.

    >>> [kind(System("", label)) for label in ("./mine.py:Mine", "vtm", "hyperprior", "elic")]
    ['own', 'standard', 'learned', 'learned']
    """
    name = _options(system.label)[0]
    if system.group == OURS or name in OWN or ".py:" in name:
        return "own"
    if any(name == _options(one.label)[0] for one in SYSTEMS if one.group in NETWORKS):
        return "learned"
    program = system.group == PROGRAMS or name in (*CODECS, *PROGRAM_NAMES)
    return "standard" if program else "learned"


def measured_names() -> dict[str, str]:
    """Return the names in figures of codecs that can be measured here, by label, in order."""
    return {system.measured: system.name for system in SYSTEMS if system.measured}


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Return a short legend name for each label; whole labels where two would be the same.

    >>> short_names(["jpeg", "compressai:metric=mse:model=mbt2018", "./a/mine.py:Mine:level=3"])
    {'jpeg': 'jpeg', 'compressai:metric=mse:model=mbt2018': 'mbt2018',
     './a/mine.py:Mine:level=3': 'Mine level=3'}
    >>> short_names(["vvenc", "vvenc:preset=slow"])
    {'vvenc': 'vvenc preset=fast 4:2:0', 'vvenc:preset=slow': 'vvenc preset=slow 4:2:0'}
    """
    short = {label: _short(label) for label in labels}
    names = list(short.values())
    return {label: name if names.count(name) == 1 else label for label, name in short.items()}


def family(label: str) -> str:
    """Return the codec that a label's variants share a style with: a network of CompressAI, say.

    >>> family("hyperprior"), family("ours:beta=0"), family("jpeg2000 (bundled)")
    ('bmshj2018-hyperprior', 'ours', 'jpeg2000')
    """
    name, options = _options(plain_label(label))
    return options.get("model", name) if name == "compressai" else name


def plainness(label: str) -> int:
    """Return 0 for the variant that has the family's own style, more for others."""
    name, options = _options(plain_label(label))
    older = plain_label(label) != label
    if name == "compressai":
        options.pop("model", None)
        if options.get("metric", "mse") == "mse":
            options.pop("metric", None)
    return 0 if label in PLAIN else len(options) + older


def option_count(label: str) -> int:
    """Return the number of options that a label names.

    >>> option_count("jpeg"), option_count("ours:beta=0:effort=2")
    (0, 2)
    """
    return len(_options(plain_label(label))[1])


def _options(label: str) -> tuple[str, dict[str, str]]:
    """Split a label into name and options; a path.py:Class stays one name."""
    name, *rest = split_unescaped(ALIASES.get(label, label), ":")
    if name.endswith(".py") and rest:
        name, rest = f"{name}:{rest[0]}", rest[1:]
    return name, {key: value for key, _, value in (part.partition("=") for part in rest)}


def _short(label: str) -> str:
    if label in ALIASES:
        return label
    name, options = _options(label)
    stated, ending = STATED.get(name, ({}, ""))
    options = {**stated, **options}
    if name == "compressai":
        name = options.pop("model", name)
        if options.get("metric") == "mse":
            options.pop("metric")
    if ".py:" in name:
        name = name.rpartition(":")[2]
    values = [f"{key}={value.rstrip('/').rpartition('/')[2]}" for key, value in options.items()]
    return " ".join([name, *values, *([ending] if ending else [])])
