"""Requests for figures of one's own: options, and the file `figures.toml` that they override."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from benchmark.codec_spec import split_unescaped
from benchmark.errors import UsageError
from benchmark.figures.look import Look
from benchmark.option import (
    ALL_ROWS,
    ALLOW_FEW,
    ANCHOR,
    COMPARED,
    DRAWING,
    MANNER,
    ORIGIN,
    TARGET,
    VERIFIED_ONLY,
    declared,
    option,
)

FILE = Path("figures.toml")
VERBS = ("rd", "bd", "crops", "complexity", "realism")
TABLES = {"labels": "label", "colours": "colour"}  # of the file, and the options that they are


class Crop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a photograph to show, as a table of the file has it."""

    image: str
    box: tuple[int, int, int, int] | None = None  # left, top, width, height in pixels
    bpp: float | None = None


@dataclass(frozen=True, slots=True)
class FigureRequest(Look):
    """Choices of a figure; what is empty is taken from the file, or is the default."""

    results: Path = option(Path("results"), ORIGIN, "Folder of results.", refuses="stored")
    dataset: str = option("kodak", COMPARED, "A dataset that has results.", completes="stored")
    codecs: tuple[str, ...] = option(
        (),
        COMPARED,
        "Comma-separated codecs to draw; default: ours, the anchor and the best of each family.",
        completes="codecs",
        many="listed",
    )
    published: tuple[str, ...] = option(
        (),
        COMPARED,
        "Published systems to draw beside them: hific,multi-realism:beta=2.56.",
        many="listed",
    )
    metrics: tuple[str, ...] = option(
        (),
        COMPARED,
        "Comma-separated metrics; of crops, the one under each; of realism, distortion and it.",
        completes="metrics",
        many="listed",
    )
    anchor: str = option("", COMPARED, ANCHOR, completes="codecs")
    cost: tuple[str, ...] = option(
        (), COMPARED, "Costs to draw: seconds, kmac; default: both.", many="listed"
    )
    bpp: tuple[str, ...] = option((), COMPARED, "Rates to compare at, in bpp.", many="listed")
    box: str = option("", COMPARED, "Part of a photograph: LEFT,TOP,WIDTH,HEIGHT in pixels.")
    up_to_bpp: float | None = option(None, MANNER, "Cut curves at this rate first.", least=0.001)
    mix_protocols: bool = option(
        False, DRAWING, "Also draw published points of other protocols; the details name them."
    )
    allow_few: bool = option(False, MANNER, ALLOW_FEW)
    verified_only: bool = option(False, COMPARED, VERIFIED_ONLY)
    all_rows: bool = option(False, COMPARED, ALL_ROWS)
    data_dir: Path | None = option(None, ORIGIN, "Folder that datasets are in.", refuses="folder")
    out: Path | None = option(
        None, TARGET, "Folder to write to; default: RESULTS/figures.", refuses="folder"
    )
    crops: tuple[Crop, ...] = field(default=())

    @classmethod
    def of(cls, **given: Any) -> "FigureRequest":
        """Return the request of options as a command line has them."""
        for name, (one, told) in declared(cls).items():
            if told.many == "listed" and isinstance(given.get(name), str):
                given[name] = tuple(split_unescaped(given[name], ",")) if given[name] else ()
            elif told.many == "repeated":
                given[name] = tuple(given.get(name) or ())
            elif name in given and given[name] is None:
                given[name] = one.default
        return cls(**given)

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates to compare at; raises `UsageError` for what is none."""
        try:
            result = tuple(float(one) for one in self.bpp)
        except ValueError:
            result = (0.0,)
        if any(not 0 < one < 100 for one in result):
            raise UsageError(f"--bpp {','.join(self.bpp)} is no list of rates above 0")
        return result

    @property
    def boxes(self) -> tuple[Crop, ...]:
        """The crops of the file, or the one of the options."""
        if not self.box:
            return self.crops
        try:
            left, top, width, height = (int(part) for part in self.box.split(","))
        except ValueError:
            left, top, width, height = 0, 0, 0, 0
        if min(left, top) < 0 or min(width, height) < 1:
            raise UsageError(f"--box {self.box!r} is not of the form LEFT,TOP,WIDTH,HEIGHT")
        image = self.images[0] if self.images else self.crops[0].image if self.crops else ""
        return (Crop(image, (left, top, width, height)),)

    def look(self) -> Look:
        """Return the choices of looks alone."""
        return Look(**{name: getattr(self, name) for name in declared(Look)})

    def over(self, file: Path | None, verb: str) -> "FigureRequest":
        """Return the request with what the file says where an option was not given.

        file: None for `figures.toml` here, if there is one. A table named as the verb stands over
        the file's own keys. Raises `UsageError` for a file that cannot be read.
        """
        told = read_file(file, verb)
        defaults = {one.name: () if one.default is MISSING else one.default for one in fields(self)}
        given = {name: getattr(self, name) for name in defaults}
        chosen = {
            name: told[name] if name in told and value == defaults[name] else value
            for name, value in given.items()
        }
        for name in TABLES.values():  # an option changes its own curve alone
            chosen[name] = (*told.get(name, ()), *given[name])
        return type(self)(**chosen)


def read_file(path: Path | None, verb: str) -> dict[str, Any]:
    """Return the fields of a request that a file has for a verb."""
    place = path or FILE
    if path is None and not FILE.is_file():
        return {}
    try:
        whole = tomllib.loads(place.read_text(encoding="utf-8"))
        result = msgspec.convert(whole, _file_type())
    except (OSError, ValueError) as error:  # of TOML and of msgspec, too
        raise UsageError(f"{place} cannot be read: {_why(error)}") from error
    told = {**_said(result), **_said(getattr(result, verb))}
    for table, name in TABLES.items():
        told[name] = tuple(f"{key}={value}" for key, value in told.pop(table, {}).items())
    for name, value in told.items():
        kind = FigureRequest.__dataclass_fields__[name].type
        if isinstance(value, list):
            told[name] = tuple(one if isinstance(one, Crop) else str(one) for one in value)
        elif kind in (Path, Path | None):
            told[name] = Path(value)
    return told


def _said(table: Any) -> dict[str, Any]:
    if not isinstance(table, msgspec.Struct):
        return {}
    known = {name: getattr(table, name) for name in table.__struct_fields__}
    return {
        name: value
        for name, value in known.items()
        if value is not None and not isinstance(value, msgspec.Struct)
    }


def _file_type() -> Any:
    """Return the type of the file: the options' names, tables of texts, and a table for a verb."""
    kinds: dict[str, Any] = {}
    for name, (one, _) in declared(FigureRequest).items():
        of: Any = str
        if one.type == tuple[str, ...]:
            of = list[float] if name == "bpp" else list[str]
        elif one.type in (bool, float | None):
            of = one.type
        kinds[name] = of
    for table, name in TABLES.items():
        del kinds[name]
        kinds[table] = dict[str, str]
    kinds["crops"] = list[Crop]
    named = [(name, kind | None, None) for name, kind in kinds.items()]
    of_verb: Any = msgspec.defstruct("Figure", named, forbid_unknown_fields=True)
    verbs = [(verb, of_verb | None, None) for verb in VERBS if verb not in kinds]
    return msgspec.defstruct("Figures", [*named, *verbs], forbid_unknown_fields=True)


def _why(error: Exception) -> str:
    """Return what is wrong, with its key first."""
    text, _, place = str(error).partition(" - at `$")
    if "unknown field" in text:
        name = text.split("`")[1]
        known = [*declared(FigureRequest), *TABLES, "crops", *VERBS]
        near = get_close_matches(name, known, n=1)
        text = "there is no such key" + f", did you mean {near[0]}?" * bool(near)
        place = f"{place.rstrip('`')}.{name}"
    key = place.rstrip("`").lstrip(".")
    return f"{key}: {text}" if key else getattr(error, "strerror", None) or text


def example(codecs: Mapping[str, str], dataset: str) -> str:
    """Return a file to begin with. codecs: names in figures, by label."""
    listed = ", ".join(f'"{label}"' for label in codecs)
    labels = "\n".join(f'"{label}" = "{name}"' for label, name in codecs.items())
    return EXAMPLE.format(dataset=dataset, codecs=listed, labels=labels)


EXAMPLE = """\
# Figures of an experiment: `bench figures rd|bd|crops|complexity|realism` draws them.
# Keys are the options of these commands; an option on the command line comes before its key.
dataset = "{dataset}"
codecs = [{codecs}]
published = []            # of papers: `bench list --published`
metrics = ["psnr", "lpips_squeeze"]
width = "page"            # or "column"
crops = []                # {{ image = "kodim15.png", box = [120, 80, 192, 128], bpp = 0.15 }}, ...

[labels]
{labels}

[colours]                 # "ours:beta=3.84" = "#D55E00"

[realism]                 # keys of one figure
metrics = ["psnr", "lpips_squeeze"]
bpp = [0.1, 0.2, 0.45]
"""
