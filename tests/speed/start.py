"""Measure what is not coding: help, import, a cell of `raw`, a finished matrix again.

    python tests/speed/start.py [--images 200] [--codecs all] [--limit 4]

Processor time with all workers, medians of three runs; the cost of a cell is the slope between a
tenth of the images and all of them, of 128 x 96 pixels of noise. Exit code 1 where a target is
missed.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from harness import ROUNDS, Clocked, clock, middle, options, verdict
from PIL import Image

BENCH = str(Path(sys.executable).with_name("bench"))


def often(*command: str) -> Clocked:
    """Return the medians of several runs of a command."""
    return middle([clock(command) for _ in range(ROUNDS)])


def main() -> int:
    """Print every figure with its target."""
    chosen = options(__doc__, images=200, codecs="all", limit=4)
    nothing = often(sys.executable, "-c", "pass").cpu_seconds
    started = often(sys.executable, "-c", "import benchmark").cpu_seconds - nothing
    met = [
        verdict("bench --help, s of processor", often(BENCH, "--help").cpu_seconds, 0.4),
        verdict("import benchmark, s of processor", started, 0.05),
    ]
    few = max(chosen.images // 10, 1)
    with TemporaryDirectory() as name:
        photos = Path(name, "photos")
        photos.mkdir()
        for number in range(chosen.images):
            pixels = np.random.default_rng(number).integers(0, 256, (96, 128, 3), np.uint8)
            Image.fromarray(pixels).save(photos / f"{number:05}.png")
        took, run = [], (BENCH, "run")
        for limit in (few, chosen.images):
            words = ("--codecs", "raw", "--dataset", str(photos), "--metrics", "psnr", "--no-table")
            runs = [
                clock([*run, *words, "--limit", str(limit), "--results", f"{name}/{limit}-{at}"])
                for at in range(ROUNDS)
            ]  # fmt: skip
            took.append(middle(runs).cpu_seconds)
        cell = 1000 * (took[1] - took[0]) / (chosen.images - few)
        met.append(verdict("a cell of raw, ms of processor", cell, 1))
        sample = ("--dataset", "sample", "--metrics", "psnr", "--no-table", "--skip-missing")
        words = ("--codecs", chosen.codecs, *sample, "--limit", str(chosen.limit))
        again = [BENCH, "run", *words, "--results", f"{name}/again"]
        clock(again)
        met.append(
            verdict("a finished matrix again, s of processor", often(*again).cpu_seconds, 1.3)
        )
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
