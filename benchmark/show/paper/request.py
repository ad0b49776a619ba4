"""Requests for figures of one's own: options, and the file `figures.toml` that they override."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmark import option as choices
from benchmark.errors import UsageError
from benchmark.option import COMPARED, DRAWING, MANNER, ORIGIN, TARGET, declared, option
from benchmark.show.figures.style import Look
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

FILE = Path("figures.toml")
VERBS = ("rd", "bd", "crops", "complexity", "realism", "generations")
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
        choices.EXPERIMENT,
        completes="codecs",
        many="listed",
    )
    bundled: str = option("", COMPARED, choices.BUNDLED, completes="codecs")
    published: tuple[str, ...] = option(
        (),
        COMPARED,
        "Published systems to draw beside them: hific,multi-realism:beta=2.56; or mine.csv.",
        many="listed",
    )
    metrics: tuple[str, ...] = option(
        (),
        COMPARED,
        "Comma-separated metrics; of crops, the one under each; of realism, distortion and it.",
        completes="metrics",
        many="listed",
    )
    anchor: str = option("", COMPARED, choices.ANCHOR, completes="codecs")
    cost: tuple[str, ...] = option(
        (), COMPARED, "Costs to draw: seconds, kmac; default: both.", many="listed"
    )
    bpp: tuple[str, ...] = option((), COMPARED, "Rates to compare at, in bpp.", many="listed")
    box: str = option("", COMPARED, "Part of a photograph: LEFT,TOP,WIDTH,HEIGHT in pixels.")
    up_to_bpp: float | None = option(None, MANNER, "Cut curves at this rate first.", least=0.001)
    mix_protocols: bool = option(
        False, DRAWING, "Also draw published points of other protocols; the details name them."
    )
    allow_few: bool = option(False, MANNER, choices.ALLOW_FEW)
    verified_only: bool = option(False, COMPARED, choices.VERIFIED_ONLY)
    all_rows: bool = option(False, COMPARED, choices.ALL_ROWS)
    data_dir: Path | None = option(None, ORIGIN, "Folder that datasets are in.", refuses="folder")
    out: Path | None = option(
        None, TARGET, "Folder to write to; default: RESULTS/figures.", refuses="folder"
    )
    crops: tuple[Crop, ...] = ()

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates to compare at; raises `UsageError` for what is none."""
        try:
            result = tuple(map(float, self.bpp))
        except ValueError:
            result = (0.0,)
        if any(not 0 < rate < 100 for rate in result):
            raise UsageError(f"--bpp {','.join(self.bpp)} is no list of rates above 0")
        return result

    @property
    def boxes(self) -> tuple[Crop, ...]:
        """The crops of the file, or that of the options."""
        if not self.box:
            return self.crops
        try:
            left, top, width, height = map(int, self.box.split(","))
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

        file: None for `figures.toml` here, if there is one. A table named as the verb comes before
        the file's own keys. Raises `UsageError` for a file that cannot be read.
        """
        defaults, of_file = FigureRequest(), read_file(file, verb)
        tables: dict[str, Any] = {  # an option changes its own curve alone
            name: (*of_file.pop(name, ()), *getattr(self, name)) for name in TABLES.values()
        }
        chosen = {
            name: value
            for name, value in of_file.items()
            if getattr(self, name) == getattr(defaults, name)
        }
        return replace(self, **chosen, **tables)


def read_file(path: Path | None, verb: str) -> dict[str, Any]:
    """Return the fields of a request that a file has for a verb.

    Raises `UsageError` for a file that cannot be read.
    """
    place = path or FILE
    if path is None and not FILE.is_file():
        return {}
    try:
        whole = tomllib.loads(read_regular(place, LARGEST_FILE_BYTES).decode())
        msgspec.convert(whole, _file_type())
    except (OSError, ValueError) as error:  # of TOML and of msgspec, too
        raise UsageError(f"{place} cannot be read: {error}") from error
    result = {
        key: value for key, value in whole.items() if key not in VERBS or isinstance(value, list)
    }
    if isinstance(of_verb := whole.get(verb), dict):
        result |= of_verb
    for table, name in TABLES.items():
        result[name] = [f"{key}={value}" for key, value in result.pop(table, {}).items()]
    for name, value in result.items():
        if name == "crops":
            result[name] = tuple(msgspec.convert(value, list[Crop]))
        elif isinstance(value, list):
            result[name] = tuple(map(str, value))
        elif FigureRequest.__dataclass_fields__[name].type in (Path, Path | None):
            result[name] = Path(value)
    return result


def _file_type() -> Any:
    """Return the type of the file: the options' names, tables of texts, and a table for a verb."""
    kinds: dict[str, Any] = dict.fromkeys(TABLES, dict[str, str]) | {"crops": list[Crop]}
    types: dict[Any, Any] = {bool: bool, float | None: float, tuple[str, ...]: list[str]}
    for name, (of, _) in declared(FigureRequest).items():
        if name not in TABLES.values():
            kinds[name] = list[float] if name == "bpp" else types.get(of.type, str)
    named = [(name, kind | None, None) for name, kind in kinds.items()]
    of_verb: Any = msgspec.defstruct("Figure", named, forbid_unknown_fields=True)
    verbs = [(verb, of_verb | None, None) for verb in VERBS if verb not in kinds]
    return msgspec.defstruct("Figures", [*named, *verbs], forbid_unknown_fields=True)


def example(codecs: Mapping[str, str], dataset: str) -> str:
    """Return a file to begin with. codecs: names in figures, by label."""
    listed = ", ".join(f'"{label}"' for label in codecs)
    labels = "\n".join(f'"{label}" = "{name}"' for label, name in codecs.items())
    return EXAMPLE.format(dataset=dataset, codecs=listed, labels=labels)


EXAMPLE = """\
# Figures of an experiment: `bench figures rd|bd|crops|complexity|realism|generations` draws them.
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
