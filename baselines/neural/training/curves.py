"""A trainer's journal, json lines -> tables of losses and of validations, written as parquet."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.errors import StoreError

JOURNAL, LOSSES, VALIDATION = "journal.jsonl", "losses.parquet", "validation.parquet"

WHOLE, REAL = pa.int64(), pa.float64()
PLACE = (
    ("stage", WHOLE, "", "of the recipe, counted from 1"),
    ("step", WHOLE, "", "within the stage, counted from 1"),
    ("run_step", WHOLE, "", "all stages together"),
    ("crops", WHOLE, "", "seen since the beginning"),
)
# Means over the steps since the row before; null where a step that was left out made it no number.
REPORTED = (
    ("loss", REAL, "", "what was minimised"),
    ("mse", REAL, "1", "mean squared error of values in 0..1, before rounding to 8 bits"),
    ("bpp", REAL, "bit/px", "estimated, of crops with noise in place of rounding"),
    ("z_bpp", REAL, "bit/px", "of these, for the hyper-latent"),
    ("log_loss", REAL, "", "log(lambda^-.5 (150 MSE + lambda bpp)), one figure for all rates"),
    ("lpips", REAL, "", "LPIPS with AlexNet, weighted with beta"),
    ("generator", REAL, "", "the generator's adversarial loss, weighted with beta"),
    ("discriminator", REAL, "", "the discriminators' loss"),
    ("skipped", WHOLE, "", "steps left out since the stage began: not finite, or above 10^4"),
    ("steps_per_second", REAL, "1/s", ""),
    ("crops_per_second", REAL, "1/s", ""),
    ("validation_loss", REAL, "", "log_loss at the whole q, beta 0, of whole photographs"),
)
VALIDATED = (
    ("q", REAL, "", "rate"),
    ("beta", REAL, "", "realism"),
    ("bpp", REAL, "bit/px", "estimated, of rounded latents"),
    ("psnr_db", REAL, "dB", "mean over the photographs"),
)


class Curves(NamedTuple):
    """What a journal holds."""

    losses: pa.Table  # a row a report
    validation: pa.Table  # a row a validation, q and beta


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Its reports in the order of steps; a journal that is not there holds none.

    Lines that a killed process left unfinished are passed over, and so is what a run reported
    before it was killed and began again from an earlier step.
    """
    found: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        while found and _step(found[-1]) >= _step(entry):
            found.pop()
        found.append(entry)
    return found


def curves(entries: Iterable[Mapping[str, Any]], stages: Sequence[tuple[int, int]]) -> Curves:
    """Reports as tables, units and meanings as field metadata.

    stages: steps and batch of each stage of the recipe. A number that a trainer reports beside the
    known ones becomes a column as well.
    """
    losses, validation = [], []
    others: set[str] = set()
    known = {name for name, *_ in (*PLACE, *REPORTED)}
    for entry in entries:
        place = _place(*_step(entry), stages)
        numbers = {k: _known(v) for k, v in entry.items() if isinstance(v, int | float)}
        losses.append(numbers | place)
        others |= numbers.keys() - known
        validation += [place | {k: _known(v) for k, v in one.items()} for one in _points(entry)]
    more = [(name, REAL, "", "") for name in sorted(others)]
    return Curves(
        pa.Table.from_pylist(losses, schema=_schema((*PLACE, *REPORTED, *more))),
        pa.Table.from_pylist(validation, schema=_schema((*PLACE, *VALIDATED))),
    )


def write_curves(run: Path, stages: Sequence[tuple[int, int]]) -> None:
    """The journal of a run's folder as tables beside it, each whole or not at all.

    Without a journal nothing is written. Raises `StoreError` where the folder cannot be written.
    """
    entries = read_journal(run / JOURNAL)
    if not entries:
        return
    found = curves(entries, stages)
    for name, table in ((LOSSES, found.losses), (VALIDATION, found.validation)):
        draft = run / f".{name}.part"
        try:
            pq.write_table(table, draft, compression="zstd")
            os.replace(draft, run / name)
        except OSError as error:
            raise StoreError(f"{run / name} cannot be written: {error.strerror}") from error


def _step(entry: Mapping[str, Any]) -> tuple[int, int]:
    return entry["stage"], entry["step"]


def _place(stage: int, step: int, stages: Sequence[tuple[int, int]]) -> dict[str, int]:
    before = stages[:stage]
    batch = stages[stage][1]
    return {
        "stage": stage + 1,
        "step": step,
        "run_step": sum(steps for steps, _ in before) + step,
        "crops": sum(steps * crops for steps, crops in before) + step * batch,
    }


def _points(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = entry.get("validation") or ()
    return found


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _schema(columns: Iterable[tuple[str, pa.DataType, str, str]]) -> pa.Schema:
    return pa.schema(
        [
            pa.field(name, kind, metadata={"unit": unit, "meaning": meaning})
            for name, kind, unit, meaning in columns
        ]
    )
