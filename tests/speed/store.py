"""Time a store of a million rows: to read them as a report does, to summarise them.

    python tests/speed/store.py [--rows 1000000] [--repeated 10000] [--shard-rows 100]

The store is made once: 40 codecs at 8 settings of as many images as that needs, the usual metrics,
in shards of 50,000 rows; `--repeated` of the cells have a second version, in shards of
`--shard-rows`, as interrupted runs leave them. Each step runs in a process of its own that has
nothing cached. Processor time counts, since the machine may be busy. Exit code 1 if the steps take
more than four seconds together or a GiB.
"""

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
import polars as pl
from harness import verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmark.rows.shard import schema_of
from benchmark.rows.store import Store
from support.rows.measured import row

CODECS, SETTINGS = 40, 8
SHARD_ROWS, PIECE_ROWS = 50_000, 1_000_000  # of a large shard; made at once
MOST_SECONDS, MOST_GIB = 4.0, 1.0  # of processor, of each step
STEPS = ("table", "summarise")


def main() -> int:
    """Make the store, then time each step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeated", type=int, default=10_000)
    parser.add_argument("--shard-rows", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where to keep the store, for more rounds")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        _time(chosen.step, chosen.folder)
        return 0
    with TemporaryDirectory(prefix="rdrbench-") as temporary:
        folder = chosen.folder or Path(temporary) / "many"
        if not folder.exists():
            make(Store(folder), chosen.rows, chosen.repeated, chosen.shard_rows)
        shards = list((folder / "per_image").glob("*.parquet"))
        size = sum(path.stat().st_size for path in shards)
        print(f"{chosen.rows} rows, {chosen.repeated} repeated, {len(shards)} shards, {size} bytes")
        seconds, memory = {}, 0.0
        for step in STEPS:
            own = [sys.executable, __file__, "--folder", str(folder), "--step", step]
            reported = subprocess.run(own, check=True, capture_output=True, text=True).stdout
            print(reported, end="", flush=True)
            seconds[step] = float(reported.split()[1])
            memory = max(memory, float(reported.split()[-2]))
    together = sum(seconds.values())
    million = f"{chosen.rows:,} rows"
    met = [
        verdict(f"{million}: read, means, s of processor", together, MOST_SECONDS),
        verdict(f"{million}: memory of a step, GiB", memory, MOST_GIB),
    ]
    return 0 if all(met) else 1


def make(store: Store, rows: int, repeated: int, shard_rows: int) -> None:
    """The rows of every codec and setting of one image after another, as runs leave them."""
    number, some = np.linspace(0, rows - 1, repeated).astype(np.int64), []
    for first in range(0, rows, PIECE_ROWS):
        table = _table(first, min(PIECE_ROWS, rows - first))
        for start in range(0, len(table), SHARD_ROWS):
            store._write_shard(table.slice(start, SHARD_ROWS))
        some.append(table[number[number // PIECE_ROWS * PIECE_ROWS == first] - first])
    later = pl.lit("2026-06-01T00:00:00.000+00:00")
    again = pl.concat(some).with_columns(finished_utc=later)
    for start in range(0, repeated, shard_rows):
        store._write_shard(again.slice(start, shard_rows))


def _table(first: int, rows: int) -> pl.DataFrame:
    number = np.arange(first, first + rows)
    image, setting = number // (CODECS * SETTINGS), number // CODECS % SETTINGS
    codec = number % CODECS
    generator = np.random.default_rng(first)
    digests = [hashlib.sha256(str(i).encode()).hexdigest() for i in number]
    names = [f"folder/photograph-{i:05d}.png" for i in range(int(image.max()) + 1)]
    of_image = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    columns: dict[str, object] = {
        "cell": digests,
        "codec": [f"codec{i:02d}" for i in codec],
        "setting_value": setting.astype(float),
        "image": [names[i] for i in image],
        "image_sha256": [of_image[i] for i in image],
        "num_bytes": generator.integers(2_000, 200_000, rows),
        "bpp": generator.random(rows),
        "stream_sha256": digests[::-1],
        "decoded_sha256": digests[1:] + digests[:1],
        "encode_seconds": generator.random(rows),
        "finished_utc": [f"{time}+00:00" for time in np.datetime64("2026-01-01", "ms") + number],
    }
    columns |= {name: generator.random(rows) for name in ("psnr_db", "ms_ssim", "lpips_alex")}
    same = row("", 0, "")
    return pl.DataFrame(
        pl.Series(name, columns[name], kind)
        if name in columns
        else pl.repeat(same.get(name), rows, dtype=kind, eager=True).alias(name)
        for name, kind in schema_of().items()
    )


def _time(step: str, folder: Path) -> None:
    from benchmark.rows.means import summarise

    table = Store(folder).means_table() if step == "summarise" else None
    wall, own = perf_counter(), process_time()
    found = Store(folder).means_table() if table is None else summarise(table).points
    own, wall = process_time() - own, perf_counter() - wall
    # ru_maxrss would begin with that of the parent, which has made the rows.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 2**20
    seconds = f"{own:6.2f} s processor, {wall:6.2f} s wall"
    print(f"{step:10} {seconds}, {len(found)} found, {peak:.2f} GiB")


if __name__ == "__main__":
    sys.exit(main())
