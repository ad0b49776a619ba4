"""Options shared by several verbs, and checks of their values."""

from pathlib import Path
from typing import Annotated

from benchmark import option
from benchmark.errors import UsageError
from benchmark.option import COMPARED, EXPORTED, ORIGIN, TARGET, opt
from benchmark.spec import split_codecs

FIGURES_FILE = Path("figures.toml")  # read by every figure unless another file is given


def stored_folder(path: Path) -> Path:
    """Refuse a missing folder of results, except for the default folder."""
    if path != Path("results") and not path.is_dir():
        raise UsageError(f"{path} has no results: measure some with `bench run`")
    return path


def target_folder(path: Path | None) -> Path | None:
    """Refuse an output folder that is a file, or is below a file."""
    parents = (path, *path.parents) if path else ()
    existing = next((parent for parent in parents if parent.exists()), None)
    if existing is not None and not existing.is_dir():
        subject = "it" if existing == path else existing
        raise UsageError(f"{path} cannot be written: {subject} is a file, not a folder")
    return path


def target_file(path: Path | None) -> Path | None:
    """Refuse an output file that is a folder, or is below a file."""
    if path is not None and path.is_dir():
        raise UsageError(f"{path} cannot be written: it is a folder, not a file")
    target_folder(path.parent if path else None)
    return path


def refuse_several(flag: str, text: str) -> None:
    """Raise `UsageError` for several names in an option that takes one."""
    if len(names := split_codecs(text)) > 1:
        raise UsageError(
            f"{flag} takes one name, not the {len(names)} in {text}: run the command for each"
        )


REFUSALS = {"stored": stored_folder, "folder": target_folder, "file": target_file}


_CODECS = "Comma-separated codecs with results, or 'all'."
_CHECKPOINT = (
    "Checkpoint of our codec; default: ours.safetensors in the weights folder, or the bundled one."
)
_TABLE = "Also print the means of every setting; --no-table: omit even the ranking."
_VERBOSE = "Print all lines about missing results, with reasons."

StoredDatasets = Annotated[str, option.DATASETS]
StoredCodecs = Annotated[str, opt(COMPARED, _CODECS)]
Anchor = Annotated[str, option.ANCHOR]
ComparedMetrics = Annotated[str, option.METRICS]
ExportedCodecs = Annotated[str, opt(EXPORTED, _CODECS)]
Results = Annotated[Path, option.RESULTS]
ResultsTarget = Annotated[Path, option.RESULTS._replace(panel=TARGET, path_check="folder")]
Checkpoint = Annotated[str, opt(ORIGIN, _CHECKPOINT)]
AllowFew = Annotated[bool, option.ALLOW_FEW]
CsvFile = Annotated[
    Path | None, opt(TARGET, "Also write the table to this csv file.", "--csv", path_check="file")
]
Table = Annotated[bool | None, opt(TARGET, _TABLE, "--table/--no-table")]
Verbose = Annotated[bool, opt(TARGET, _VERBOSE, "--verbose", "-v")]
AsJson = Annotated[bool, opt(TARGET, "Print only JSON.", "--json")]
