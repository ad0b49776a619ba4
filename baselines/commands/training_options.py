"""Options that `bench train` and `bench ablation` share."""

from typing import Annotated

from benchmark.commands.options import opt
from benchmark.option import MANNER, ORIGIN, TRAINED

Data = Annotated[
    list[str],
    opt(
        ORIGIN,
        "A folder of photographs, or a dataset by name (repeatable).",
        "--data",
        completes="dataset",
    ),
]
RecipeName = Annotated[
    str,
    opt(TRAINED, "Recipe: smoke, evening, night, lease, paper, or a .toml file.", "--recipe"),
]
MaxMinutes = Annotated[
    float | None,
    opt(MANNER, "Stop after this time with everything saved; the same command resumes.", min=0),
]
ValidationName = Annotated[
    str | None,
    opt(
        ORIGIN,
        "Photographs for validation, never trained on: a dataset or a folder; default: one in "
        "20 of --data, at most 12, which is then not trained on.",
        "--validation",
        completes="dataset",
    ),
]
Half = Annotated[
    bool,
    opt(MANNER, "Round the exported weights to float16.", "--half"),
]
Quantised = Annotated[
    bool,
    opt(
        MANNER,
        "Export weights that tolerate it, of ours, HiFiC and PQ-MIM, as integers of 3 to 8 bits.",
        "--quantised",
    ),
]
Quiet = Annotated[
    bool,
    opt(MANNER, "Show no progress on standard error.", "--quiet"),
]
