"""Names that a shell completes after an option, from tables of text and the results folder."""

from pathlib import Path

import typer

from benchmark import registry
from benchmark.system.weights import NETWORKS


def complete_codecs(incomplete: str) -> list[str]:
    """Return the codecs that the last name of a comma-separated list may become.

    >>> complete_codecs("webp,jpegx")
    ['webp,jpegxl']
    """
    return _last_of_list(incomplete, [*registry.CODECS, *registry.ALIASES])


def complete_metrics(incomplete: str) -> list[str]:
    """Return the metrics that the last name of a comma-separated list may become.

    >>> complete_metrics("psnr,fid256_t")
    ['psnr,fid256_tf']
    """
    return _last_of_list(incomplete, [*registry.METRICS, *registry.DISTRIBUTION_METRICS])


def complete_dataset(incomplete: str) -> list[str]:
    """Return the datasets whose names begin so; a folder is completed by the shell.

    >>> complete_dataset("ko")
    ['kodak']
    """
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
