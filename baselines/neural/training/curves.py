"""Tables of losses and validations, made from a run's journal and written as parquet."""

import math
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run_folder import JOURNAL, Journal, step_of
from benchmark.system.atomic import write_files

LOSSES, VALIDATION, CSV = "losses.parquet", "validation.parquet", "losses.csv"
INTEGER, REAL = pl.Int64, pl.Float64
Column = tuple[str, type[pl.DataType], str, str]  # name, type, unit, meaning
POSITION: tuple[Column, ...] = (
    ("stage", INTEGER, "", "of the recipe, counted from 1"),
    ("step", INTEGER, "", "within the stage, counted from 1"),
    ("run_step", INTEGER, "", "all stages together"),
    ("crops", INTEGER, "", "seen since the beginning"),
)
# Means over the steps since the row before; null where a step that was left out made it no number.
REPORTED: tuple[Column, ...] = (
    ("loss", REAL, "", "what was minimised"),
    ("mse", REAL, "1", "mean squared error of values in 0..1, before rounding to 8 bits"),
    ("bpp", REAL, "bit/px", "estimated, of crops with noise in place of rounding"),
    ("z_bpp", REAL, "bit/px", "of these, for the hyper-latent"),
    ("log_loss", REAL, "", "log(lambda^-.5 (150 MSE + lambda bpp)), one figure for all rates"),
    ("lpips", REAL, "", "LPIPS with AlexNet, weighted with beta"),
    ("generator", REAL, "", "the generator's adversarial loss, weighted with beta"),
    ("discriminator", REAL, "", "the discriminators' loss"),
    ("skipped", INTEGER, "", "steps left out since the stage began: not finite, or above 10^4"),
    ("steps_per_second", REAL, "1/s", ""),
    ("crops_per_second", REAL, "1/s", ""),
    ("validation_loss", REAL, "", "log_loss at the whole q, beta 0, of whole photographs"),
)
VALIDATED: tuple[Column, ...] = (
    ("q", REAL, "", "rate"),
    ("beta", REAL, "", "realism"),
    ("bpp", REAL, "bit/px", "estimated, of rounded latents"),
    ("psnr_db", REAL, "dB", "mean over the photographs"),
)


class Table(NamedTuple):
    """Rows, and the unit and meaning of each column by its name."""

    rows: pl.DataFrame
    meanings: dict[str, str]


def curves(entries: Iterable[Mapping[str, Any]], recipe: Recipe) -> tuple[Table, Table]:
    """Return a table of reports, with columns for all numbers, and one of validations."""
    losses, validation = [], []
    others: set[str] = set()
    for entry in entries:
        stage, step = step_of(entry)
        position = {
            "stage": stage + 1,
            "step": step,
            "run_step": recipe.steps_before(stage) + step,
            "crops": recipe.crops_before(stage) + step * recipe.stages[stage].batch,
        }
        numbers = {k: v for k, v in entry.items() if isinstance(v, int | float)}
        losses.append(_finite(numbers) | position)
        others |= numbers.keys()
        validation += [position | _finite(point) for point in entry.get("validation") or ()]
    known = (*POSITION, *REPORTED)
    more: list[Column] = [
        (name, REAL, "", "") for name in sorted(others - {name for name, *_ in known})
    ]
    return _table(losses, (*known, *more)), _table(validation, (*POSITION, *VALIDATED))


def write_curves(run: Path, recipe: Recipe, names: Sequence[str] = (LOSSES, VALIDATION)) -> None:
    """Write the journal of a run's folder, if any, as tables beside it; raises `StoreError`."""
    entries = Journal(run / JOURNAL).entries()
    files = {}
    for name, table in zip(names, curves(entries, recipe) if entries else (), strict=False):
        sink = BytesIO()
        if name == CSV:
            table.rows.write_csv(sink)
        else:
            table.rows.write_parquet(sink, metadata=table.meanings)
        files[name] = sink.getvalue()
    if files:
        write_files(run, files, what="loss curves")


def _finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }


def _table(rows: list[Any], columns: Sequence[Column]) -> Table:
    series = [pl.Series(n, [row.get(n) for row in rows], kind) for n, kind, *_ in columns]
    meanings = {name: " ".join(filter(None, texts)) for name, _, *texts in columns}
    return Table(pl.DataFrame(series), meanings)
