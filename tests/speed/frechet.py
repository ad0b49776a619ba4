"""Measure Frechet distances of full-rank sums, of a few samples, and with influences.

    python tests/speed/frechet.py [--dimensions 2048] [--samples 2500] [--rounds 3] [--clic2020]

Beside it runs pytorch-fid's way, the root of the product of the covariances (scipy's `sqrtm`), as
often and in the same run. With `--clic2020`, influences and kernel distance of 28,650 patches of
428 images as well, in 2 GB of memory. Processor time of one thread, so that what else the machine
does stays out of it; the best of the rounds. Exit code 1 where a target is missed.
"""
# ruff: noqa: E402 - the pools have to be pinned before numpy is imported

import os
from collections.abc import Callable
from typing import Any

for pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{pool}_NUM_THREADS"] = "1"

import numpy as np
from harness import options, run, timed, verdict
from scipy.linalg import sqrtm

from benchmark.metrics.frechet import GaussianSums, frechet
from benchmark.metrics.pairwise import kernel_distance

KODAK_IMAGES, KODAK_PATCHES = 24, 192
CLIC_IMAGES, CLIC_PATCHES = 428, 28_650


def features(generator: np.random.Generator, samples: int, dimensions: int) -> np.ndarray:
    """Return float32 features above 0 with standard deviations from 1 to .001, as after a ReLU."""
    spread = np.geomspace(1, 1e-3, dimensions, dtype=np.float32)
    return np.abs(generator.standard_normal((samples, dimensions), dtype=np.float32)) * spread


def decoding(generator: np.random.Generator, reference: np.ndarray) -> np.ndarray:
    """Return features near the reference."""
    return 0.95 * reference + 0.1 * features(generator, *reference.shape)


def by_root(first: GaussianSums, second: GaussianSums) -> float:
    """Return the distance as pytorch-fid computes it."""
    covariances = first.covariance(), second.covariance()
    root = sqrtm(covariances[0] @ covariances[1])
    step = first.mean - second.mean
    return float(step @ step + np.trace(sum(covariances)) - 2 * np.trace(root).real)


def least(call: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Return the processor's seconds of the fastest round, and what the call gave."""
    took = min((timed(call) for _ in range(rounds)), key=lambda one: one.cpu)
    return took.cpu, took.result


def main() -> None:
    """Print a line for each case, then whether its target is met."""
    chosen = options(__doc__, dimensions=2048, samples=2500, rounds=3, clic2020=False)
    generator = np.random.default_rng(0)

    first = features(generator, chosen.samples, chosen.dimensions)
    second = decoding(generator, first)
    sums = [GaussianSums.of(x) for x in (first, second)]
    seconds, result = least(lambda: frechet([first], [second]).value, chosen.rounds)
    root_seconds, expected = least(lambda: by_root(*sums), chosen.rounds)
    print(
        f"{chosen.dimensions} dimensions of full rank: {seconds:.2f} s, root of a matrix "
        f"{root_seconds:.2f} s, ratio {root_seconds / seconds:.0f}; {result:.9g} and {expected:.9g}"
    )
    verdict("seconds of full rank", seconds, 3)
    verdict("millionths of difference", 1e6 * abs(result / expected - 1), 10)

    first = features(generator, KODAK_PATCHES, chosen.dimensions)
    second = decoding(generator, first)
    seconds, _ = least(lambda: frechet([first], [second]), chosen.rounds)
    verdict(f"seconds of {KODAK_PATCHES} samples", seconds, 0.1)
    images = [np.array_split(x, KODAK_IMAGES) for x in (first, second)]
    seconds, _ = least(lambda: frechet(*images), chosen.rounds)
    verdict("seconds of the same with influences", seconds, 0.5)

    if chosen.clic2020:
        first = features(generator, CLIC_PATCHES, chosen.dimensions)
        second = decoding(generator, first)
        images = [np.array_split(x, CLIC_IMAGES) for x in (first, second)]
        # A minute of two cores for kernels, which are nothing but products.
        targets = {frechet: 60, kernel_distance: 120}
        for metric, most in targets.items():
            seconds, _ = least(lambda metric=metric: metric(*images), 1)
            verdict(f"seconds of {CLIC_PATCHES} patches, {metric.__name__}", seconds, most)


if __name__ == "__main__":
    run(main)
