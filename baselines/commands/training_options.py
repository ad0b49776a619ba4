"""Options that `bench train` and `bench ablation` share."""

from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.completion import complete_dataset

Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        help="A folder of photographs, or a dataset by name (repeatable).",
        rich_help_panel=options.ORIGIN,
        autocompletion=complete_dataset,
    ),
]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="Recipe: smoke, evening, night, lease, paper, or a .toml file.",
        rich_help_panel=options.TRAINED,
    ),
]
MaxMinutes = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Stop after this time with everything saved; the same command resumes.",
        rich_help_panel=options.MANNER,
    ),
]
ValidationName = Annotated[
    str | None,
    typer.Option(
        "--validation",
        help="Photographs for validation, never trained on: a dataset or a folder; default: one in "
        "20 of --data, at most 12, which is then not trained on.",
        rich_help_panel=options.ORIGIN,
        autocompletion=complete_dataset,
    ),
]
Half = Annotated[
    bool,
    typer.Option(
        "--half", help="Round the exported weights to float16.", rich_help_panel=options.MANNER
    ),
]
Quantised = Annotated[
    bool,
    typer.Option(
        "--quantised",
        help="Export weights that tolerate it, of ours, HiFiC and PQ-MIM, as integers of 3 to 8 "
        "bits.",
        rich_help_panel=options.MANNER,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", help="Show no progress on standard error.", rich_help_panel=options.MANNER
    ),
]
