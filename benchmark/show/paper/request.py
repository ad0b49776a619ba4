"""Requests for figures of one's own: options, and the file `figures.toml` that they override."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmark import option as choices
from benchmark.errors import UnknownName, UsageError
from benchmark.measure.request import Request
from benchmark.option import (
    COMPARED,
    DRAWING,
    ORIGIN,
    SPELLINGS,
    TARGET,
    declared,
    kind_of,
    option,
    shared,
)
from benchmark.show.figures.style import Look
from benchmark.spec import text_of_list
from benchmark.system.text import number_in, read_toml

FILE = Path("figures.toml")
VERBS = ("rd", "bd", "crops", "complexity", "realism", "generations")
TABLES = {"labels": "label", "colours": "colour"}  # of the file, and the options that they are
# Types of keys by those of options, and of keys that have other forms in a file.
TYPES: dict[Any, Any] = {
    bool: bool, int | None: int, float: float, float | None: float,
    tuple[str, ...]: list[str] | str, tuple[Path, ...]: list[str],
}  # fmt: skip
KINDS: dict[str, Any] = {
    "bpp": list[float], "dataset": str | list[str], "figures": list[str] | str,
    "points": list[str] | dict[str, list[float]],
}  # fmt: skip


class Crop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a photograph to show, as a table of the file has it."""

    image: str
    box: tuple[int, int, int, int] | None = None  # left, top, width, height in pixels
    bpp: float | None = None


@dataclass(frozen=True, slots=True)
class FigureRequest(Look):
    """Choices of a figure; what is empty is taken from the file, or is the default."""

    results: Path = shared(Path("results"), choices.RESULTS)
    dataset: str = option(
        "",
        COMPARED,
        "Comma-separated datasets that have results; default: kodak, else the only one.",
        completes="stored",
    )
    codecs: tuple[str, ...] = shared((), choices.EXPERIMENT._replace(many="listed"))
    bundled: str = shared("", choices.BUNDLED)
    published: tuple[str, ...] = option(
        (),
        COMPARED,
        "Published systems to draw beside them: hific,multi-realism:beta=2.56; or mine.csv.",
        many="listed",
    )
    metrics: tuple[str, ...] = option(
        (),
        COMPARED,
        "Comma-separated metrics; of crops, the one under each; of realism, distortion first.",
        completes="metrics",
        many="listed",
    )
    anchor: str = shared("", choices.ANCHOR)
    cost: tuple[str, ...] = option(
        (), COMPARED, "Costs to draw: seconds, kmac; default: both.", many="listed"
    )
    bpp: tuple[str, ...] = option((), COMPARED, "Rates to compare at, in bpp.", many="listed")
    box: str = option("", COMPARED, "Part of a photograph: LEFT,TOP,WIDTH,HEIGHT in pixels.")
    up_to_bpp: float | None = shared(None, choices.UP_TO_BPP)
    mix_protocols: bool = option(
        False, DRAWING, "Also draw published points of other protocols; the details name them."
    )
    allow_few: bool = shared(False, choices.ALLOW_FEW)
    verified_only: bool = shared(False, choices.VERIFIED_ONLY)
    data_dir: Path | None = option(None, ORIGIN, "Folder that datasets are in.", refuses="folder")
    out: Path | None = option(
        None,
        TARGET,
        "Folder to write to; default: RESULTS/figures, of a table RESULTS/tables.",
        refuses="folder",
    )
    crops: tuple[Crop, ...] = ()

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates to compare at; raises `UsageError` for what is none."""
        result = tuple(map(number_in, self.bpp))
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


FIELDS = FigureRequest.__dataclass_fields__


def read_file(path: Path | None, verb: str) -> dict[str, Any]:
    """Return the fields of a request that a file has for a verb.

    Raises `UsageError` for a file that cannot be read.
    """
    if path is None and not FILE.is_file():
        return {}
    whole = whole_file(path or FILE)
    result = {
        key: value for key, value in whole.items() if key not in VERBS or isinstance(value, list)
    }
    of_verb = whole.get(verb)
    metrics = result.get("metrics", ())
    if verb == "realism" and len(metrics.split(",") if isinstance(metrics, str) else metrics) != 2:
        result.pop("metrics", None)  # they are for other figures
    if isinstance(of_verb, dict):
        result |= of_verb
    for table, name in TABLES.items():
        result[name] = [f"{key}={value}" for key, value in result.pop(table, {}).items()]
    result = {key: value for key, value in result.items() if key in FIELDS}
    for name, value in result.items():
        if name == "crops":
            result[name] = tuple(msgspec.convert(value, list[Crop]))
        elif isinstance(value, list):
            result[name] = text_of_list(value) if name == "dataset" else tuple(map(str, value))
        elif FIELDS[name].type in (Path, Path | None):
            result[name] = Path(value)
    made = FigureRequest.of(**result)
    return {name: getattr(made, name) for name in result}


def whole_file(path: Path) -> dict[str, Any]:
    """Return what the file of an experiment has, the options of a run and of its figures.

    Raises `UsageError` for a file that cannot be read, `UnknownName` for a key that is no option.
    """
    try:
        whole = _spelt(path, read_toml(path, dict[str, Any]))
        of_figure, of_file = _kinds()
        tables = {f", {verb}": (whole.get(verb), of_figure) for verb in VERBS}
        for place, (table, kinds) in {"": (whole, of_file), **tables}.items():
            for key in table if isinstance(table, dict) else ():
                if key not in kinds:
                    raise UsageError(f"{path}{place}: {UnknownName('option', key, kinds)}")
        msgspec.convert(whole, _struct("Experiment", of_file))
    except UsageError:
        raise
    except (OSError, ValueError) as error:  # of TOML and of msgspec, too
        raise UsageError(f"{path} cannot be read: {error}") from error
    return whole


def _spelt(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Return a table with its keys as options have them; `UsageError` for one option twice."""
    result = {SPELLINGS.get(key, key): value for key, value in table.items()}
    for key in table.keys() - result.keys():
        if SPELLINGS[key] in table:
            raise UsageError(f"{path}: {key} and {SPELLINGS[key]} are one option: leave one")
    return result


def _kinds() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the types of the keys by name, in the table of a figure and in the whole file.

    A key is an option of `bench figures` or `bench run`, a table of texts, or a figure's table.
    """
    of_figure: dict[str, Any] = dict.fromkeys(TABLES, dict[str, str]) | {"crops": list[Crop]}
    for name, (of, _) in declared(FigureRequest).items():
        if name not in TABLES.values():
            of_figure[name] = KINDS.get(name, TYPES.get(kind_of(of), str))
    of_run = {
        name: TYPES.get(kind_of(of), str) for name, (of, _) in declared(Request).items()
    } | KINDS
    verbs = {verb: _struct("Figure", of_figure) for verb in VERBS if verb not in of_figure}
    return of_figure, {**of_run, **of_figure, **verbs}


def _struct(name: str, kinds: Mapping[str, Any]) -> Any:
    return msgspec.defstruct(name, [(key, kind | None, None) for key, kind in kinds.items()])


def example(codecs: Mapping[str, str], dataset: str) -> str:
    """Return a file to begin with. codecs: names in figures, by label."""
    listed = ", ".join(f'"{label}"' for label in codecs)
    labels = "\n".join(f'"{label}" = "{name}"' for label, name in codecs.items())
    template = Path(__file__).with_name("figures.toml.in").read_text(encoding="utf-8")
    return template.format(dataset=dataset, codecs=listed, labels=labels)
