"""Time `bench report`, `rank` and `figures rd` over rows of CLIC2020's size, and their memory.

    python tests/speed/clic2020.py [--before FOLDER] [--images 428] [--codecs 8] [--settings 8]

The rows are made up from Kodak's bundled ones: curves of a photograph, resampled at as many rates,
with their rates times a factor for each further photograph; a metric that was not measured there
has the values of PSNR, or of LPIPS. Distribution metrics have no features and are left out.
`--before` is another checkout that is set up, whose commands run next to this one's. Processor time
of all processes, peak memory of the largest. Exit code 1 where the report takes more than 60
seconds or 2 GiB.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from harness import BENCH, ROOT, options, run, verdict

from benchmark.metrics.metric import protocols
from benchmark.registry import METRICS, metric_class
from benchmark.rows.schema import metric_columns
from benchmark.rows.shard import schema_of
from benchmark.rows.store import Store

VERBS = ("report", "rank", "figures rd")
MAX_SECONDS, MAX_GIB = 60.0, 2.0
VARIANT = ["codec", "variant"]
STAND_INS = {"higher": "psnr_db", "lower": "lpips_alex"}


class Used(NamedTuple):
    """Processor seconds and peak memory of a command."""

    seconds: float
    gib: float


def main() -> None:
    """Make the rows, then run each verb."""
    arguments = options(__doc__, before="", images=428, codecs=8, settings=8, make="")
    if arguments.make:  # in a process of its own, whose memory is not part of a command's
        store = Store(Path(arguments.make) / "clic2020")
        store.add_shard(pl.concat(_rows(arguments.images, arguments.codecs, arguments.settings)))
        return
    with TemporaryDirectory(prefix="rdrbench-") as folder:
        results = Path(folder, "results")
        command = [sys.executable, __file__, "--make", str(results), *sys.argv[1:]]
        subprocess.run(command, check=True)
        programs = {"now": BENCH}
        if arguments.before:
            programs = {"before": f"{arguments.before}/.venv/bin/bench"} | programs
        for verb in VERBS:
            words = [*verb.split(), "--dataset", "clic2020", "--results", str(results)]
            words += [] if verb == "rank" else ["--out", f"{folder}/out"]
            for name, program in programs.items():
                usage = _run([program, *words])
                print(f"{verb:10} {name:6} {usage.seconds:6.1f} s, {usage.gib:.2f} GiB", flush=True)
                if (verb, name) == ("report", "now"):
                    verdict("report of CLIC2020's size, s of processor", usage.seconds, MAX_SECONDS)
                    verdict("report of CLIC2020's size, GiB", usage.gib, MAX_GIB)


def _rows(images: int, codecs: int, settings: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of each photograph."""
    kodak = Store(ROOT / "results" / "kodak").table().filter(pl.col("status") == "ok")
    counts = kodak.group_by(VARIANT).agg(pl.col("setting_value").n_unique())
    order = counts.sort("setting_value", *VARIANT, descending=[True, False, False])
    variants = order.head(codecs).select(VARIANT)
    measured = kodak.join(variants, on=VARIANT).with_columns(
        pl.coalesce(metric.column, STAND_INS[metric.better]).alias(metric.column)
        for metric in map(metric_class, METRICS)
    )
    curves = [
        _resampled(curve, settings)
        for _, curve in measured.group_by("image", *VARIANT, maintain_order=True)
    ]
    photographs = pl.concat(curves).partition_by("image", maintain_order=True)
    factors = np.random.default_rng(0).lognormal(0, 0.3, images).tolist()
    for number, factor in enumerate(factors):
        yield _copied(photographs[number % len(photographs)], number, factor)


def _resampled(curve: pl.DataFrame, settings: int) -> pl.DataFrame:
    """Return the rows of a photograph and a codec at so many rates, evenly spaced in log rate."""
    curve = curve.sort("bpp")
    rates = np.log(curve["bpp"].to_numpy())
    log_rates = np.linspace(rates[0], rates[-1], settings)
    columns = {"bpp": np.exp(log_rates), "setting_value": np.arange(1.0, settings + 1)}
    for column in (metric_class(name).column for name in METRICS):
        columns[column] = np.interp(log_rates, rates, curve[column].to_numpy())
    series = {name: pl.Series(values) for name, values in columns.items()}
    return curve[[0] * settings].with_columns(**series)


def _copied(rows: pl.DataFrame, number: int, factor: float) -> pl.DataFrame:
    """Return a photograph's rows as those of another one, its rates times a factor."""
    name = f"{'professional' if number < 250 else 'mobile'}/{number:03}.png"
    cells = [_digest(f"{name} {place}") for place in range(len(rows))]
    protocol = protocols(METRICS)
    changed: dict[str, Any] = {
        "cell": pl.Series(cells), "stream_sha256": pl.Series(cells),
        "decoded_sha256": pl.Series(map(_digest, cells)), "dataset": pl.lit("clic2020"),
        "image": pl.lit(name), "image_sha256": pl.lit(_digest(name)),
        "bpp": pl.col("bpp") * factor,
        "num_bytes": pl.col("bpp") * factor * pl.col("width_px") * pl.col("height_px") / 8,
    }  # fmt: skip
    for metric in map(metric_class, METRICS):
        _, protocol_column, reason_column = metric_columns(metric.column)
        changed |= {protocol_column: pl.lit(protocol[metric.column]), reason_column: pl.lit(None)}
    schema = schema_of()
    return rows.with_columns(**changed).select(
        pl.col(name).cast(kind) if name in rows.columns else pl.lit(None, kind).alias(name)
        for name, kind in schema.items()
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _run(command: list[str]) -> Used:
    """Run a command; return the time and memory of it and of the processes it waited for."""
    bare = {k: value for k, value in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=bare)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command[:3])} ... failed")
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1 << 20))


if __name__ == "__main__":
    run(main)
