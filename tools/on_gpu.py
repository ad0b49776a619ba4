"""Measure on a GPU what a CPU cannot show; write the table of docs/experiments/gpu.md.

    tools/on_gpu.sh                                   every part
    tools/on_gpu.sh --only coding,metrics             these parts
    tools/on_gpu.sh --device cpu --small --out try    try the parts, without a GPU
    tools/on_gpu.sh --only exchange --carried FOLDER  also decode packs of another machine

Parts come in the order of what they tell, each with its share of `--minutes`. Results are in
.work/gpu/results.json (`--out`); the same command measures what is missing. Exit code 1 if a claim
does not hold or a measurement is missing, 2 without a usable GPU.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from time import monotonic, perf_counter
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from baselines.compressai.weights import find_matched
from baselines.crdr import CRDR
from baselines.jpeg import JPEG
from baselines.neural.architecture import load_architecture
from baselines.neural.card import Card, load_card
from baselines.neural.checkpoint import load_checkpoint, make_checkpoint
from baselines.neural.checkpoint_codec import BUNDLED
from baselines.neural.network import to_images
from baselines.neural.training.learner import Learner
from baselines.neural.training.photographs import pack
from baselines.neural.training.recipe import load_recipe
from baselines.neural.training.run import Subject
from baselines.neural.training.workers import Workers
from benchmark.api.codec import run
from benchmark.codec import Codec, Pixels, Setting
from benchmark.datasets.dataset import open_dataset
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError, NotMeasurable, Unavailable, UsageError
from benchmark.measure import local
from benchmark.metrics import feature_spaces
from benchmark.plugins import one_line
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.spec import load_codec, parse_codec, resolve
from benchmark.system.atomic import write_file
from benchmark.system.machine import commit, machine
from benchmark.system.settings import isolated, use_device

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "experiments" / "gpu.md"
MARKS = "<!-- measured -->", "<!-- end -->"  # of the page's part that is written here
PACKAGES = ("torch", "compressai", "pytorch-fid", "numpy", "constriction")
SIZES = ("micro", "mini", "small", "full")
TOLERANCE = 1e-5
LOSSES_APART = 1e-3  # of their size: sums of a GPU differ in their order
HYPERPRIOR = "bmshj2018-hyperprior"
TESTS = (
    *("tests/device/test_training.py", "tests/device/test_coding.py"),
    "tests/device/test_metrics.py",
)


class Result(NamedTuple):
    """Outcome of a measurement, as the page shows it; `passed` is None where nothing is claimed."""

    shown: str
    passed: bool | None = None
    absent: bool = False  # nothing was measured, for the reason shown


Cells = Iterator[tuple[str, Callable[[], Result]]]


@dataclass(frozen=True)
class Conditions:
    """Folder, device and size of the measurements; `small` only tries them."""

    out: Path
    device: str
    small: bool
    carried: Path | None = None

    @cached_property
    def dataset(self) -> str:
        """Return Kodak where its images are, else the bundled sample."""
        try:
            return "sample" if self.small else str(open_dataset("kodak").name)
        except Unavailable:
            return "sample"

    def images(self, most: int | None = None) -> Iterator[Pixels]:
        """Yield the pixels of the images; of one crop in a small run."""
        for image in islice(open_dataset(self.dataset).images, 1 if self.small else most):
            pixels = read_image(image.path).pixels
            yield np.ascontiguousarray(pixels[:256, :272]) if self.small else pixels

    def weights_dir(self) -> Path | None:
        """Return a folder with an untrained network of size `tiny`, for a small run."""
        if not self.small:
            return None
        write_untrained(self.out / "weights" / "ours.safetensors", "tiny")
        return self.out / "weights"

    def described(self) -> dict[str, Any]:
        """Return machine, versions and kind of the run."""
        gpu = self.device == "cuda"
        return {
            "device": torch.cuda.get_device_name() if gpu else "a CPU in place of a GPU",
            "machine": machine(),
            "versions": {"CUDA": torch.version.cuda}
            | {name: version(name) for name in PACKAGES if find_spec(name.replace("-", "_"))},
            "commit": (commit() or "unknown").removesuffix("-dirty"),
            "images": f"{self.dataset}, one crop" if self.small else self.dataset,
        }


def synchronise(device: str) -> None:
    """Wait until the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def write_untrained(path: Path, size: str) -> None:
    """Write a checkpoint of seeded weights, fitted to two crops as a training run begins."""
    if path.exists():
        return
    architecture = load_architecture("crdr")
    config = architecture.presets[size]
    torch.manual_seed(0)
    network: Any = architecture.build(config)
    whole = [read_image(image.path).pixels for image in open_dataset("sample").images[:2]]
    crops = [pixels[:256, :256].copy() for pixels in whole]
    images = torch.cat([to_images(crop, torch.device("cpu")) for crop in crops])
    architecture.initialise(network, images, [0.05] * architecture.rate_levels(config))
    card = Card("crdr", config, "two crops of the sample", 0, "untrained", "0")
    path.parent.mkdir(parents=True, exist_ok=True)
    make_checkpoint(path, network, card, crops, half=True)


class Network(NamedTuple):
    """A codec that is measured; `crosses`: its streams are to decode on the other device."""

    name: str
    make: Callable[[str], Codec]  # for a device
    settings: Sequence[Setting]
    crosses: bool = True


def networks(conditions: Conditions) -> Iterator[Network]:
    """Yield `ours` in every size, bundled or untrained, and a hyperprior of CompressAI's."""
    presets = load_architecture("crdr").presets
    trained = {load_card(path).config: path for path in BUNDLED.glob("ours*.safetensors.*")}
    for size in ("tiny",) if conditions.small else SIZES:
        path = trained.get(presets[size])
        name = size if path else f"{size} (untrained)"
        settings = [Setting("q", q) for q in ((0, 2, 4) if path else (2,))]
        file = path or conditions.out / "weights" / f"{size}.safetensors"
        yield Network(name, partial(_ours, file, size), settings)
    if not conditions.small:
        settings = [Setting("quality", quality) for quality in (1, 3)]
        yield Network("hyperprior:weights=matched", _hyperprior, settings, crosses=False)


@isolated
def _ours(path: Path, size: str, device: str) -> Codec:
    write_untrained(path, size)
    use_device(device)
    return CRDR(beta=0, checkpoint=str(path))


@isolated
def _hyperprior(device: str) -> Codec:
    (spec,) = resolve(parse_codec("hyperprior:weights=matched"))
    use_device(device)
    made: Codec = load_codec(spec)
    return made


def suite(conditions: Conditions) -> Cells:
    """Every test with the marker `device` passes."""
    for name in TESTS[-1:] if conditions.small else TESTS:
        yield name, partial(_tests, name)


def _tests(name: str) -> Result:
    command = [sys.executable, "-m", "pytest", "-q", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Result(done.stdout.strip().rpartition("\n")[2], passed=not done.returncode)


def coding(conditions: Conditions) -> Cells:
    """A stream of either device decodes on both, to pictures within one level."""
    for network in networks(conditions):
        yield network.name, partial(_coded, conditions, network)


def _coded(conditions: Conditions, network: Network) -> Result:
    codecs = [network.make(device) for device in (conditions.device, "cpu")]
    streams, same, levels, bytes_differ, wrong = 0, 0, 0, 0.0, 0
    for pixels in conditions.images():
        for setting in network.settings:
            made = [codec.encode(pixels, setting) for codec in codecs]
            equal = made[0] == made[1]
            if network.crosses:
                pairs = [[codec.decode(data) for codec in codecs] for data in dict.fromkeys(made)]
            else:
                pairs = [[codec.decode(data) for codec, data in zip(codecs, made, strict=True)]]
            most = max(int(np.abs(first.astype(int) - second).max()) for first, second in pairs)
            streams, same, levels = streams + 1, same + equal, max(levels, most)
            bytes_differ = max(bytes_differ, abs(len(made[0]) / len(made[1]) - 1))
            wrong += most > 1 and (network.crosses or equal)
    return Result(
        f"{same} of {streams} streams equal, bytes within {100 * bytes_differ:.2f} %, pictures "
        f"within {levels} levels",
        passed=not wrong,
    )


def metrics(conditions: Conditions) -> Cells:
    """Metrics agree to 1e-5 of their value, features to 1e-5 of the largest one."""
    for name in (*METRICS, *FEATURE_SPACES):
        yield name, partial(_metric, conditions, name)


def _metric(conditions: Conditions, name: str) -> Result:
    largest = 0.0
    made = [metric_class(name)(device) for device in (conditions.device, "cpu")]
    for pixels in conditions.images():
        decoded = JPEG().decode(JPEG().encode(pixels, Setting("quality", 30)))
        if name in FEATURE_SPACES:
            gpu, cpu = (space.features(decoded).astype(float) for space in made)
        else:
            gpu, cpu = (
                np.array([metric.compare(metric.prepare(pixels), decoded)]) for metric in made
            )
        difference = float(np.abs(gpu - cpu).max()) / (float(np.abs(cpu).max()) or 1.0)
        largest = max(largest, difference if np.isfinite(difference) else np.inf)
    return Result(f"{largest:.1e}", passed=largest <= TOLERANCE)


def exchange(conditions: Conditions) -> Cells:
    """Streams and packs of one device decode on the other by `bench audit`, within one level."""
    for made, other in dict.fromkeys([(conditions.device, "cpu"), ("cpu", conditions.device)]):
        for kind, decode in (("rows", _rows_decoded), ("pack", _pack_decoded)):
            yield f"{made} to {other}, {kind}", partial(decode, conditions, made, other)
    for path in sorted(conditions.carried.glob("*.tar")) if conditions.carried else ():
        yield f"carried here: {path.name}", partial(_audited, conditions, path, conditions.device)


def _coded_on(conditions: Conditions, device: str) -> Path:
    codecs = ["ours:beta=0", "ours:beta=0:exact=1"]
    return _measured(conditions, conditions.out / "exchange" / device, device, codecs, 3)


def _rows_decoded(conditions: Conditions, made: str, other: str) -> Result:
    options = ("--device", other, "--levels", 1, "--json")
    printed = _bench(conditions, "audit", "decode", _coded_on(conditions, made), *options)
    names = ("identical", "within", "different", "not decodable")
    counts = {name: sum(row[name] for row in json.loads(printed)["table"]) for name in names}
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Result(shown, passed=counts["identical"] + counts["within"] == sum(counts.values()) > 0)


def _pack_decoded(conditions: Conditions, made: str, other: str) -> Result:
    pack_file = conditions.out / "carry" / f"{made}.tar"
    pack_file.parent.mkdir(parents=True, exist_ok=True)
    pack_file.unlink(missing_ok=True)
    results = ("--results", _coded_on(conditions, made))
    _bench(conditions, "pack", "export", pack_file, "--codecs", "ours:beta=0:exact=1", *results)
    return _audited(conditions, pack_file, other)


def _audited(conditions: Conditions, pack_file: Path, device: str) -> Result:
    options = ("--metrics", "psnr", "--device", device, "--dataset", conditions.dataset, "--json")
    audit = json.loads(_bench(conditions, "audit", "pack", pack_file, *options))
    identical = not audit["wrong"] and audit["decoded"] == audit["streams"] > 0
    return Result(f"{audit['decoded']} of {audit['streams']} streams identical", identical)


def _bench(conditions: Conditions, *words: object) -> str:
    folder = conditions.weights_dir()
    weights = ("--weights-dir", folder) if folder and words[0] == "audit" else ()
    command = [sys.executable, "-m", "benchmark", *map(str, (*words, *weights))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or "bench printed nothing")
    return done.stdout


def _measured(
    conditions: Conditions, folder: Path, device: str, codecs: list[str], limit: int, jobs: int = 1
) -> Path:
    """Measure the first images, unless that is done, and return the folder of results."""
    done = run(
        codecs,
        conditions.dataset,
        metrics=("psnr", "ms_ssim"),
        points={"ours.q": [1.0, 3.0]},
        limit=1 if conditions.small else limit,
        results=folder,
        jobs=jobs,
        device=device,
        weights_dir=conditions.weights_dir(),
    )
    if done.failures:
        raise RuntimeError(f"{done.failures[0].cell}: {done.failures[0].reason}")
    columns = ("image", "setting_value", "stream_sha256", "decoded_sha256", "psnr_db", "ms_ssim")
    rows = sorted([row[name] for name in columns] for row in done.rows.rows(named=True))
    write_file(folder / "compared.json", json.dumps(rows))
    return folder


def workers(conditions: Conditions) -> Cells:
    """Rows of two and of four workers have the streams, pixels and metrics of one worker's."""
    for count in (1, 2, 4):
        yield f"{count} workers", partial(_by_workers, conditions, count)


def _by_workers(conditions: Conditions, count: int) -> Result:
    folders = {jobs: conditions.out / "workers" / str(jobs) for jobs in (count, 1)}
    shutil.rmtree(folders[count], ignore_errors=True)
    took, rows = [], []
    for jobs, folder in folders.items():
        started = perf_counter()
        with patch.multiple(local, USUAL_WORKERS=jobs, MOST_WORKERS=jobs, WORKER_BYTES=1):
            _measured(conditions, folder, conditions.device, ["ours:beta=0"], 8, jobs)
        took.append(perf_counter() - started)
        rows.append(json.loads((folder / "compared.json").read_text()))
    shown = f"{len(rows[0])} rows, {took[0]:.1f} s"
    return Result(shown, passed=rows[0] == rows[-1] != [])


def seconds(conditions: Conditions) -> Cells:
    """Seconds of encoding and decoding: medians of one call an image, after one to warm up."""
    for device in dict.fromkeys((conditions.device, "cpu")):
        for network in networks(conditions):
            yield f"{network.name}, {device}", partial(_timed, conditions, network, device)


def _timed(conditions: Conditions, network: Network, device: str) -> Result:
    codec = network.make(device)
    images = list(conditions.images(5))
    setting = network.settings[len(network.settings) // 2]
    codec.decode(codec.encode(images[0], setting))
    took: list[tuple[float, float]] = []
    for pixels in images:
        synchronise(device)
        started = perf_counter()
        stream = codec.encode(pixels, setting)
        synchronise(device)
        encoded = perf_counter()
        codec.decode(stream)
        synchronise(device)
        took.append((encoded - started, perf_counter() - encoded))
    encode, decode = (median(column) for column in zip(*took, strict=True))
    return Result(f"{encode:.3f} s and {decode:.3f} s, {len(images)} images")


def _repeated(step: Callable[[], object], device: str, least_seconds: float) -> float:
    """Return calls per second, over at least some seconds after one call to warm up."""
    step()
    synchronise(device)
    started, calls = perf_counter(), 0
    while not calls or perf_counter() - started < least_seconds:
        step()
        calls += 1
        if calls % 10 == 0:
            synchronise(device)  # the queue must not outgrow the seconds
    synchronise(device)
    return calls / (perf_counter() - started)


def frechet(conditions: Conditions) -> Cells:
    """Patches of 256 px per second: `inception256` beside pytorch-fid, with random weights."""
    for name in ("ours", "pytorch-fid"):
        yield name, partial(_features, conditions, name, conditions.device)


def _features(conditions: Conditions, name: str, device: str) -> Result:
    side = 256 if conditions.small else 1024
    coarse = np.random.default_rng(0).integers(0, 256, (side // 16, side // 16, 3), np.uint8)
    pixels = coarse.repeat(16, 0).repeat(16, 1)
    peer = _feature_function(conditions, "pytorch-fid", "cpu")
    function = _feature_function(conditions, name, device)
    values, expected = function(pixels), peer(pixels[:256, :256])
    rate = _repeated(lambda: function(pixels), device, 0 if conditions.small else 4)
    difference = np.abs(values[: len(expected)] - expected).max() / np.abs(expected).max()
    return Result(f"{rate * len(values):.0f} patches per second, {difference:.1e} off")


def _feature_function(conditions: Conditions, name: str, device: str) -> Callable[[Pixels], Any]:
    """Return a function from an image to the features of its patches, float32 (patches, 2048)."""
    import torchvision
    from pytorch_fid import inception

    path = conditions.out / "inception" / feature_spaces.INCEPTION_FILE
    if not path.exists():
        torch.manual_seed(0)
        with (
            patch.object(torchvision.models.Inception3, "load_state_dict", lambda *_: None),
            patch.object(inception, "load_state_dict_from_url", lambda *_, **__: {}),
        ):
            state = inception.fid_inception_v3().state_dict()
        for tensor in (tensor for tensor in state.values() if tensor.dim() == 4):
            torch.nn.init.normal_(tensor, std=(2 / tensor[0].numel()) ** 0.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path)
    if name == "ours":
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with (
            patch.dict(os.environ, {"BENCH_WEIGHTS": str(path.parent)}),
            patch.object(feature_spaces, "INCEPTION_SHA256", digest),
        ):
            return feature_spaces.Inception256(device).features
    state = torch.load(path, weights_only=True)
    with patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        network = inception.InceptionV3().eval().to(device)

    def features(pixels: Pixels) -> Any:
        patches = torch.from_numpy(np.stack(feature_spaces.cut_patches(pixels, 256)))
        with torch.inference_mode():
            batches = (
                batch.permute(0, 3, 1, 2).float().div(255).to(device) for batch in patches.split(50)
            )
            return torch.cat([network(batch)[0].flatten(1).cpu() for batch in batches]).numpy()

    return features


def training(conditions: Conditions) -> Cells:
    """Crops per second of the recipe `lease`: recorded steps, compiled ones, each step anew."""
    manners = ("recorded", "--no-graph")
    rates = [(size, 0, "recorded") for size in ("mini", "small", "full")]
    realism = [("small", 1, manner) for manner in manners]
    for size, index, manner in [
        *rates, ("mini", 0, "--no-graph"), *realism, ("mini", 0, "compiled"),
    ]:  # fmt: skip
        kind = "realism" if index else "rates"
        yield f"{size}, {kind}, {manner}", partial(_trained, conditions, size, index, manner)
    for index, kind in enumerate(("rates", "realism")):
        yield f"losses of {kind}", partial(_recorded_losses, conditions, index)


def _learner(
    conditions: Conditions, size: str, index: int, manner: str, **changes: Any
) -> tuple[Learner, int]:
    recipe = load_recipe("lease")
    small: dict[str, Any] = {"batch": 5, "crop_px": 64} if conditions.small else {}
    stage = replace(recipe.stages[index], steps=1_000_000, **small)
    size = "tiny" if conditions.small else size
    stages = (stage,) * (index + 1)
    compiled = manner == "compiled" and not conditions.small
    recipe = replace(recipe, sizes=size, compiled=compiled, stages=stages, **changes)
    noise = np.random.default_rng(0).integers(0, 256, (8, 512, 768, 3), np.uint8)
    torch.manual_seed(0)
    architecture, config = Subject(recipe.architecture).load(recipe.sizes)
    network = architecture.build(config).to(conditions.device)
    graph = manner != "--no-graph"
    return Learner(network, recipe, index, pack(noise), Workers(), graph=graph), stage.batch


def _trained(conditions: Conditions, size: str, index: int, manner: str) -> Result:
    learner, batch = _learner(conditions, size, index, manner)
    for _ in range(1 if conditions.small else 8):  # some of which are of maps, and never recorded
        learner.update()
    gpu = conditions.device == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    rate = _repeated(learner.update, conditions.device, 0 if conditions.small else 5)
    memory = f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if gpu else ""
    return Result(f"{rate * batch:.0f} crops per second{memory}")


def _recorded_losses(conditions: Conditions, index: int) -> Result:
    """Compare losses of recorded steps, in float32, with those of `--no-graph`."""
    steps, losses = 2 if conditions.small else 50, []
    for manner in ("recorded", "--no-graph"):
        learner, _ = _learner(conditions, "micro", index, manner, autocast=False)
        updates = [learner.update() for _ in range(steps)]
        losses.append([update.numbers["loss"] for update in updates])
    apart = float(np.max(np.abs(np.divide(losses[0], losses[1]) - 1)))
    return Result(f"{apart:.1e} apart in {steps} steps", passed=apart <= LOSSES_APART)


@contextmanager
def busy_shares(device: str) -> Iterator[list[int]]:
    """Collect how busy the first GPU is, in percent five times a second, by nvidia-smi."""
    shares: list[int] = []
    if device != "cuda" or not shutil.which("nvidia-smi"):
        yield shares
        return
    every = "--format=csv,noheader,nounits", "-lms", "200"
    query = ("--id=0", "--query-gpu=utilization.gpu", *every)
    with subprocess.Popen(["nvidia-smi", *query], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield shares
        finally:
            process.terminate()
            assert process.stdout is not None
            shares += [int(line) for line in process.stdout if line.strip().isdigit()]


def harness(conditions: Conditions) -> Cells:
    """Whole commands, with how busy the card was: `bench run` beside CompressAI's evaluation."""
    few, many = "psnr,ms_ssim", "psnr,ms_ssim,lpips,ssim,ssimulacra2"
    hyperprior = "hyperprior:weights=matched", "--points", "compressai.quality=3"
    yield "hyperprior 3", partial(_ran, conditions, few, *hyperprior)
    yield "eval_model, hyperprior 3", partial(_evaluated, conditions)
    yield "ours", partial(_ran, conditions, few, "ours")
    yield "ours, five metrics", partial(_ran, conditions, many, "ours")


def _ran(conditions: Conditions, metrics: str, codecs: str, *words: str) -> Result:
    folder = conditions.out / "harness"
    shutil.rmtree(folder, ignore_errors=True)
    limit = ("--limit", "1") if conditions.small else ()
    options = ("--dataset", conditions.dataset, "--device", conditions.device)
    asked = ("--codecs", codecs, *words, "--metrics", metrics, "--results", folder, *limit)
    return _timed_command(conditions, "benchmark", "run", *asked, *options)


def _evaluated(conditions: Conditions) -> Result:
    """Run CompressAI's own evaluation with the network that the cell before is measured with."""
    folder = conditions.out / "evaluated"
    folder.mkdir(parents=True, exist_ok=True)
    codec: Any = load_checkpoint(find_matched(HYPERPRIOR, "mse", whole=False)[3]).network
    torch.save(codec.codec.state_dict(), folder / "hyperprior.tar.pth")
    for number, image in enumerate(open_dataset(conditions.dataset).images):
        if not conditions.small or not number:
            shutil.copy(image.path, folder / f"{number}{image.path.suffix}")
    cuda = ("--cuda",) if conditions.device == "cuda" else ()
    which = ("-a", HYPERPRIOR, "-p", folder / "hyperprior.tar.pth", *cuda)
    return _timed_command(conditions, "compressai.utils.eval_model", "checkpoint", folder, *which)


def _timed_command(conditions: Conditions, module: str, *words: object) -> Result:
    command = [sys.executable, "-m", module, *map(str, words)]
    with busy_shares(conditions.device) as shares:
        started = perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        seconds = perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or "it said nothing")
    return Result(f"{seconds:.1f} s" + (f", card busy {fmean(shares):.0f} %" if shares else ""))


def scoring(conditions: Conditions) -> Cells:
    """Milliseconds of metrics for a decoded image, beside the packages whose values they give."""
    for name in ("ms_ssim", "lpips", "lpips_squeeze", "ssim", "ssimulacra2"):
        yield name, partial(_scored, conditions, name)


def _scored(conditions: Conditions, name: str) -> Result:
    (pixels,) = conditions.images(1)
    decoded = JPEG().decode(JPEG().encode(pixels, Setting("quality", 30)))
    metric = metric_class(name)(conditions.device)
    prepared = metric.prepare(pixels)
    functions = {"ours": lambda: metric.compare(prepared, decoded)}
    if peer := _package(name, conditions.device):
        functions["package"] = lambda: float(peer(_tensor(decoded), _tensor(pixels)))
    least = 0 if conditions.small else 1.5
    times = [
        f"{key} {1e3 / _repeated(call, conditions.device, least):.1f} ms"
        for key, call in functions.items()
    ]
    return Result(", ".join(times))


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()


def _package(name: str, device: str) -> Callable[..., Any] | None:
    """Return the package's function of two images in 0..255, LPIPS with random weights."""
    if name == "ms_ssim":
        from pytorch_msssim import ms_ssim

        return lambda *images: ms_ssim(*(image.to(device) for image in images), data_range=255)
    if name not in ("lpips", "lpips_squeeze"):
        return None
    from lpips import LPIPS

    net = "alex" if name == "lpips" else "squeeze"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision the old way
        network = LPIPS(net=net, pnet_rand=True, verbose=False).eval().to(device)

    def distance(*images: torch.Tensor) -> Any:
        with torch.inference_mode():
            return network(*(image.to(device) / 127.5 - 1 for image in images))

    return distance


# Parts with the share of the time that each has: what is not begun by then is cut short.
SHARES: Sequence[tuple[Callable[[Conditions], Cells], float]] = (
    *((training, 0.28), (harness, 0.24), (frechet, 0.07), (scoring, 0.05), (suite, 0.12)),
    *((workers, 0.08), (coding, 0.06), (metrics, 0.04), (exchange, 0.03), (seconds, 0.03)),
)
PARTS = {part.__name__: part for part, _ in SHARES}


def measure(conditions: Conditions, parts: Sequence[str], minutes: float) -> bool:
    """Measure what the results lack; return whether all is there and every claim holds."""
    path, described, started = conditions.out / "results.json", conditions.described(), monotonic()
    record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if record.get("described") != described:  # of another machine or version: not joined
        record = {"described": described, "parts": {}}
        shutil.rmtree(conditions.out / "exchange", ignore_errors=True)
    cut_short: list[str] = []
    record["cut short"] = cut_short
    shares = {part.__name__: share for part, share in SHARES}
    for part in parts:
        results = record["parts"].setdefault(part, {})
        begun, most = monotonic(), 60 * minutes
        for key, cell in PARTS[part](conditions):
            if key in results and "failed" not in results[key]:
                continue
            now = monotonic()
            over = now - started > most or now - begun > most * shares.get(part, 1)
            if over and not conditions.small:
                cut_short.append(part)
                break
            try:
                results[key] = cell()._asdict()
            except (Unavailable, NotMeasurable) as reason:
                results[key] = Result(f"absent: {reason}", absent=True)._asdict()
            except Exception as error:  # the failure of a measurement is its result
                results[key] = {"failed": one_line(error)}
            results[key]["seconds"] = round(monotonic() - now, 1)
            write_file(path, json.dumps(record, indent=1))
            print(f"{part}: {key}: {results[key].get('shown') or results[key]['failed']}")
    write_page(conditions, record)
    if cut_short:
        print(f"cut short: {', '.join(cut_short)}; the same command goes on")
    rows = [row for part in parts for row in record["parts"][part].values()]
    return not cut_short and all("failed" not in row and row["passed"] is not False for row in rows)


def write_page(conditions: Conditions, record: Mapping[str, Any]) -> None:
    """Write the page with the table; a CPU's table goes beside the results."""
    page = PAGE.read_text()
    target = PAGE if conditions.device == "cuda" else conditions.out / "gpu.md"
    first, last = map(re.escape, MARKS)
    written = re.sub(f"{first}.*{last}", lambda _: "\n".join(table(record)), page, flags=re.DOTALL)
    write_file(target, written)


def table(record: Mapping[str, Any]) -> list[str]:
    """Return the measured part of the page, between its marks."""
    described = record["described"]
    versions = ", ".join(f"{name} {number}" for name, number in described["versions"].items())
    lines = [
        *(MARKS[0], f"{described['device']}; {described['machine']}; {versions};"),
        *(f"commit {described['commit'][:12]}; images: {described['images']}.", ""),
        *("| part | measured |", "|---|---|"),
    ]
    for part, results in record["parts"].items():
        absent = [key for key, row in results.items() if row.get("absent")]
        cells = [_cell(key, row) for key, row in results.items() if key not in absent]
        cells += [f"absent: {', '.join(absent)}"] if absent else []
        cells += ["cut short"] if part in record["cut short"] else []
        lines.append(f"| {part} | {'; '.join(cells)} |")
    return [*lines, MARKS[1]]


def _cell(key: str, row: Mapping[str, Any]) -> str:
    shown = f"failed: {row['failed']}" if "failed" in row else row["shown"]
    return f"{key}: {shown}{' **does not hold**' if row.get('passed') is False else ''}"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="tools/on_gpu.sh", description="Measure on a GPU.")
    parser.add_argument("--out", type=Path, default=ROOT / ".work/gpu", help="folder of results")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="one crop and the smallest network")
    parser.add_argument("--carried", type=Path, help="folder of packs of another machine")
    parser.add_argument("--minutes", type=float, default=8, help="begin nothing after these")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    try:
        if unknown := [name for name in parts if name not in PARTS]:
            raise UsageError(f"--only {unknown[0]}: the parts are {', '.join(PARTS)}")
        if arguments.small and arguments.device != "cpu":
            raise UsageError("--small tries the parts themselves: add --device cpu")
        use_device(arguments.device)
    except BenchError as error:
        print(f"on_gpu: {error}", file=sys.stderr)
        return 2
    conditions = Conditions(
        arguments.out.resolve(), arguments.device, arguments.small, arguments.carried
    )
    conditions.out.mkdir(parents=True, exist_ok=True)
    return 0 if measure(conditions, parts, arguments.minutes) else 1


if __name__ == "__main__":
    sys.exit(main())
