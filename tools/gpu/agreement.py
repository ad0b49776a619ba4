"""Check that a GPU agrees with the CPU: imports, tests, streams and rows, metrics, features."""

import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch
from torch.backends import cudnn

from baselines.jpeg import JPEG
from benchmark.codec import Pixels, Setting
from benchmark.measure.decode_again import decode_all
from benchmark.metrics.feature_spaces import cut_patches
from benchmark.plugins import one_line
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from tools.gpu.conditions import (
    Cells,
    Conditions,
    calls_per_second,
    inception_state,
    measure_rows,
    run_module,
)
from tools.gpu.results import FID, LOOPS, Result

TOLERANCE = 1e-5  # relative difference allowed between metrics or features of two devices
MAX_LEVELS = 1  # difference allowed between 8-bit pixels of two devices
EXCHANGED_CODECS = "ours:beta=0,ours:beta=0:size=micro,ours:beta=0:exact=1"
TESTS = ("training", "recorded_step", "coding", "metrics")  # NAME of tests/device/test_NAME.py
PACKAGES = (
    *("polars", "msgspec", "typer", "constriction", "compressai", "lpips", "pytorch_fid"),
    *("pytorch_msssim", "pytorch_optimizer", "torchvision", "skimage", "hypothesis"),
)
# Measured first: features of Inception, then metrics that a package has too
FIRST_METRICS = ("inception256", FID, "lpips", "ms_ssim", "dists")


def start(conditions: Conditions) -> Cells:
    """Report versions, code an image, and import packages."""
    yield "versions", partial(_versions, conditions)
    yield "ours on sample", partial(_sample, conditions)
    yield "imports", _imports


def _versions(conditions: Conditions) -> Result:
    card = torch.cuda.get_device_properties(0) if conditions.device == "cuda" else "no GPU"
    text = f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn.version()}, "  # type: ignore[no-untyped-call]
    return Result(f"{text}{card}, C loops {'built' if find_spec(LOOPS) else 'not built'}")


def _imports() -> Result:
    missing = []
    for name in PACKAGES:
        try:
            import_module(name)
        except Exception as error:  # a package may raise any exception
            missing.append(f"{name} ({one_line(error)})")
    text = f"without {', '.join(missing)}" if missing else f"all {len(PACKAGES)}"
    return Result(text, passed=not missing)


def _sample(conditions: Conditions) -> Result:
    codec = ("--codecs", "ours:beta=0", "--points", "ours.q=2", "--metrics", "psnr")
    images = ("--dataset", "sample", "--limit", 1, "--device", conditions.device)
    (row,) = measure_rows(conditions.scratch / "sample", *codec, *images).rows(named=True)
    return Result(f"{row['psnr_db']:.2f} dB at {row['bpp']:.3f} bpp")


def tests(conditions: Conditions) -> Cells:
    """Run the tests for a GPU, file by file."""
    for name in TESTS[-1:] if conditions.small else TESTS:
        yield f"test_{name}", partial(_tests, conditions, f"tests/device/test_{name}.py")


def _tests(conditions: Conditions, path: str) -> Result:
    selection = ("-k", "psnr") if conditions.small else ()
    output = run_module("pytest", "-q", "-p", "no:cacheprovider", path, *selection, max_code=1)
    last_line = output.strip().rpartition("\n")[2]
    return Result(last_line, passed=" failed" not in last_line and " error" not in last_line)


def coding(conditions: Conditions) -> Cells:
    """Time codecs on both devices; decode the streams of each device on both."""
    devices = conditions.device, "cpu"
    for device, peer in dict.fromkeys((devices, devices[::-1])):
        yield f"{device} to {peer}", partial(_code_and_decode, conditions, device, peer)


def _code_and_decode(conditions: Conditions, device: str, peer: str) -> Result:
    """Encode on a device, with one worker and with several; decode on it and on the peer."""
    codecs = ("--codecs", EXCHANGED_CODECS, "--points", "ours.q=1,3", "--metrics", "psnr,ms_ssim")
    images = ("--dataset", conditions.dataset, "--limit", 1 if conditions.small else 2)
    folders = [conditions.scratch / f"{workers}-{device}" for workers in ("single", "several")]
    rows = measure_rows(folders[0], *codecs, *images, "--device", device, "--timing")
    rows_of_several = measure_rows(folders[1], *codecs, *images, "--device", device)
    equal_rows = len(
        rows_of_several.join(rows, on=("cell", "stream_sha256", "decoded_sha256", "psnr_db"))
    )
    seconds = rows.group_by("variant", maintain_order=True).agg(
        pl.median("encode_seconds", "decode_seconds")
    )
    levels = _levels(folders[0], rows, (device, peer))
    parts = [
        f"{variant} {encode:.3f} and {decode:.3f} s" for variant, encode, decode in seconds.rows()
    ]
    parts += [f"{equal_rows} of {len(rows_of_several)} rows of several workers equal"]
    parts += [f"{levels.count(0)} of {len(levels)} streams identical, others {max(levels)} apart"]
    is_decodable = bool(levels) and max(levels) <= MAX_LEVELS
    return Result(", ".join(parts), passed=is_decodable and equal_rows == len(rows_of_several))


def _levels(folder: Path, rows: pl.DataFrame, devices: tuple[str, str]) -> list[int]:
    """Return each stream's largest difference between pixels of two devices; 255 if one fails."""
    (store,) = (Store(rows_folder.parent) for rows_folder in folder.glob("*/per_image"))
    differences = []
    for (codec, variant), codec_rows in rows.group_by("codec", "variant", maintain_order=True):
        spec = CodecSpec.parse(codec, variant)
        streams = [
            (digest, store.stream(digest)) for digest in codec_rows["stream_sha256"].unique()
        ]
        first, second = (
            {name: pixels for name, _, pixels in filter(None, decode_all(spec, streams, device, 1))}
            for device in devices
        )
        for name, pixels in first.items():
            are_arrays = isinstance(pixels, np.ndarray) and isinstance(second[name], np.ndarray)
            difference = int(np.abs(pixels.astype(int) - second[name]).max()) if are_arrays else 255
            differences.append(difference)
    return differences


def metrics(conditions: Conditions) -> Cells:
    """Compare values of metrics and features with the CPU's, and times with packages'."""
    for name in dict.fromkeys((*FIRST_METRICS, *METRICS, *FEATURE_SPACES)):
        function = _metric if name in METRICS else _features
        yield name, partial(function, conditions, name)


def _metric(conditions: Conditions, name: str) -> Result:
    metric, reference = (metric_class(name)(device) for device in (conditions.device, "cpu"))
    differences = []
    for pixels in conditions.images(2):
        decoded = JPEG().decode(JPEG().encode(pixels, Setting("quality", 30)))
        prepared = metric.prepare(pixels)
        expected = reference.compare(reference.prepare(pixels), decoded)
        differences.append((metric.compare(prepared, decoded) - expected) / (abs(expected) or 1.0))
    calls, note = {"ours": lambda: metric.compare(prepared, decoded)}, ""
    try:
        if peer := _package(name, conditions.device):
            calls["package"] = lambda: float(peer(_tensor(decoded), _tensor(pixels)))
    except ImportError as error:
        note = f", no package: {error}"
    relative_error = float(np.abs(differences).max())  # the maximum of NaN is NaN
    seconds = 0 if conditions.small else 0.5
    ms = {
        key: 1e3 / calls_per_second(call, conditions.device, seconds) for key, call in calls.items()
    }
    times = ", ".join(f"{key} {value:.1f} ms" for key, value in ms.items())
    text = f"{relative_error:.1e} off, {times}"
    numbers = {"off": relative_error} | {f"{key}_ms": value for key, value in ms.items()}
    return Result(text + note, relative_error <= TOLERANCE, numbers=numbers)


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()


def _package(name: str, device: str) -> Callable[..., Any] | None:
    # returns a package's function of two images in 0..255, with random weights; None if it has none
    nets = {"lpips": "alex", "lpips_squeeze": "squeeze", "lpips_vgg": "vgg"}
    if name == "ms_ssim":
        from pytorch_msssim import ms_ssim

        return lambda *images: ms_ssim(*(image.to(device) for image in images), data_range=255)
    if name not in nets:
        return None
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchvision's, about how lpips calls it
        network = LPIPS(net=nets[name], pnet_rand=True, verbose=False).eval().to(device)

    def distance(*images: torch.Tensor) -> Any:
        with torch.inference_mode():
            return network(*(image.to(device) / 127.5 - 1 for image in images))

    return distance


def _features(conditions: Conditions, name: str) -> Result:
    """Measure patches per second, and the difference from features computed on the CPU."""
    side = 16 if conditions.small else 64
    coarse = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    pixels = coarse.repeat(16, 0).repeat(16, 1)
    peer = FID if name == "inception256" else name
    expected = _space(peer, "cpu")(pixels[:256, :256])
    function = _space(name, conditions.device)
    values = function(pixels)
    errors = np.abs(values[: len(expected)] - expected)
    relative_error = float(errors.max() / np.abs(expected).max())
    calls = calls_per_second(
        lambda: function(pixels), conditions.device, 0 if conditions.small else 3
    )
    numbers = {"off": relative_error, "patches_per_s": calls * len(values)}
    passed = None if name == FID else relative_error <= TOLERANCE  # the package uses TF32
    return Result(
        "{:.1e} off, {:.0f} patches per second".format(*numbers.values()), passed, numbers=numbers
    )


def _space(name: str, device: str) -> Callable[[Pixels], Any]:
    # returns a function that computes an image's features, float32 (patches, features)
    if name != FID:
        space: Callable[[Pixels], Any] = metric_class(name)(device).features
        return space
    from pytorch_fid import inception

    with patch.object(inception, "load_state_dict_from_url", lambda *_, **__: inception_state()):
        network = inception.InceptionV3().eval().to(device)

    def features(pixels: Pixels) -> Any:
        patches = torch.from_numpy(np.stack(cut_patches(pixels, 256))).permute(0, 3, 1, 2)
        with torch.inference_mode():
            batches = [batch.float().div(255).to(device) for batch in torch.split(patches, 50)]
            return torch.cat([network(batch)[0].flatten(1).cpu() for batch in batches]).numpy()

    return features
