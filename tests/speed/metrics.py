"""Measure the milliseconds of each metric beside its peer, for an image and its JPEG on one thread.

    python tests/speed/metrics.py [--image FILE] [--weights-dir DIR] [--repeat 15]

Processor time. Every round runs ours and the peer after each other, so that other work meets both.
"once" is what a source costs (`prepare`), "each" what a decoded image costs (`compare`); a peer has
only "each". Best and median of the rounds, ratio of the medians. A network whose weights are not
here is left out. Exit code 1 where a target is missed.
"""
# ruff: noqa: E402 - the pools have to be pinned before numpy and torch are imported

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from statistics import median
from typing import Any

for pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{pool}_NUM_THREADS"] = "1"

import numpy as np
import torch
from harness import options, run, timed, verdict
from PIL import Image

from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.metrics.deep_features import LPIPS, LPIPSVGG, LPIPSAlex, LPIPSSqueeze
from benchmark.metrics.ms_ssim import MSSSIM, SSIM
from benchmark.metrics.psnr import PSNR, LumaPSNR
from benchmark.system.machine import package_folder

Metric = Callable[[Pixels, Pixels], float]


def planes(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).float()


def psnr_in_float64(reference: Pixels, decoded: Pixels) -> float:
    error = reference.astype(np.float64) - decoded.astype(np.float64)
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def luma_psnr_in_float64(reference: Pixels, decoded: Pixels) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    error = (reference.astype(np.float64) - decoded) @ weights
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def ms_ssim_of_pytorch_msssim(reference: Pixels, decoded: Pixels) -> float:
    from pytorch_msssim import ms_ssim

    return float(ms_ssim(planes(reference), planes(decoded), data_range=255))


def ssim_of_pytorch_msssim(reference: Pixels, decoded: Pixels) -> float:
    """Return the peer's SSIM."""
    from pytorch_msssim import ssim

    return float(ssim(planes(reference), planes(decoded), data_range=255))


def lpips_of_the_package(metric: LPIPS) -> Metric:
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
    once, each, beside = [], [], []
    for _ in range(rounds):
        once.append(1e3 * timed(lambda: metric.prepare(reference)).cpu)
        each.append(1e3 * timed(lambda: metric.compare(prepared, decoded)).cpu)
        beside.append(1e3 * timed(lambda: peer(reference, decoded)).cpu)
    columns = (f"{min(times):8.2f} {median(times):8.2f}" for times in (once, each, beside))
    ratio = median(beside) / median(each)
    verdict(f"ours / peer, {metric.column}, each", 1 / ratio, 1 / 4)
    print(f"{metric.column:13}", *columns, f"{ratio:6.1f}", f"{ours:.9f} {theirs:.9f}", sep=" | ")


def main() -> None:
    """Race each metric with its peer."""
    coffee = str(package_folder("skimage") / "data/coffee.png")
    chosen = options(__doc__, image=coffee, weights_dir="", repeat=15)
    if chosen.weights_dir:
        os.environ["BENCH_WEIGHTS"] = chosen.weights_dir
    torch.set_num_threads(1)

    reference = np.asarray(Image.open(chosen.image).convert("RGB"))
    stream = BytesIO()
    Image.fromarray(reference).save(stream, "JPEG", quality=50)
    decoded = np.asarray(Image.open(stream))
    height, width, _ = reference.shape
    print(f"{chosen.image}, {width} x {height}, JPEG 50; ms, best and median of {chosen.repeat}")
    print(
        "metric        | once              | each              | peer, each        | ratio | values"
    )

    race(PSNR(), psnr_in_float64, reference, decoded, chosen.repeat)
    race(LumaPSNR(), luma_psnr_in_float64, reference, decoded, chosen.repeat)
    race(MSSSIM(), ms_ssim_of_pytorch_msssim, reference, decoded, chosen.repeat)
    race(SSIM(), ssim_of_pytorch_msssim, reference, decoded, chosen.repeat)
    for kind in (LPIPSAlex, LPIPSSqueeze, LPIPSVGG):
        with suppress(Unavailable):
            metric = kind()
            race(metric, lpips_of_the_package(metric), reference, decoded, chosen.repeat)


if __name__ == "__main__":
    run(main)
