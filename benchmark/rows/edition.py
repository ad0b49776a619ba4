"""Editions: the keys of rows, means and curves, and the codecs known to figures.

An edition is a codec variant (a spec), the build that ran, and the origin of its numbers. Facts are
looked up once; a title depends on the other editions in a figure or table. Styles, anchors and
names on the command line refer to variants of any build, so their key is the spec.

Colours are Okabe and Ito's (without yellow, invisible on white) and Tol's muted set,
distinguishable by colour-blind readers; markers repeat the distinction.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

from benchmark.datasets.dataset import profile
from benchmark.errors import Unavailable
from benchmark.facts import Facts, Group, facts_of
from benchmark.registry import ALIASES, CODECS, metric_class
from benchmark.spec import (
    NAME,
    PATHS,
    SEED,
    CodecSpec,
    parse_codec,
    read_declaration,
    refers_to_code,
    resolve,
    split_unescaped,
    unescape,
)

# Fingerprint of the program, library or weights, and revision of its adapter; for published points,
# system and variant number.
Build = tuple[str, int]
Origin = Literal["here", "bundled", "published", "file"]  # file: a user's file of points
MEASURED_ORIGINS: tuple[Origin, ...] = ("here", "bundled")
# Remarks in names of editions that were not measured here.
REMARKS: Mapping[Origin, str] = {
    "bundled": "bundled",
    "published": "published",
    "file": "from file",
}

GROUPS: tuple[Group, ...] = (  # groups of legends, from left to right
    *("This method", "Trained for realism"),
    *("Trained for distortion", "Programs"),
)
OURS, GENERATIVE, LEARNED, PROGRAMS = GROUPS
SIZE, EFFORT = "size", "effort"  # options that select a codec's network size and encoder effort


class RunFacts(NamedTuple):
    """Facts from an edition's rows: version, command, devices, caveats."""

    version: str = ""  # all versions in the rows, the latest row's first
    command: str = ""
    timed: str = ""  # what the measured seconds include
    devices: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()  # shown with the edition in tables and figures
    recorded: bool = False  # some rows are bundled
    chroma: str = ""  # "4:2:0", "4:4:4"; empty: not stated
    tuned_for: str = ""  # "PSNR", "SSIM"; empty: not stated
    run: str = ""  # run that measured the latest row


@dataclass(frozen=True, slots=True)
class Edition:
    """Codec variant that ran: spec, build and origin are its identity."""

    spec: CodecSpec
    build: Build = ("", 0)
    origin: Origin = "here"
    facts: Facts = field(default=Facts(), compare=False)
    run_facts: RunFacts = field(default=RunFacts(), compare=False)

    @classmethod
    def create(cls, spec: CodecSpec, build: Build = ("", 0), origin: Origin = "here") -> "Edition":
        """Create an edition from the facts that its codec declares."""
        return cls(spec, build, origin, facts_of(spec))

    @classmethod
    def parse_row(cls, row: Mapping[str, Any]) -> "Edition":
        """Create an edition from a row's columns for spec, build, origin and version."""
        spec = CodecSpec.parse_row(row)
        return cls(
            spec,
            (row.get("fingerprint") or "", row.get("revision") or 0),
            "bundled" if row.get("bundled") else "here",
            facts_of(spec),
            RunFacts(version=row.get("codec_version") or ""),
        )

    @property
    def measured(self) -> bool:
        """True if the numbers come from rows, measured here or bundled."""
        return self.origin in MEASURED_ORIGINS

    @property
    def bundled(self) -> bool:
        """True if all rows came with the project or in a pack."""
        return self.origin == "bundled"

    @property
    def fingerprint(self) -> str:
        """Digest of the program, library or weights."""
        return self.build[0]

    @property
    def options(self) -> dict[str, str]:
        """Options of the variant by name."""
        return dict(self.spec.options)

    @property
    def family(self) -> str:
        """Name of the codec whose style all of its variants have."""
        return self.facts.family or self.spec.name

    @property
    def is_from_user(self) -> bool:
        """True if the user provided the codec, its weights or a name for it.

        >>> texts = "./mine.py:Mine", "ours:checkpoint=a.pth", "ours:beta=0", "jpeg:name=Mine"
        >>> [Edition.create(parse_codec(text)).is_from_user for text in texts]
        [True, True, False, True]
        """
        has_name = any(key in (NAME, *PATHS) for key in self.options)
        return self.measured and (has_name or refers_to_code(self.spec))

    @property
    def further_options(self) -> int:
        """Number of options that the style does not show; 0 if the edition has its own style."""
        declared_edition = find_in_catalogue(self.spec)
        undeclared_options = [pair for pair in self.spec.options if pair not in self.facts.implied]
        return 0 if declared_edition and declared_edition.facts.colour else len(undeclared_options)

    @property
    def chosen_on(self) -> tuple[str, str] | None:
        """Dataset and metric used to choose the realism of the project's networks, if any."""
        choice = self.facts.chosen_on
        return choice and (profile(choice[0]).title, metric_class(choice[1]).label)

    @property
    def short_version(self) -> str:
        """Beginning of the version; for a checkpoint, the first digits of its fingerprint."""
        version = short_version(self.run_facts.version)
        if re.fullmatch(r"\d+ steps", version):  # length of a training, not a version
            return f"checkpoint {self.fingerprint[:8]}"
        return version

    @property
    def build_text(self) -> str:
        """Short version of the build, and whether its rows are bundled."""
        return f"{short_version(self.run_facts.version)}{', bundled' if self.bundled else ''}"

    @property
    def title(self) -> str:
        """Name in legends and tables, if it is unambiguous there; see `titles`."""
        texts = ", ".join(self._untitled_options)
        return f"{self._title_head} ({texts})" if texts else self._title_head

    @property
    def method(self) -> str:
        """Title without the choice of realism (`choice`)."""
        if not self.facts.choice:
            return self._title_head if refers_to_code(self.spec) else self.title
        name = self.facts.method or self.facts.title
        return f"{name} ({', '.join(self._untitled_options)})" if self._untitled_options else name

    @property
    def choice(self) -> str:
        """Choice of realism: "β=3.84", "1 step"; for a user's codec, its options."""
        user_options = ", ".join(self._untitled_options) if refers_to_code(self.spec) else ""
        return self.facts.choice or user_options

    @property
    def _title_head(self) -> str:
        """Title without options; a program's version if that begins with the title."""
        name = self.options.get(NAME) or self.facts.title or self.facts.family
        version = " ".join(self.run_facts.version.split()[:2]).rstrip(",;:")
        if self.facts.kind == "standard" and version.startswith(f"{self.facts.title} "):
            return version
        return name or self.spec.name.rpartition(".py:")[2]

    @property
    def _untitled_options(self) -> list[str]:
        """Options not in the title ("level 3"); if the user chose a name, only the seed."""
        if not self.measured or NAME in self.options:
            seed = self.options.get(SEED) if self.measured else None
            return [f"{SEED} {seed}"] if seed else []
        return [
            f"{key} {_short_value(self.spec.name, value)}"
            for key, value in self.spec.options
            if key not in self.facts.titled and (key, value) not in self.facts.implied
        ]


def _short_value(codec: str, value: str) -> str:
    """Return the last part of a path, or its folder's name for a file named after the codec.

    >>> _short_value("ours", "runs/lpips/ours.safetensors"), _short_value("ours", "a/mine.pth")
    ('lpips', 'mine.pth')
    """
    folder, _, file = value.rstrip("/").rpartition("/")
    return folder.rpartition("/")[2] if folder and file.startswith(f"{codec}.") else file


def short_version(version: str) -> str:
    """Return the beginning of a version; for a checkpoint, with its digest.

    >>> short_version("VTM 23.13, decoded by ffmpeg 7.1"), short_version("checkpoint 91d8: 9 steps")
    ('VTM 23.13', 'checkpoint 91d8')
    """
    return version.partition(";")[0].partition(", ")[0].partition(": ")[0]


# Names of editions in one figure, table or file


def label_of(spec: CodecSpec) -> str:
    """Return a codec variant's name in csv and JSON: its short name if it has one.

    >>> label_of(CodecSpec.parse("jpeg", "subsampling=444")), label_of(CodecSpec.parse("jpeg", ""))
    ('jpeg:subsampling=444', 'jpeg')
    >>> label_of(CodecSpec.parse("compressai", "metric=mse:model=bmshj2018-hyperprior"))
    'hyperprior'
    """
    return _short_names(spec.name).get(spec, spec.label)


def labels(specs: Iterable[CodecSpec]) -> dict[CodecSpec, str]:
    """Return each codec variant's label, or its complete spec if the label is ambiguous."""
    texts = {spec: label_of(spec) for spec in specs}
    counts = Counter(texts.values())
    return {spec: text if counts[text] == 1 else spec.text for spec, text in texts.items()}


def labels_of(editions: Iterable[Edition]) -> dict[Edition, str]:
    """Return each edition's name in csv and JSON; names of variants differ."""
    editions = [*editions]
    texts = labels(dict.fromkeys(edition.spec for edition in editions))
    return {edition: texts[edition.spec] for edition in editions}


def parse_spec(text: str) -> CodecSpec:
    """Parse a codec variant in a file, without looking it up; path.py:Class is one name."""
    name, *options = split_unescaped(ALIASES.get(text, text), ":")
    if name.endswith(".py") and options:
        name, options = f"{name}:{options[0]}", options[1:]
    pairs = (part.partition("=") for part in options)
    return CodecSpec(name, tuple((key, unescape(value)) for key, _, value in pairs))


def titles(editions: Iterable[Edition], bundled: Collection[Edition] = ()) -> dict[Edition, str]:
    """Return names in figures, marked if in `bundled`; ambiguous names are replaced by labels."""
    texts = labels_of(editions)
    names = {edition: edition.title for edition in texts}
    counts = Counter(names.values())
    return {
        edition: mark_bundled(
            name if counts[name] == 1 else unescape(texts[edition]), edition in bundled
        )
        for edition, name in names.items()
    }


def titles_of_texts(texts: Iterable[str]) -> dict[str, str]:
    """Return the titles of the codec variants that `parse_spec` parses from texts."""
    editions = {text: Edition.create(parse_spec(text)) for text in texts}
    names = titles(editions.values())
    return {text: names[edition] for text, edition in editions.items()}


def add_remark(name: str, remark: str) -> str:
    """Append a remark in brackets, or to the brackets at the end of the name.

    >>> add_remark("HiFiC", "published"), add_remark("JPEG (Pillow)", "published")
    ('HiFiC (published)', 'JPEG (Pillow, published)')
    """
    beginning = f"{name[:-1]}, " if name.endswith(")") else f"{name} ("
    return f"{beginning}{remark})" if remark else name


def mark_bundled(name: str, bundled: bool = True) -> str:
    """Mark the name of a codec as bundled."""
    return add_remark(name, "bundled" if bundled else "")


@cache
def _short_names(codec: str) -> dict[CodecSpec, str]:
    """Return short names by spec, with and without the codec's default options."""
    names = {}
    for alias in ALIASES:
        spec = parse_codec(alias)
        if spec.name == codec:
            names[spec] = alias
            with suppress(Unavailable):
                names[resolve(spec)[0].identity] = alias
    return names


# Catalogue of editions: those that registered codecs declare, and published systems


def published_system(name: str, facts: Facts) -> Edition:
    """Return the edition of a system known only from publications; `name` selects its style."""
    return Edition(CodecSpec(name, ()), origin="published", facts=facts)


PUBLISHED_ONLY = (
    published_system("msillm", Facts(
        "MS-ILLM", kind="learned", group=GENERATIVE, colour="#004D4D", marker="o",
        published=(("MS-ILLM", ""),),
    )),
    published_system("egic", Facts(
        "EGIC α=1", kind="learned", group=GENERATIVE, colour="#117733", marker=">",
        method="EGIC", choice="α=1", published=(("EGIC", "alpha=1"),),
    )),
    published_system("dc-vic", Facts(
        "DC-VIC", kind="learned", group=GENERATIVE, colour="#AA4499", marker="h",
        published=(("DC-VIC", "oasis"),),
    )),
    published_system("hific-without-gan", Facts(
        "HiFiC without GAN", kind="learned", colour="#4477AA", marker="<",
        published=(("HiFiC without GAN", ""),),
    )),
    published_system("stablecodec", Facts(
        "StableCodec", kind="learned", colour="#661100", marker="v",
        published=(("StableCodec", ""),),
    )),
    published_system("diffeic", Facts(
        "DiffEIC", kind="learned", colour="#777700", marker="8", published=(("DiffEIC", ""),),
    )),
    published_system("hm", Facts(
        "HM", kind="standard", colour="#332288", marker="d", published=(("HM", "CompressAI"),),
    )),
)  # fmt: skip


def _declared_editions() -> Iterator[Edition]:
    aliases = {parse_codec(text) for text in ALIASES.values()}
    for name in CODECS:
        for variant in read_declaration(name, "shown") or ("",):
            spec = CodecSpec.parse(name, variant)
            facts = facts_of(spec)
            if spec in aliases:
                with suppress(Unavailable):
                    spec = resolve(spec)[0].identity  # as in rows: without default options
            if facts.title:
                yield Edition(spec, origin="published", facts=facts)


# Editions in the order of legends: by group, then those without a group
CATALOGUE = tuple(
    sorted(
        (*_declared_editions(), *PUBLISHED_ONLY),
        key=lambda edition: (*GROUPS, "").index(edition.facts.group),
    )
)
PROJECT_CODEC = CATALOGUE[0].spec.name  # the codec of the first group, this project's method
GROUPED = tuple(edition for edition in CATALOGUE if edition.facts.group)
PAPER_EDITIONS = tuple(
    edition for edition in GROUPED if not (edition.facts.group == OURS and edition.facts.budget)
)
_EDITIONS_BY_LABEL = {label_of(edition.spec): edition for edition in CATALOGUE}


def find_in_catalogue(spec: CodecSpec) -> Edition | None:
    """Return a variant's edition in the catalogue, if any."""
    return _EDITIONS_BY_LABEL.get(label_of(spec))


def measured_titles() -> dict[str, str]:
    """Return the titles of codecs that can be measured here, by label, in the catalogue's order."""
    measurable_editions = (edition for edition in CATALOGUE if edition not in PUBLISHED_ONLY)
    return {label_of(edition.spec): edition.facts.title for edition in measurable_editions}
