"""Measure the entropy path of one 768x512 image with the published sizes, in integers and float32.

    python tests/speed/fixed_point.py [--threads 1] [--rounds 3] [--sizes full]

Every round runs torch's float32 network and each integer kernel after each other, so that what else
the machine does meets all of them; the best of the rounds counts, in wall-clock and in CPU time.
Weights are random, symbols too; what is decoded is compared, kernel against kernel. Exit code 1
where a target is missed.
"""

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from harness import best, options, verdict

from baselines.neural.crdr.architecture import NAMED
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy.fixed.entropy_path import EntropyPath
from baselines.neural.entropy.fixed.fractional_bits import (
    activation_names,
    fractional_bit_tables,
)
from baselines.neural.entropy.fixed.integer_path import decoded
from baselines.neural.entropy.fixed.selftest import KERNELS, Choice, exact_kernel
from baselines.neural.entropy.fixed.tables import make_tables

HEIGHT, WIDTH = 512, 768
MOST = {"full": 1.0, "small": 1.0}  # of float32; the smallest networks take no time anyway


def main() -> int:
    """Print the times of each kernel, then whether the targets are met."""
    chosen = options(__doc__, threads=1, rounds=3, sizes="full")
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    sizes = NAMED[chosen.sizes]
    model = CRDRNetwork(sizes).eval()
    hyper = torch.randint(-4, 5, (1, sizes.hyper_latent, HEIGHT // 64, WIDTH // 64))
    symbols = torch.randint(-2, 3, (1, sizes.latent, HEIGHT // 16, WIDTH // 16))
    runs: dict[str, Callable[[], Any]] = {"float32": lambda: in_float(model, hyper, symbols)}
    tables = {**make_tables(), **fractional_bit_tables(dict.fromkeys(activation_names(model), 7))}
    started = perf_counter()
    taken = exact_kernel(torch.device("cpu")).name
    print(f"self-test chose {taken} in {perf_counter() - started:.2f} s")
    for name, kernel in KERNELS.items():
        started = perf_counter()
        path = EntropyPath(model, tables, choice=Choice(name, kernel, ""))
        print(f"weights for {name} in {perf_counter() - started:.2f} s")
        runs[name] = lambda path=path: in_integers(path, hyper, symbols)
    with torch.inference_mode():
        found = best(runs, chosen.rounds)
    for name, (wall, cpu, _) in found.items():
        print(f"{name:14}{1e3 * wall:9.0f} ms{1e3 * cpu:9.0f} ms CPU, {chosen.threads} threads")
    most = MOST.get(chosen.sizes, 2.0)
    differing = int((found[taken].result != found["reference"].result).sum())
    met = (
        verdict(f"{taken} / float32, CPU time", found[taken].cpu / found["float32"].cpu, most),
        verdict("decoded integers that differ from the reference's", differing, 0),
    )
    return 0 if all(met) else 1


def in_float(model: CRDRNetwork, hyper: torch.Tensor, symbols: torch.Tensor) -> torch.Tensor:
    """Run the float32 computations of a decoder between its symbols."""
    parts = symbols.split(model.sizes.slices or model.sizes.latent, dim=1)
    rounded = hyper + model.prior.medians()[:, None, None]
    supports = model.hyper_synthesise(rounded)
    return model.context(*supports, lambda index, mean, _scale: mean + parts[index])


def in_integers(path: EntropyPath, hyper: torch.Tensor, symbols: torch.Tensor) -> torch.Tensor:
    """Run the integer computations of a decoder, scale indices included."""
    parts = iter(symbols.split(path.widths, dim=1))
    return decoded(path.decoding(hyper), lambda _parameters: next(parts))


if __name__ == "__main__":
    sys.exit(main())
