"""Measure our codec on one 768x512 picture, and the time of its parts.

    python tests/speed/crdr.py [--threads 2] [--rounds 3] [--sizes full,small,micro]
                               [--processor-time] [--peer] [--authors CHECKOUT]

Weights are seeded, the picture is noise of two sizes. The best of the rounds counts, for the whole
and for each part; with `--peer`, the same weights' float network runs in the same rounds: analysis,
entropy path and synthesis in float32, without entropy coding. With `--authors`, so does the code of
CRDR's authors (a checkout of github.com/iwa-shi/CRDR) with the same weights, for `full`; its median
ratio to ours, of the same rounds, is the target's. `--processor-time` is for a machine with other
work: what is printed is then the time of all threads. Where NumPy computes the entropy path (x86
without VNNI), OPENBLAS_NUM_THREADS has to be that of the threads. Exit code 1 where a target is
missed.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from harness import options, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))  # before `tests`, which has a `baselines` too

from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.crdr.architecture import NAMED
from baselines.neural.crdr.model import Controls, CRDRNetwork, HeaderControls
from baselines.neural.entropy.coder import Decoder, Encoder
from baselines.neural.entropy.fixed.convolution import FixedSequence
from baselines.neural.network import to_images
from baselines.neural.picture_codec import PictureCodec
from support.networks.tiny_checkpoint import noise, write_checkpoint

HEIGHT, WIDTH = 512, 768
Q, BETA = 2.0, 2.56
CONTROLS = HeaderControls.nearest(Q, BETA)
TARGET_SECONDS = {"small": 1.5, "micro": 0.25}  # each way
MOST_OF_THE_AUTHORS = 0.5  # of their time, both ways
PARTS: tuple[tuple[Any, str], ...] = (
    (CRDRNetwork, "analyse"),
    (CRDRNetwork, "hyper_analyse"),
    (CRDRNetwork, "synthesise"),
    (FixedSequence, "__call__"),
    (Encoder, "add"),
    (Encoder, "finish"),
    (Decoder, "take"),
)


def main() -> int:
    """A table for each of the sizes, then the targets."""
    chosen = options(
        __doc__,
        threads=2,
        rounds=3,
        sizes="full,small,micro",
        peer=False,
        processor_time=False,
        authors="",  # a checkout of their code
    )
    torch.set_num_threads(chosen.threads)
    met = [measure(name, chosen) for name in chosen.sizes.split(",")]
    return 0 if all(met) else 1


def measure(name: str, chosen: argparse.Namespace) -> bool:
    """Print the times of these sizes; return whether their targets are met."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ours.safetensors"
        write_checkpoint(path, NAMED[name])
        started = perf_counter()
        checkpoint = load_checkpoint(path)
        codec = PictureCodec(checkpoint)
        print(f"\n{name}: loaded in {perf_counter() - started:.1f} s")
    pixels = noise(HEIGHT, WIDTH)
    data = codec.encode(pixels, CONTROLS)
    runs: dict[str, Callable[[], Any]] = {
        "encode": lambda: codec.encode(pixels, CONTROLS),
        "decode": lambda: codec.decode(data),
    }
    if chosen.peer:
        runs["float"] = lambda: in_float(checkpoint.network, pixels)
    beside_authors = chosen.authors and name == "full"
    authors = None
    if beside_authors:
        from authors import Authors  # needs PyYAML: `all.py` makes an environment with it

        authors = Authors(Path(chosen.authors), chosen.threads, Q, BETA)
    clock = process_time if chosen.processor_time else perf_counter
    rounds: list[dict[str, tuple[float, dict[str, float]]]] = []
    for _ in range(chosen.rounds):
        rounds.append({way: clocked(run, clock) for way, run in runs.items()})
        if authors is not None:
            for way in ("encode", "decode"):
                rounds[-1][f"authors' {way}"] = authors.seconds(way, clock.__name__), {}
    best = {way: min((one[way] for one in rounds), key=lambda taken: taken[0]) for way in rounds[0]}
    for way, (seconds, parts) in best.items():
        shares = ", ".join(f"{part} {spent:.2f}" for part, spent in parts.items())
        print(f"  {way:16}{seconds:6.2f} s   of which {shares or 'nothing is clocked'}")
    print(f"  {len(data)} bytes")
    met = True
    if authors is not None:
        authors.close()
        ratios = [
            (one["encode"][0] + one["decode"][0])
            / (one["authors' encode"][0] + one["authors' decode"][0])
            for one in rounds
        ]
        met = verdict("full, both ways / the authors' code", median(ratios), MOST_OF_THE_AUTHORS)
    both = best["encode"][0] + best["decode"][0]
    if name in TARGET_SECONDS:
        slower = max(best["encode"][0], best["decode"][0])
        return verdict(f"{name}, seconds of the slower way", slower, TARGET_SECONDS[name])
    if chosen.peer:
        met &= verdict(f"{name}, both ways / float network", both / best["float"][0], 1.3)
    return met


def clocked(run: Callable[[], Any], clock: Callable[[], float]) -> tuple[float, dict[str, float]]:
    """Return the seconds of a run by a clock, and those of each of PARTS."""
    spent: dict[str, float] = defaultdict(float)
    originals = [(owner, part, getattr(owner, part)) for owner, part in PARTS]
    for owner, part, original in originals:
        setattr(owner, part, _listened(original, f"{owner.__name__}.{part}", spent, clock))
    started = clock()
    try:
        run()
    finally:
        seconds = clock() - started
        for owner, part, original in originals:
            setattr(owner, part, original)
    return seconds, dict(spent)


def _listened(
    original: Callable[..., Any], name: str, spent: dict[str, float], clock: Callable[[], float]
) -> Any:
    def listened(*arguments: Any, **options: Any) -> Any:
        started = clock()
        try:
            return original(*arguments, **options)
        finally:
            spent[name] += clock() - started

    return listened


@torch.inference_mode()
def in_float(model: CRDRNetwork, pixels: np.ndarray) -> torch.Tensor:
    """Encoder and decoder in float32, the entropy path once in each."""
    latents = model.analyse(to_images(pixels, torch.device("cpu")), 2.0)
    parts = latents.split(model.sizes.slices or model.sizes.latent, dim=1)
    rounded = model.round_hyper(model.hyper_analyse(latents))
    for _ in range(2):
        supports = model.hyper_synthesis(rounded)
        decoded = model.context(
            *supports, lambda index, mean, _scale: (parts[index] - mean).round() + mean
        )
    return model.synthesise(decoded, Controls(2.0, 2.56))


if __name__ == "__main__":
    sys.exit(main())
