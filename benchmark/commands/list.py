"""`bench list`: names of codecs, datasets and metrics, from the tables alone."""

from typing import Annotated

import typer

from benchmark.commands.published import list_published
from benchmark.registry import (
    ALIASES,
    CODECS,
    DATASETS,
    DISTRIBUTION_METRICS,
    METRICS,
    NEED_OPTIONS,
)


def list_names(
    published: Annotated[
        bool,
        typer.Option("--published", help="Published numbers: system, dataset, metric, protocol."),
    ] = False,
) -> None:
    """List codecs, datasets and metrics (`bench doctor` says which of them run here)."""
    if published:
        list_published()
        return
    print("codecs")
    for name in CODECS:
        print(f"  {name:<34}{'needs options' if name in NEED_OPTIONS else ''}".rstrip())
    for name, spec in ALIASES.items():
        print(f"  {name:<34}short for {spec}")
    print("  ./file.py:Class       a codec of your own")
    print("datasets")
    for name in DATASETS:
        print(f"  {name}")
    print("  path/to/images        any folder")
    print("metrics")
    for name in METRICS:
        print(f"  {name}")
    for name in DISTRIBUTION_METRICS:
        print(f"  {name:<34}of whole sets")
