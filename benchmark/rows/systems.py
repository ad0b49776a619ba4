"""The table of systems: names in figures, labels of rows, published variants, colours, markers.

Each codec declares its own (`benchmark.facts.Facts`). Colours are Okabe and Ito's
(without the yellow, which is lost on white paper) and Tol's muted set: colour-blind readers can
distinguish them, and the marker says the same without colour.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from benchmark.datasets.dataset import profile
from benchmark.errors import Unavailable, UnknownName
from benchmark.facts import Group, Kind, Training, facts_of
from benchmark.registry import ALIASES, CODECS, metric_named
from benchmark.spec import (
    PATHS,
    CodecSpec,
    declared,
    names_code,
    parse_codec,
    resolve,
    split_unescaped,
    unescaped,
)

GROUPS: tuple[Group, ...] = (  # in legends, from left to right
    *("This method", "Trained for realism"),
    *("Trained for distortion", "Programs"),
)
OURS, GENERATIVE, LEARNED, PROGRAMS = GROUPS
SIZE, EFFORT = "size", "effort"  # options that name another network of a codec, another encoder


class System(NamedTuple):
    """A codec or published method at one choice of realism."""

    name: str  # in legends and tables
    label: str  # of rows measured here, else a name of its own; styles go by it
    colour: str = ""  # "#D55E00"; empty: the colour of its family
    marker: str = ""  # as matplotlib names it
    group: Group = ""  # empty for systems that are in none of the paper's figures
    # System and variant of published numbers. The paper draws the first that has points; of a
    # codec that can be measured here, the first is what the same program or weights gave.
    published: tuple[tuple[str, str], ...] = ()
    budget: bool = False  # its rows are of a network trained here with the budget of `size=micro`
    kind: Kind = "learned"

    @property
    def measured(self) -> str:
        """Label of rows measured here; empty if no codec of the registry is this system."""
        return self.label if self.label.partition(":")[0] in (*CODECS, *ALIASES) else ""

    @property
    def method(self) -> str:
        """Name without the choice of realism.

        >>> SYSTEMS[0].method, SYSTEMS[0].choice, SYSTEMS[4].method, SYSTEMS[4].choice
        ('CRDR', 'β=3.84', 'HiFiC', '')
        """
        return self.name.removesuffix(self.choice).rstrip(", ")

    @property
    def choice(self) -> str:
        """Choice of realism, as the name has it: "β=3.84", "1 step"; empty where there is none."""
        last, counted = self.name.rpartition(" ")[2], self.name.partition(", ")[2]
        return last if "=" in last else counted if counted[:1].isdigit() else ""


# Systems that are only known from publications.
PUBLISHED_ONLY = (
    System("MS-ILLM", "msillm", "#000000", "o", GENERATIVE, (("MS-ILLM", ""),)),
    System("EGIC α=1", "egic", "#117733", ">", GENERATIVE, (("EGIC", "alpha=1"),)),
    System("DC-VIC", "dc-vic", "#AA4499", "h", GENERATIVE, (("DC-VIC", "oasis"),)),
    System(
        "HiFiC without GAN", "hific-without-gan", "#4477AA", "<", "", (("HiFiC without GAN", ""),)
    ),
    System("StableCodec", "stablecodec", "#661100", "v", "", (("StableCodec", ""),)),
    System("DiffEIC", "diffeic", "#777700", "8", "", (("DiffEIC", ""),)),
    System("HM", "hm", "#332288", "d", "", (("HM", "CompressAI"),), kind="standard"),
)


def _systems() -> Iterator[System]:
    """Yield the variants that codecs of the registry declare, and the systems only published."""
    aliases = {parse_codec(text): name for name, text in ALIASES.items()}
    for name in CODECS:
        for variant in declared(name, "shown") or ("",):
            spec = CodecSpec.of(name, variant)
            facts = facts_of(spec)
            if facts.title:
                yield System(
                    facts.title, aliases.get(spec, spec.text), facts.colour, facts.marker,
                    facts.group, facts.published, facts.budget, facts.kind,
                )  # fmt: skip
    yield from PUBLISHED_ONLY


# In the order of legends: by group, those in none of the paper's figures last.
SYSTEMS = tuple(sorted(_systems(), key=lambda system: (*GROUPS, "").index(system.group)))
OWN = SYSTEMS[0].label.partition(":")[0]  # the codec of the first group, this project's method
GROUPED_SYSTEMS = tuple(system for system in SYSTEMS if system.group)
PAPER_SYSTEMS = tuple(
    system for system in GROUPED_SYSTEMS if not (system.group == OURS and system.budget)
)
PLAIN = frozenset(system.label for system in SYSTEMS if system.colour)


def trained_on(label: str) -> tuple[str, ...]:
    """Return the metric columns that a codec's training loss contains, as far as it is known.

    >>> trained_on("ours:beta=0"), trained_on("compressai:metric=ms-ssim:model=mbt2018")
    (('psnr_db', 'lpips_alex'), ('ms_ssim',))
    >>> trained_on("vtm"), trained_on("pqmim"), trained_on("pqmim:perceptual=1")
    ((), ('psnr_db',), ('psnr_db', 'lpips_alex'))
    """
    return facts_of(spec_of(label)).trained_on


def training(label: str) -> tuple[float, Training]:
    """Return the work per pixel (kMAC, 0 where unknown) and training of a codec's own networks.

    >>> training("elic")[1].steps, training("vtm")
    ('8,960', (0.0, Training(petamacs=None, optimiser='', steps='', fingerprint='')))
    """
    facts = facts_of(spec_of(label))
    return facts.kmac, facts.training


def chosen_on(label: str) -> tuple[str, str] | None:
    """Return dataset and metric by which the realism of a codec's own networks was chosen, if any.

    >>> chosen_on("ours:beta=3.84:size=micro"), chosen_on("ours:beta=3.84")
    (('Kodak', 'LPIPS (SqueezeNet)'), None)
    """
    choice = facts_of(spec_of(label)).chosen_on
    return choice and (profile(choice[0]).title, metric_named(choice[1]).label)


def kind(system: System) -> Kind:
    """Return whether a system is this project's or the user's own, a standard or a learned codec.

    >>> [kind(System("", label)) for label in ("./mine.py:Mine", "vtm", "hyperprior", "elic")]
    ['own', 'standard', 'learned', 'learned']
    """
    spec = spec_of(system.label)
    return facts_of(spec).kind if _runs_here(spec) else system.kind


def _runs_here(spec: CodecSpec) -> bool:
    """Return whether a spec is of a codec that can be measured, not of published curves alone."""
    return spec.name in CODECS or ".py:" in spec.name


def is_users(label: str) -> bool:
    """Return whether a label is of a codec, or of weights, that the user brought.

    A name of no codec is what an option `name` gave, or else, with options, a published system's.

    >>> [is_users(label) for label in ("mine.py:Mine", "ours:checkpoint=a.pth", "ours:beta=0")]
    [True, True, False]
    >>> is_users("Mine"), is_users("tcm:variant=large")
    (True, False)
    """
    spec = spec_of(label)
    if not _runs_here(spec):
        return not spec.options
    return names_code(spec) or any(key in PATHS for key, _ in spec.options)


def measured_names() -> dict[str, str]:
    """Return the names in figures of codecs that can be measured here, by label, in order."""
    return {system.measured: system.name for system in SYSTEMS if system.measured}


def with_remark(name: str, remark: str) -> str:
    """Return a name with a remark in brackets, in those that the name ends with, if any.

    >>> with_remark("HiFiC", "published"), with_remark("JPEG (Pillow)", "published")
    ('HiFiC (published)', 'JPEG (Pillow, published)')
    >>> with_remark("HiFiC", "")
    'HiFiC'
    """
    head = f"{name[:-1]}, " if name.endswith(")") else f"{name} ("
    return f"{head}{remark})" if remark else name


def marked_bundled(name: str, bundled: bool = True) -> str:
    """Return the name of a codec whose rows are bundled, beside others, with a mark.

    >>> marked_bundled("VTM 23.13"), marked_bundled("VTM 23.13", False)
    ('VTM 23.13 (bundled)', 'VTM 23.13')
    """
    return with_remark(name, "bundled" if bundled else "")


def short_names(
    labels: Sequence[str], versions: Mapping[str, str] | None = None, bundled: Collection[str] = ()
) -> dict[str, str]:
    """Return a name for figures for each label; whole labels where two would be the same.

    versions: of the codecs, by label; a program's version that begins with its title is its name.
    bundled: labels of which the names say so.

    >>> short_names(["ours:beta=0:effort=2", "jpeg:optimize=1", "./a/mine.py:Mine:level=3"])
    {'ours:beta=0:effort=2': 'CRDR β=0 (effort 2)', 'jpeg:optimize=1': 'JPEG (optimised)',
     './a/mine.py:Mine:level=3': 'Mine (level 3)'}
    >>> short_names(["vtm", "vvenc:preset=slow"], {"vtm": "VTM 23.13, 10 bit"})
    {'vtm': 'VTM 23.13', 'vvenc:preset=slow': 'VVenC slow 4:2:0'}
    """
    short = {label: _short(label, (versions or {}).get(label, "")) for label in labels}
    names = list(short.values())
    return {
        label: marked_bundled(
            name if names.count(name) == 1 else unescaped(label), label in bundled
        )
        for label, name in short.items()
    }


def family(label: str) -> str:
    """Return the codec that a label's variants share a style with.

    >>> family("hyperprior"), family("ours:beta=0")
    ('bmshj2018-hyperprior', 'ours')
    """
    spec = spec_of(label)
    return facts_of(spec).family or spec.name


def plainness(label: str) -> int:
    """Return 0 for the variant that has the family's own style, more for others."""
    spec = spec_of(label)
    further = [option for option in spec.options if option not in facts_of(spec).implied]
    return 0 if label in PLAIN else len(further)


def declared_marker(label: str) -> str:
    """Return the marker that the facts of a variant have; empty if they have none.

    >>> declared_marker("avif:speed=2"), declared_marker("./mine.py:Mine")
    ('h', '')
    """
    return facts_of(spec_of(label)).marker


def option_count(label: str) -> int:
    """Return the number of options that a label names."""
    return len(spec_of(label).options)


def spec_of(label: str) -> CodecSpec:
    """Return the codec and options of a label; a path.py:Class is one name."""
    name, *rest = split_unescaped(ALIASES.get(label, label), ":")
    if name.endswith(".py") and rest:
        name, rest = f"{name}:{rest[0]}", rest[1:]
    parts = (part.partition("=") for part in rest)
    return CodecSpec(name, tuple((key, unescaped(value)) for key, _, value in parts))


def _short(label: str, version: str) -> str:
    spec = spec_of(label)
    facts = facts_of(spec)
    title = facts.title or facts.family or spec.name.rpartition(".py:")[2]
    number = " ".join(version.split()[:2]).rstrip(",;:")
    if facts.kind == "standard" and number.startswith(f"{title} "):
        title = number
    values = [
        f"{key} {_last(spec.name, value)}"
        for key, value in spec.options
        if key not in facts.titled and (key, value) not in facts.implied
    ]
    return f"{title} ({', '.join(values)})" if values else title


def _last(codec: str, value: str) -> str:
    """Return the last part of a path; of a file that is called as the codec, that of its folder.

    >>> _last("ours", "runs/lpips/ours.safetensors"), _last("ours", "a/mine.pth")
    ('lpips', 'mine.pth')
    """
    folder, _, file = value.rstrip("/").rpartition("/")
    return folder.rpartition("/")[2] if folder and file.startswith(f"{codec}.") else file


def short_version(version: str) -> str:
    """Abbreviate a version to its first part; of a checkpoint, the digest remains.

    >>> short_version("VTM 23.13, decoded by ffmpeg 7.1"), short_version("checkpoint 91d8: 9 steps")
    ('VTM 23.13', 'checkpoint 91d8')
    """
    return version.partition(";")[0].partition(", ")[0].partition(": ")[0]


def label_of(codec: str, variant: str) -> str:
    """Return the name of a codec variant in tables and figures: its short name where it has one.

    >>> label_of("jpeg", "subsampling=444"), label_of("jpeg", "")
    ('jpeg:subsampling=444', 'jpeg')
    >>> label_of("compressai", "metric=mse:model=bmshj2018-hyperprior")
    'hyperprior'
    >>> label_of("./mine.py:Mine", ""), label_of("folder", "name=HiFiC:path=hific")
    ('mine.py:Mine', 'HiFiC')
    """
    spec = CodecSpec.of(codec, variant)
    return _short_names(codec).get(spec.text, spec.label)


def distinct_labels(variants: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the labels of codec variants; the whole spec where two would become one curve."""
    labels = {pair: label_of(*pair) for pair in variants}
    of = Counter(labels.values())
    return labels | {p: CodecSpec.of(*p).text for p, label in labels.items() if of[label] > 1}


def known_names(variants: Iterable[tuple[str, str]]) -> set[str]:
    """Return the names shown of codec variants after "Known:": their codecs and labels.

    The two are one for a Python file's codec whose label is its name without folders.

    >>> sorted(known_names([("jpeg", "optimize=1"), ("./mine.py:Mine", "")]))
    ['jpeg', 'jpeg:optimize=1', 'mine.py:Mine']
    """
    names = set()
    for codec, variant in variants:
        label = label_of(codec, variant)
        names |= {label} if codec.rpartition("/")[2] == label else {codec, label}
    return names


def find_label(asked: str, labels: Collection[str]) -> str:
    """Return the label of a label, a codec with one variant, or a spec; raise `UnknownName`.

    >>> find_label("jpeg", ["jpeg:optimize=1", "vtm"])
    'jpeg:optimize=1'
    """
    if asked in labels:
        return asked
    variants = [label for label in labels if label.partition(":")[0] == asked]
    label = variants[0] if len(variants) == 1 else parse_codec(asked).label
    if label not in labels:
        raise UnknownName("codec with results", asked, labels)
    return label


@cache
def _short_names(codec: str) -> dict[str, str]:
    """Map specs to short names, with and without the options that are the codec's defaults."""
    names = {}
    for alias in ALIASES:
        spec = parse_codec(alias)
        if spec.name == codec:
            names[spec.text] = alias
            with suppress(Unavailable):
                names[resolve(spec)[0].text] = alias
    return names
