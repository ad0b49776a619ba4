"""Time a store of a million rows: reading them as a report does, and summarising them.

    python tests/speed/store.py [--rows 1000000] [--repeated 10000] [--shard-rows 100]

The store is made once: 40 codecs at 8 settings of as many images as that takes, the usual
metrics, in shards of 50,000 rows; `--folder` keeps it for more rounds. `--repeated` of the cells
have a second version, in shards of `--shard-rows`, as interrupted runs leave them. Each step runs
in a process of its own that has nothing cached. Processor time counts, since the machine may be
busy. Exit code 1 if the steps take more than five seconds together or a GiB.
"""

import hashlib
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from harness import options, peak_mb, run, timed, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmark.rows.shard import schema_of
from benchmark.rows.store import Store
from support.rows.measured import row

CODECS, SETTINGS = 40, 8
SHARD_ROWS, PIECE_ROWS = 50_000, 1_000_000  # rows of a large shard; rows made at once
MAX_SECONDS, MAX_GIB = 5.0, 1.0  # processor time of all steps; memory of each
STEPS = ("table", "summarise")


def main() -> None:
    """Make the store, then time each step."""
    counts = {"rows": 1_000_000, "repeated": 10_000, "shard_rows": 100}
    arguments = options(__doc__, **counts, folder="", step="")
    if arguments.step:
        _time(arguments.step, Path(arguments.folder))
        return
    with TemporaryDirectory(prefix="rdrbench-") as temporary:
        folder = Path(arguments.folder or f"{temporary}/many")
        if not folder.exists():
            make(Store(folder), arguments.rows, arguments.repeated, arguments.shard_rows)
        shards = list((folder / "per_image").glob("*.parquet"))
        size = sum(path.stat().st_size for path in shards)
        counts = f"{arguments.rows} rows, {arguments.repeated} repeated"
        print(f"{counts}, {len(shards)} shards, {size} bytes")
        seconds, memory = {}, 0.0
        for step in STEPS:
            command = [sys.executable, __file__, "--folder", str(folder), "--step", step]
            reported = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(reported, end="", flush=True)
            seconds[step] = float(reported.split()[1])
            memory = max(memory, float(reported.split()[-2]))
    together = sum(seconds.values())
    million = f"{arguments.rows:,} rows"
    verdict(f"{million}: read, means, s of processor", together, MAX_SECONDS)
    verdict(f"{million}: memory of a step, GiB", memory, MAX_GIB)


def make(store: Store, rows: int, repeated: int, shard_rows: int) -> None:
    """Make the rows of every codec and setting, one image after another, as runs leave them."""
    number, pieces = np.linspace(0, rows - 1, repeated).astype(np.int64), []
    for first in range(0, rows, PIECE_ROWS):
        table = _table(first, min(PIECE_ROWS, rows - first))
        for start in range(0, len(table), SHARD_ROWS):
            store.add_shard(table.slice(start, SHARD_ROWS))
        pieces.append(table[number[number // PIECE_ROWS * PIECE_ROWS == first] - first])
    later = pl.lit("2026-06-01T00:00:00.000+00:00")
    repeated_rows = pl.concat(pieces).with_columns(finished_utc=later)
    for start in range(0, repeated, shard_rows):
        store.add_shard(repeated_rows.slice(start, shard_rows))


def _table(first: int, rows: int) -> pl.DataFrame:
    number = np.arange(first, first + rows)
    image, setting = number // (CODECS * SETTINGS), number // CODECS % SETTINGS
    codec = number % CODECS
    generator = np.random.default_rng(first)
    digests = [hashlib.sha256(str(i).encode()).hexdigest() for i in number]
    names = [f"folder/photograph-{i:05d}.png" for i in range(int(image.max()) + 1)]
    image_digests = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    columns: dict[str, object] = {
        "cell": digests,
        "codec": [f"codec{i:02d}" for i in codec],
        "setting_value": setting.astype(float),
        "image": [names[i] for i in image],
        "image_sha256": [image_digests[i] for i in image],
        "num_bytes": generator.integers(2_000, 200_000, rows),
        "bpp": generator.random(rows),
        "stream_sha256": digests[::-1],
        "decoded_sha256": digests[1:] + digests[:1],
        "encode_seconds": generator.random(rows),
        "finished_utc": [f"{time}+00:00" for time in np.datetime64("2026-01-01", "ms") + number],
    }
    columns |= {name: generator.random(rows) for name in ("psnr_db", "ms_ssim", "lpips_alex")}
    template = row("", 0, "")
    return pl.DataFrame(
        pl.Series(name, columns[name], kind)
        if name in columns
        else pl.repeat(template.get(name), rows, dtype=kind, eager=True).alias(name)
        for name, kind in schema_of().items()
    )


def _time(step: str, folder: Path) -> None:
    from benchmark.rows.means import summarise

    table = Store(folder).means_table() if step == "summarise" else None
    took = timed(lambda: Store(folder).means_table() if table is None else summarise(table).points)
    seconds = f"{took.cpu:6.2f} s processor, {took.wall:6.2f} s wall"
    print(f"{step:10} {seconds}, {len(took.result)} found, {peak_mb() / 1024:.2f} GiB")


if __name__ == "__main__":
    run(main)
