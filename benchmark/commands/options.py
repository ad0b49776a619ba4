"""Options that several verbs share, and values that are refused at once."""

from pathlib import Path
from typing import Annotated

from benchmark import option
from benchmark.errors import UsageError
from benchmark.option import COMPARED, EXPORTED, ORIGIN, TARGET, opt
from benchmark.spec import split_codecs

FIGURES_FILE = Path("figures.toml")  # read by every figure where no other file is named


def stored_folder(path: Path) -> Path:
    """Refuse a folder of results that is not there; the default one may be measured later."""
    if path != Path("results") and not path.is_dir():
        raise UsageError(f"{path} holds no results: measure something with `bench run` first")
    return path


def target_folder(path: Path | None) -> Path | None:
    """Refuse, before anything is computed, a folder to write to that is a file, or below one."""
    parents = (path, *path.parents) if path else ()
    existing = next((parent for parent in parents if parent.exists()), None)
    if existing is not None and not existing.is_dir():
        what = "it" if existing == path else existing
        raise UsageError(f"{path} cannot be written: {what} is a file, and has to be a folder")
    return path


def target_file(path: Path | None) -> Path | None:
    """Refuse, before anything is computed, a file to write that is a folder, or is below a file."""
    if path is not None and path.is_dir():
        raise UsageError(f"{path} cannot be written: it is a folder, and has to be a file")
    target_folder(path.parent if path else None)
    return path


def refuse_several(flag: str, text: str) -> None:
    """Raise `UsageError` where an option of one name was given a list of names."""
    if len(names := split_codecs(text)) > 1:
        raise UsageError(
            f"{flag} {text} names {len(names)}, and takes one: repeat the command for each"
        )


REFUSALS = {"stored": stored_folder, "folder": target_folder, "file": target_file}


_KEPT = "Comma-separated codecs to keep, or 'all' that have results."
_CHECKPOINT = (
    "A checkpoint of our codec; default: ours.safetensors in the weights folder, else the "
    "bundled one."
)
_TABLE = "Also print the means of every setting, or not even the ranking."
_VERBOSE = "Print every line on what is absent, with its reason."

StoredDatasets = Annotated[str, option.DATASETS]
StoredCodecs = Annotated[str, opt(COMPARED, _KEPT)]
Anchor = Annotated[str, option.ANCHOR]
ComparedMetrics = Annotated[str, option.METRICS]
ExportedCodecs = Annotated[str, opt(EXPORTED, _KEPT)]
Results = Annotated[Path, option.RESULTS]
ResultsTarget = Annotated[Path, option.RESULTS._replace(panel=TARGET, refuses="folder")]
Checkpoint = Annotated[str, opt(ORIGIN, _CHECKPOINT)]
AllowFew = Annotated[bool, option.ALLOW_FEW]
CsvFile = Annotated[
    Path | None, opt(TARGET, "Also write the table to this csv file.", "--csv", refuses="file")
]
Table = Annotated[bool | None, opt(TARGET, _TABLE, "--table/--no-table")]
Verbose = Annotated[bool, opt(TARGET, _VERBOSE, "--verbose", "-v")]
AsJson = Annotated[bool, opt(TARGET, "Print the summary as JSON and nothing else.", "--json")]
