"""Agreement of a GPU with the processor: tests, streams and rows, metrics and features."""

import json
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch

from baselines.jpeg import JPEG
from benchmark.codec import Pixels, Setting
from benchmark.metrics.feature_spaces import cut_patches
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from tools.gpu.conditions import (
    Cells,
    Conditions,
    Result,
    inception_state,
    per_second,
    printed,
    rows_of,
    untrained,
)

TOLERANCE = 1e-5
CROSSING = "ours:beta=0,ours:beta=0:size=micro,ours:beta=0:exact=1"
FID = "pytorch-fid"
TESTS = (
    *("tests/device/test_training.py", "tests/device/test_coding.py"),
    "tests/device/test_metrics.py",
)


def suite(conditions: Conditions) -> Cells:
    """Every test with the marker `device` passes."""
    for name in TESTS[-1:] if conditions.small else TESTS:
        yield name, partial(_tests, name)


def _tests(name: str) -> Result:
    last = printed("pytest", "-q", name, most=1).strip().rpartition("\n")[2]
    return Result(last, passed=" failed" not in last and " error" not in last)


def coding(conditions: Conditions) -> Cells:
    """Seconds of codecs; the streams of either device decode on both, within one level."""
    pair = conditions.device, "cpu"
    for device in dict.fromkeys(pair):
        yield f"made by {device}", partial(_coded, conditions, device)
    for made, other in dict.fromkeys((pair, pair[::-1])):
        yield f"{made} to {other}", partial(_decoded, conditions, made, other)
    yield "several workers", partial(_by_workers, conditions)


def _rows(conditions: Conditions, device: str, name: str, *words: str) -> pl.DataFrame:
    """Return the rows of two images, measured unless they are in the folder of that name."""
    images = ("--dataset", conditions.dataset, "--limit", 1 if conditions.small else 2)
    chosen = ("--points", "ours.q=1,3", "--metrics", "psnr,ms_ssim", "--device", device)
    folder = conditions.scratch / name / device
    return rows_of(folder, *images, *chosen, *(words or ("--codecs", CROSSING, "--timing")))


def _coded(conditions: Conditions, device: str) -> Result:
    """Encode and decode each image alone on the device; medians of the seconds, by codec."""
    codecs = [CROSSING, "hyperprior:weights=matched"]
    if device == conditions.device:
        codecs += dict.fromkeys(untrained(conditions, size) for size in ("small", "full"))
    points = ("--points", "compressai.quality=1,3", "--timing")
    rows = _rows(conditions, device, "alone", "--codecs", ",".join(codecs), *points)
    names = ("encode_seconds", "decode_seconds")
    medians = rows.group_by("codec", "variant", maintain_order=True).agg(pl.median(*names))
    shown = [
        f"{codec} {variant.replace(f'{conditions.scratch}/', '')} {encode:.3f} s and {decode:.3f} s"
        for codec, variant, encode, decode in medians.rows()
    ]
    return Result(", ".join(shown))


def _decoded(conditions: Conditions, made: str, other: str) -> Result:
    _rows(conditions, made, "alone")
    asked = ("--codecs", CROSSING, "--device", other, "--levels", 1, "--json")
    folder = conditions.scratch / "alone" / made
    table = json.loads(printed("benchmark", "audit", "decode", folder, *asked, most=1))["table"]
    names = ("identical", "within", "different", "not decodable")
    counts = {name: sum(row[name] for row in table) for name in names}
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Result(shown, counts["identical"] + counts["within"] == sum(counts.values()) > 0)


def _by_workers(conditions: Conditions) -> Result:
    """Compare rows of as many workers as a run has by default with those of one."""
    columns = ("cell", "stream_sha256", "decoded_sha256", "psnr_db", "ms_ssim")
    alone = _rows(conditions, conditions.device, "alone").select(columns)
    many = _rows(conditions, conditions.device, "together", "--codecs", CROSSING).select(columns)
    same = len(many.join(alone, on=columns))
    return Result(f"{same} of {len(many)} rows equal those of one", same == len(many) > 0)


def metrics(conditions: Conditions) -> Cells:
    """Values within 1e-5 of the processor's; milliseconds an image, beside the packages'."""
    for name in METRICS:
        yield name, partial(_metric, conditions, name)
    for name in (*FEATURE_SPACES, FID):
        yield name, partial(_features, conditions, name)


def _metric(conditions: Conditions, name: str) -> Result:
    metric, here = (metric_class(name)(device) for device in (conditions.device, "cpu"))
    off = 0.0
    for pixels in conditions.images(2):
        decoded = JPEG().decode(JPEG().encode(pixels, Setting("quality", 30)))
        prepared = metric.prepare(pixels)
        expected = here.compare(here.prepare(pixels), decoded)
        off = max(off, abs(metric.compare(prepared, decoded) - expected) / (abs(expected) or 1.0))
    calls, lacks = {"ours": lambda: metric.compare(prepared, decoded)}, ""
    try:
        if peer := _package(name, conditions.device):
            calls["package"] = lambda: float(peer(_tensor(decoded), _tensor(pixels)))
    except ImportError as error:
        lacks = f", no package: {error}"
    least = 0 if conditions.small else 0.5
    ms = {key: 1e3 / per_second(call, conditions.device, least) for key, call in calls.items()}
    shown = f"{off:.1e} off, " + ", ".join(f"{key} {value:.1f} ms" for key, value in ms.items())
    return Result(
        shown + lacks,
        off <= TOLERANCE,
        numbers={"off": off} | {f"{key}_ms": value for key, value in ms.items()},
    )


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()


def _package(name: str, device: str) -> Callable[..., Any] | None:
    """Return the package's function of two images in 0..255, with random weights."""
    nets = {"lpips": "alex", "lpips_squeeze": "squeeze", "lpips_vgg": "vgg"}
    if name == "ms_ssim":
        from pytorch_msssim import ms_ssim

        return lambda *images: ms_ssim(*(image.to(device) for image in images), data_range=255)
    if name not in nets:
        return None
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision the old way
        network = LPIPS(net=nets[name], pnet_rand=True, verbose=False).eval().to(device)

    def distance(*images: torch.Tensor) -> Any:
        with torch.inference_mode():
            return network(*(image.to(device) / 127.5 - 1 for image in images))

    return distance


def _features(conditions: Conditions, name: str) -> Result:
    """Patches per second; differences from the processor's values, of Inception pytorch-fid's."""
    side = 256 if conditions.small else 1024
    coarse = np.random.default_rng(0).integers(0, 256, (side // 16, side // 16, 3), np.uint8)
    pixels = coarse.repeat(16, 0).repeat(16, 1)
    peer = FID if name == "inception256" else name
    expected = _space(peer, "cpu")(pixels[:256, :256])
    function = _space(name, conditions.device)
    values = function(pixels)
    off = float(np.abs(values[: len(expected)] - expected).max() / np.abs(expected).max())
    rate = per_second(lambda: function(pixels), conditions.device, 0 if conditions.small else 3)
    rate *= len(values)
    passed = None if name == FID else off <= TOLERANCE  # TF32 is the package's own choice
    shown = f"{off:.1e} off, {rate:.0f} patches per second"
    return Result(shown, passed, numbers={"off": off, "patches_per_s": rate})


def _space(name: str, device: str) -> Callable[[Pixels], Any]:
    """Return a function from an image to the features of its patches, float32 (patches, n)."""
    if name != FID:
        space: Callable[[Pixels], Any] = metric_class(name)(device).features
        return space
    from pytorch_fid import inception

    with patch.object(inception, "load_state_dict_from_url", lambda *_, **__: inception_state()):
        network = inception.InceptionV3().eval().to(device)

    def features(pixels: Pixels) -> Any:
        patches = torch.from_numpy(np.stack(cut_patches(pixels, 256))).permute(0, 3, 1, 2)
        with torch.inference_mode():
            batches = [part.float().div(255).to(device) for part in torch.split(patches, 50)]
            return torch.cat([network(batch)[0].flatten(1).cpu() for batch in batches]).numpy()

    return features
