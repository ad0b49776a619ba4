"""Measure metrics, Inception's features and a Frechet distance against their peers, on one thread.

    python tests/speed/metrics.py [--image FILE] [--weights-dir DIR] [--repeat 15] [--patches 50]

Processor time. Every round runs ours, then the peer, so that other work affects both alike;
medians of the rounds. "once" is what a source costs (`prepare`), "each" what a decoded image costs
(`compare`); a peer has only "each". A network whose weights are absent is left out; those of
Inception are random, and both have the best of some batches. Exit code 1 where a target is missed.
"""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from statistics import median
from typing import Any
from unittest.mock import patch

import harness  # before torch: it pins the pools of threads
import numpy as np
import torch
from harness import options, run, timed, verdict
from PIL import Image
from scipy.linalg import sqrtm

from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.metrics import feature_spaces
from benchmark.metrics.deep_features import LPIPS, LPIPSVGG, LPIPSAlex, LPIPSSqueeze
from benchmark.metrics.feature_spaces import Inception256
from benchmark.metrics.frechet import GaussianSums, frechet
from benchmark.metrics.ms_ssim import MSSSIM, SSIM
from benchmark.metrics.psnr import PSNR, LumaPSNR
from benchmark.system.machine import package_folder

Metric = Callable[[Pixels, Pixels], float]
BATCHES = (4, 8, 16, 50)
LUMA = np.array([0.2126, 0.7152, 0.0722])
DIMENSIONS, SAMPLES, KODAK_PATCHES, KODAK_IMAGES = 2048, 2500, 192, 24


def planes(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).float()


def psnr_in_float64(reference: Pixels, decoded: Pixels) -> float:
    error = reference.astype(np.float64) - decoded.astype(np.float64)
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def luma_psnr_in_float64(reference: Pixels, decoded: Pixels) -> float:
    error = (reference.astype(np.float64) - decoded) @ LUMA
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def pytorch_msssim_peer(name: str) -> Metric:
    import pytorch_msssim

    peer = getattr(pytorch_msssim, name)
    return lambda reference, decoded: float(peer(planes(reference), planes(decoded), 255))


def lpips_peer(metric: LPIPS) -> Metric:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        import lpips

        net = metric.backbone.heads.removesuffix(".pth")
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    weights = torch.load(metric.backbone.find(), weights_only=True)
    for name, parameter in network.net.named_parameters():
        parameter.data.copy_(weights[f"features.{name.partition('.')[2]}"])

    def measure(reference: Pixels, decoded: Pixels) -> float:
        with torch.inference_mode():
            scaled = (planes(pixels) / 127.5 - 1 for pixels in (reference, decoded))
            return float(network(*scaled))

    return measure


def race(metric: Any, peer: Metric, reference: Pixels, decoded: Pixels, rounds: int) -> None:
    """Print one line of the table."""
    prepared = metric.prepare(reference)
    ours, theirs = metric.compare(prepared, decoded), peer(reference, decoded)
    prepare_times, compare_times, peer_times = [], [], []
    for _ in range(rounds):
        prepare_times.append(1e3 * timed(lambda: metric.prepare(reference)).cpu)
        compare_times.append(1e3 * timed(lambda: metric.compare(prepared, decoded)).cpu)
        peer_times.append(1e3 * timed(lambda: peer(reference, decoded)).cpu)
    times = (f"{median(sample):8.2f}" for sample in (prepare_times, compare_times, peer_times))
    print(f"{metric.column:13}", *times, f"{ours:.9f} {theirs:.9f}", sep=" | ")
    ratio = median(compare_times) / median(peer_times)
    verdict(f"ours / peer, {metric.column}, each", ratio, 1 / 4)


def race_inception(max_patches: int, rounds: int) -> None:
    """Print milliseconds per patch for each batch size, for our and pytorch-fid's network."""
    from pytorch_fid import inception

    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def keep(network: torch.nn.Module, *_: object, **__: object) -> None:
        state.update(network.state_dict())

    with (
        patch.object(inception, "load_state_dict_from_url", lambda *_, **__: None),
        patch.object(torch.nn.Module, "load_state_dict", keep),
    ):
        peer = inception.InceptionV3().eval()
    with (
        patch.object(Inception256, "require", staticmethod(lambda: None)),
        patch.object(feature_spaces, "load_pinned", lambda *_: state),
    ):
        ours = Inception256()
    best_seconds = {}
    for name, network in {"ours": ours.vectors, "pytorch-fid": peer}.items():
        for batch in (size for size in BATCHES if size <= max_patches):
            patches = torch.rand(batch, 3, 256, 256)
            with torch.inference_mode():
                times = [timed(lambda p=patches, n=network: n(p)).cpu for _ in range(rounds)]
            took = 1000 * median(times) / batch
            print(f"{name:12} {batch:3} a batch: {took:7.1f} ms a patch")
            best_seconds[name] = min(took, best_seconds.get(name, took))
    verdict("Inception, ours / peer", best_seconds["ours"] / best_seconds["pytorch-fid"], 0.4)


def race_frechet(rounds: int) -> None:
    """Print the seconds of distances; pytorch-fid takes the root of the covariances' product."""
    random = np.random.default_rng(0)
    # Above 0 with standard deviations from 1 to .001, as after a ReLU, and features near them.
    spread = np.geomspace(1, 1e-3, DIMENSIONS, dtype=np.float32)
    samples = [np.abs(random.standard_normal((SAMPLES, DIMENSIONS))) * spread for _ in range(2)]
    features = samples[0], 0.95 * samples[0] + 0.1 * samples[1]
    first, second = (array.astype(np.float32) for array in features)

    def by_root() -> float:
        sums = [GaussianSums.summarise(features) for features in (first, second)]
        root = sqrtm(sums[0].covariance() @ sums[1].covariance())
        step = sums[0].mean - sums[1].mean
        covariances = sum(gaussian.covariance() for gaussian in sums)
        return float(step @ step + np.trace(covariances - 2 * root).real)

    few = first[:KODAK_PATCHES], second[:KODAK_PATCHES]
    images = [np.array_split(features, KODAK_IMAGES) for features in few]
    for name, call, limit in (
        ("full rank", lambda: frechet([first], [second]), 3),
        (f"{KODAK_PATCHES} samples", lambda: frechet([few[0]], [few[1]]), 0.1),
        ("the same with influences", lambda: frechet(*images), 0.5),
    ):
        took = min((timed(call) for _ in range(rounds)), key=lambda timing: timing.cpu)
        verdict(f"Frechet distance, {name}, s", took.cpu, limit)
    value = frechet([first], [second]).value
    verdict("Frechet distance, millionths of difference", 1e6 * abs(value / by_root() - 1), 10)


def main() -> None:
    """Race each metric with its peer."""
    coffee = str(package_folder("skimage") / "data/coffee.png")
    arguments = options(__doc__, image=coffee, weights_dir="", repeat=15, patches=50)
    if arguments.weights_dir:
        os.environ["BENCH_WEIGHTS"] = arguments.weights_dir
    torch.set_num_threads(1)
    reference = np.asarray(Image.open(arguments.image).convert("RGB"))
    stream = BytesIO()
    Image.fromarray(reference).save(stream, "JPEG", quality=50)
    decoded = np.asarray(Image.open(stream))
    height, width, _ = reference.shape
    print(f"{arguments.image}, {width} x {height}, JPEG 50; ms, medians of {arguments.repeat}")
    print("metric        | once     | each     | peer     | values")
    race(PSNR(), psnr_in_float64, reference, decoded, arguments.repeat)
    race(LumaPSNR(), luma_psnr_in_float64, reference, decoded, arguments.repeat)
    race(MSSSIM(), pytorch_msssim_peer("ms_ssim"), reference, decoded, arguments.repeat)
    race(SSIM(), pytorch_msssim_peer("ssim"), reference, decoded, arguments.repeat)
    for kind in (LPIPSAlex, LPIPSSqueeze, LPIPSVGG):
        with suppress(Unavailable):
            metric = kind()
            race(metric, lpips_peer(metric), reference, decoded, arguments.repeat)
    race_inception(arguments.patches, harness.ROUNDS)
    race_frechet(harness.ROUNDS)


if __name__ == "__main__":
    run(main)
