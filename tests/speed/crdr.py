"""Measure our codec on one 768x512 picture, and the time of its parts.

    python tests/speed/crdr.py [--threads 2] [--rounds 3] [--sizes full,small,micro]

Weights are seeded, the picture is noise of two sizes. The best of the rounds counts, for the whole
and for each part; with `--peer`, the same weights' float network runs in the same rounds: analysis,
entropy path and synthesis in float32, without entropy coding. Exit code 1 where a target is missed.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from peer import verdict

sys.path.insert(0, str(Path(__file__).parents[1]))

from baselines.neural.blocks.raster import to_images
from baselines.neural.checkpoint.checkpoint import load_checkpoint
from baselines.neural.crdr.controls import HeaderControls
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.crdr.sizes import NAMED
from baselines.neural.entropy.coder import Decoder, Encoder
from baselines.neural.entropy.fixed.entropy_path import EntropyPath, Latents
from baselines.neural.picture_codec import PictureCodec
from support.networks.tiny_checkpoint import noise, write_checkpoint

HEIGHT, WIDTH = 512, 768
CONTROLS = HeaderControls.nearest(2.0, 2.56)
TARGET_SECONDS = {"small": 1.5, "micro": 0.5}  # each way
PARTS: tuple[tuple[Any, str], ...] = (
    (CRDRNetwork, "analyse"),
    (CRDRNetwork, "hyper_analyse"),
    (CRDRNetwork, "synthesise"),
    (EntropyPath, "begin"),
    (Latents, "parameters"),
    (Latents, "accept"),
    (Encoder, "add"),
    (Encoder, "finish"),
    (Decoder, "take"),
)


def main() -> int:
    """A table for each of the sizes, then the targets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="full,small,micro")
    parser.add_argument("--peer", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    met = [measure(name, chosen.rounds, peer=chosen.peer) for name in chosen.sizes.split(",")]
    return 0 if all(met) else 1


def measure(name: str, rounds: int, *, peer: bool) -> bool:
    """Whether the targets of these sizes are met."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ours.safetensors"
        write_checkpoint(path, NAMED[name])
        started = perf_counter()
        checkpoint = load_checkpoint(path)
        codec = PictureCodec(checkpoint)
        print(f"\n{name}: loaded in {perf_counter() - started:.1f} s")
    pixels = noise(HEIGHT, WIDTH)
    best: dict[str, float] = defaultdict(lambda: float("inf"))
    split: dict[str, dict[str, float]] = {}
    data = codec.encode(pixels, CONTROLS)
    runs: dict[str, Callable[[], Any]] = {
        "encode": lambda: codec.encode(pixels, CONTROLS),
        "decode": lambda: codec.decode(data),
    }
    if peer:
        runs["float"] = lambda: in_float(checkpoint.network, pixels)
    for _ in range(rounds):
        for way, run in runs.items():
            seconds, parts = clocked(run)
            if seconds < best[way]:
                best[way], split[way] = seconds, parts
    for way, seconds in best.items():
        shares = ", ".join(f"{part} {spent:.2f}" for part, spent in split[way].items())
        print(f"  {way:7}{seconds:6.2f} s   of which {shares}")
    print(f"  {len(data)} bytes")
    both = best["encode"] + best["decode"]
    if name in TARGET_SECONDS:
        slower = max(best["encode"], best["decode"])
        return verdict(f"{name}, seconds of the slower way", slower, TARGET_SECONDS[name])
    return not peer or verdict(f"{name}, both ways / float network", both / best["float"], 1.3)


def clocked(run: Callable[[], Any]) -> tuple[float, dict[str, float]]:
    """Seconds, and those of each of PARTS."""
    spent: dict[str, float] = defaultdict(float)
    originals = [(owner, part, getattr(owner, part)) for owner, part in PARTS]
    for owner, part, original in originals:
        setattr(owner, part, _listened(original, f"{owner.__name__}.{part}", spent))
    started = perf_counter()
    try:
        run()
    finally:
        seconds = perf_counter() - started
        for owner, part, original in originals:
            setattr(owner, part, original)
    return seconds, dict(spent)


def _listened(original: Callable[..., Any], name: str, spent: dict[str, float]) -> Any:
    def listened(*arguments: Any, **options: Any) -> Any:
        started = perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            spent[name] += perf_counter() - started

    return listened


@torch.inference_mode()
def in_float(model: CRDRNetwork, pixels: np.ndarray) -> torch.Tensor:
    """Encoder and decoder in float32, the entropy path once in each."""
    latents = model.analyse(to_images(pixels, torch.device("cpu")), 2.0)
    parts = latents.split(model.sizes.slices or model.sizes.latent, dim=1)
    rounded = model.round_hyper(model.hyper_analyse(latents))
    for _ in range(2):
        supports = model.hyper_synthesise(rounded)
        decoded = model.context(
            *supports, lambda index, mean, _scale: (parts[index] - mean).round() + mean
        )
    return model.synthesise(decoded, 2.0, 2.56)


if __name__ == "__main__":
    sys.exit(main())
