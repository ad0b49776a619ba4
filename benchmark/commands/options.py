"""Options that several verbs share, names that a shell completes, values refused at once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark import registry
from benchmark.codec_spec import split_unescaped
from benchmark.errors import UsageError
from benchmark.option import (
    ALL_ROWS,
    ALLOW_FEW,
    COMPARED,
    EXPORTED,
    MANNER,
    ORIGIN,
    TARGET,
    VERIFIED_ONLY,
)
from benchmark.system.weights import NETWORKS


def complete_codecs(incomplete: str) -> list[str]:
    """Return the codecs that the last name of a comma-separated list may become.

    >>> complete_codecs("webp,jpegx")
    ['webp,jpegxl']
    """
    return _last_of_list(incomplete, [*registry.CODECS, *registry.ALIASES])


def complete_metrics(incomplete: str) -> list[str]:
    """Return the metrics that the last name of a comma-separated list may become."""
    return _last_of_list(incomplete, [*registry.METRICS, *registry.DISTRIBUTION_METRICS])


def complete_dataset(incomplete: str) -> list[str]:
    """Return the datasets whose names begin so; a folder is completed by the shell."""
    return [name for name in registry.DATASETS if name.startswith(incomplete)]


def complete_stored(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the datasets with results whose names begin so, and `all`."""
    results = Path(ctx.params.get("results") or "results")
    names = sorted(path.parent.name for path in results.glob("*/per_image"))
    return [name for name in ("all", *names) if name.startswith(incomplete)]


def complete_fetchable(incomplete: str) -> list[str]:
    """Return the datasets and weights whose names begin so.

    >>> complete_fetchable("al"), complete_fetchable("ms")
    (['alexnet'], ['msillm'])
    """
    names = [*registry.DATASETS, *NETWORKS, *registry.FETCHABLE, *registry.ALIASES]
    return [name for name in names if name.startswith(incomplete)]


def _last_of_list(incomplete: str, names: list[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


def stored_folder(path: Path) -> Path:
    """Refuse a folder of results that is not there; the default one may be measured later."""
    if path != Path("results") and not path.is_dir():
        raise UsageError(f"{path} holds no results: measure something with `bench run` first")
    return path


def target_folder(path: Path | None) -> Path | None:
    """Refuse, before anything is computed, a folder to write to that is a file, or below one."""
    there = (
        next((parent for parent in (path, *path.parents) if parent.exists()), None)
        if path
        else None
    )
    if there is not None and not there.is_dir():
        what = "it" if there == path else there
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
    if len(names := split_unescaped(text, ",")) > 1:
        raise UsageError(
            f"{flag} {text} names {len(names)}, and takes one: repeat the command for each"
        )


COMPLETIONS: Mapping[str, Callable[..., list[str]]] = {
    "codecs": complete_codecs,
    "dataset": complete_dataset,
    "metrics": complete_metrics,
    "stored": complete_stored,
    "fetchable": complete_fetchable,
}
REFUSALS = {"stored": stored_folder, "folder": target_folder, "file": target_file}


def opt(
    panel: str,
    help: str,  # noqa: A002
    *flags: str,
    completes: str = "",
    refuses: str = "",
    **more: Any,
) -> Any:
    """Return typer's option of a panel, with a completion and a check by their names."""
    return typer.Option(
        *flags,
        help=help,
        rich_help_panel=panel,
        autocompletion=COMPLETIONS.get(completes),
        callback=REFUSALS.get(refuses),
        **more,
    )


def _codec(metavar: str, help: str) -> Any:  # noqa: A002
    return typer.Argument(metavar=metavar, help=help, autocompletion=complete_codecs)


Codec = Annotated[str, _codec("CODEC", "The codec in question, by name or label.")]
Against = Annotated[str, _codec("AGAINST", "The codec that it is compared with.")]
_METRICS = "Comma-separated metrics, each a name or path.py:Class, or 'all'."
_KEPT = "Comma-separated codecs to keep, or 'all' that have results."
_HAS_RESULTS = "A dataset that has results."

StoredDataset = Annotated[str, opt(COMPARED, _HAS_RESULTS, completes="stored")]
StoredDatasets = Annotated[
    str, opt(COMPARED, "A dataset that has results, or 'all' of them.", completes="stored")
]
StoredCodecs = Annotated[str, opt(COMPARED, _KEPT, completes="codecs")]
ComparedMetrics = Annotated[str, opt(COMPARED, _METRICS, completes="metrics")]
VerifiedOnly = Annotated[bool, opt(COMPARED, VERIFIED_ONLY)]
AllRows = Annotated[bool, opt(COMPARED, ALL_ROWS)]
ExportedCodecs = Annotated[str, opt(EXPORTED, _KEPT, completes="codecs")]
ExportedDataset = Annotated[str, opt(EXPORTED, _HAS_RESULTS, completes="stored")]
Results = Annotated[Path, opt(ORIGIN, "Folder of results.", refuses="stored")]
ResultsTarget = Annotated[Path, opt(TARGET, "Folder of results.", refuses="folder")]
Checkpoint = Annotated[
    str,
    opt(
        ORIGIN,
        "A checkpoint of our codec; default: ours.safetensors in the weights folder, else the "
        "bundled one.",
    ),
]
AllowFew = Annotated[bool, opt(MANNER, ALLOW_FEW)]
CsvFile = Annotated[
    Path | None, opt(TARGET, "Also write the table to this csv file.", "--csv", refuses="file")
]
Table = Annotated[
    bool | None,
    opt(
        TARGET,
        "Also print the means of every setting; or not even the ranking.",
        "--table/--no-table",
        show_default=False,
    ),
]
Verbose = Annotated[
    bool,
    opt(TARGET, "Print every line on what is absent, with its reason.", *("--verbose", "-v")),
]
AsJson = Annotated[bool, opt(TARGET, "Print the summary as JSON and nothing else.", "--json")]
