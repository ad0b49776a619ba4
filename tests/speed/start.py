"""Measure all but coding: help, import, a cell of `raw`, a finished matrix run again.

    python tests/speed/start.py [--images 200] [--codecs all] [--limit 4]

Processor time with all workers, medians of three runs; the cost of a cell is the slope between a
tenth of the images and all of them, of 128 x 96 pixels of noise. Exit code 1 where a target is
missed.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import BENCH, ROUNDS, Clocked, clock, middle, noise_photos, options, run, verdict


def often(*command: str) -> Clocked:
    """Return the medians of several runs of a command."""
    return middle([clock(command) for _ in range(ROUNDS)])


def main() -> None:
    """Print every figure with its target."""
    arguments = options(__doc__, images=200, codecs="all", limit=4)
    nothing = often(sys.executable, "-c", "pass").cpu_seconds
    started = often(sys.executable, "-c", "import benchmark").cpu_seconds - nothing
    verdict("bench --help, s of processor", often(BENCH, "--help").cpu_seconds, 0.4)
    verdict("import benchmark, s of processor", started, 0.05)
    few = max(arguments.images // 10, 1)
    with TemporaryDirectory() as name:
        photos = noise_photos(Path(name, "photos"), arguments.images, 96, 128)
        took = []
        for limit in (few, arguments.images):
            words = ("--codecs", "raw", "--dataset", str(photos), "--metrics", "psnr", "--no-table")
            limited = (BENCH, "run", *words, "--limit", str(limit), "--results")
            runs = [
                clock([*limited, f"{name}/{limit}-{round_number}"])
                for round_number in range(ROUNDS)
            ]
            took.append(middle(runs).cpu_seconds)
        cell = 1000 * (took[1] - took[0]) / (arguments.images - few)
        verdict("a cell of raw, ms of processor", cell, 1)
        sample = ("--dataset", "sample", "--metrics", "psnr", "--no-table", "--skip-missing")
        words = ("--codecs", arguments.codecs, *sample, "--limit", str(arguments.limit))
        repeat_command = [BENCH, "run", *words, "--results", f"{name}/again"]
        clock(repeat_command)
        verdict("a finished matrix again, s of processor", often(*repeat_command).cpu_seconds, 1.3)


if __name__ == "__main__":
    run(main)
