"""Show that a cell costs the same in large runs as in small ones, and the main process's memory.

    python tests/speed/linear.py [--images 24,240,2400,24000] [--codecs 1,6,60] [--workers 1,2,4,8]

Run by hand. Images of 32 x 24 pixels of noise and a codec that copies them, of which each variant
writes streams of its own, so that the harness is all that is measured: processor time with all
workers, of a cell the slope between two numbers of images. Codecs run on the first two numbers of
images, workers on the second and third. Of the runs of fewer than 1,000 cells the median of three
is taken. Exit code 1 where a cell of the largest run, with most codecs or with most workers costs
more than 1.2 times that of the run from which the others differ, or the main process takes more
than 300 MB.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from threading import Event, Thread

from harness import (
    BENCH,
    ROUNDS,
    Clocked,
    clock,
    middle,
    noise_photos,
    options,
    peak_mb,
    run,
    verdict,
)

MOST_GROWTH, MOST_MB = 1.2, 300
FEW_CELLS = 1_000  # whose processor time varies too much to be taken once
LOOK_SECONDS = 0.02
CODEC = '''"""A codec that copies."""
from benchmark.codec import CodecInfo, Setting
import numpy as np

class Copy:
    name = "copy"
    sweep = (Setting("bits", 8),)

    def __init__(self, number: int = 0):
        self.number = number

    def describe(self):
        return CodecInfo("1", "copy", "MIT", "0" * 64, 1, "one call")

    def encode(self, pixels, setting):
        return bytes([self.number]) + pixels.tobytes()

    def decode(self, data):
        return np.frombuffer(data, np.uint8, offset=1).reshape(24, 32, 3)
'''


def main() -> None:
    """Print the cost of a cell at each size, then the verdicts."""
    chosen = options(__doc__, images="24,240,2400,24000", codecs="1,6,60", workers="1,2,4,8")
    images, codecs, workers = (
        [*map(int, of.split(","))] for of in (chosen.images, chosen.codecs, chosen.workers)
    )
    peaks: list[float] = []
    with TemporaryDirectory(prefix="rdrbench-") as name:
        folder = Path(name)
        (folder / "copy.py").write_text(CODEC)
        noise_photos(folder / "photos", images[-1], 24, 32)

        @cache
        def seconds(images: int, codecs: int, workers: int) -> float:
            runs = ROUNDS if images * codecs < FEW_CELLS else 1
            done = [fresh_run(folder, images, codecs, workers) for _ in range(runs)]
            peaks.extend(peak for _, peak in done)
            took = middle([clocked for clocked, _ in done]).cpu_seconds
            what = f"{images:6} images, {codecs:2} codecs, {workers} workers"
            print(f"{what}: {took:7.2f} s, main process {peaks[-1]:4.0f} MB", flush=True)
            return took

        def of_cell(few: int, many: int, codecs: int = 1, workers: int = 2) -> float:
            more = seconds(many, codecs, workers) - seconds(few, codecs, workers)
            return 1000 * more / ((many - few) * codecs)

        sizes = [of_cell(*pair) for pair in pairwise(images)]
        by_codecs = [of_cell(*images[:2], codecs=number) for number in codecs]
        by_workers = [of_cell(*images[1:3], workers=number) for number in workers]
    for what, numbers, costs in (
        ("images up to", images[1:], sizes), ("codecs", codecs, by_codecs),
        ("workers", workers, by_workers),
    ):  # fmt: skip
        result = ", ".join(f"{n}: {cost:.2f}" for n, cost in zip(numbers, costs, strict=True))
        print(f"ms of processor of a cell, {what} {result}")
    for what, growth in (
        (f"{images[-1]:,} images, of that before", sizes[-1] / sizes[-2]),
        (f"{codecs[-1]} codecs, of one", by_codecs[-1] / sizes[1]),
        (f"{workers[-1]} workers, of one", by_workers[-1] / by_workers[0]),
    ):
        verdict(f"a cell of {what}", growth, MOST_GROWTH)
    verdict("memory of the main process, MB", max(peaks), MOST_MB)


def fresh_run(folder: Path, images: int, codecs: int, workers: int) -> tuple[Clocked, float]:
    """Return the times of a fresh `bench run`, and the most memory of its main process, MB."""
    names = ",".join(f"{folder}/copy.py:Copy:number={number}" for number in range(codecs))
    words = ("--codecs", names, "--dataset", str(folder / "photos"), "--metrics", "psnr")
    more = ("--no-table", "--limit", str(images), "--jobs", str(workers))
    results = folder / "results"
    with watched() as most_mb:
        clocked = clock([BENCH, "run", *words, *more, "--results", str(results)])
    rmtree(results)
    return clocked, most_mb()


@contextmanager
def watched() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the most memory, in MB, of the first process begun here."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before, ended, peak = {*children.read_text().split()}, Event(), [0.0]

    def look() -> None:
        first = ""
        while not ended.wait(LOOK_SECONDS):
            first = first or next(iter({*children.read_text().split()} - before), "")
            with suppress(OSError, IndexError):  # it has not begun, or has ended
                peak[0] = max(peak[0], peak_mb(first))

    watcher = Thread(target=look)
    watcher.start()
    try:
        yield lambda: peak[0]
    finally:
        ended.set()
        watcher.join()


if __name__ == "__main__":
    run(main)
