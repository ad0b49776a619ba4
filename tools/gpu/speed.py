"""Speed on a GPU: crops per second of the trainer; whole commands, and how busy the card is."""

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image

from baselines.compressai.codec import find_matched
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.training.photographs import Photographs, pack
from baselines.neural.training.recipe import Recipe, load_recipe
from baselines.neural.training.run import Run
from baselines.neural.training.trainer import Learner, stage_costs
from benchmark.datasets.dataset import open_dataset
from benchmark.registry import metric_class
from tools.gpu.conditions import Cells, Conditions, Result, per_second, printed, rows_of, untrained

LOSSES_APART = 1e-3  # of their size: sums of a GPU differ in their order
HYPERPRIOR = "bmshj2018-hyperprior"
TWO, FIVE = "psnr,ms_ssim", "psnr,ms_ssim,lpips,ssim,ssimulacra2"
TIME = "%Y/%m/%d %H:%M:%S.%f %z"  # as nvidia-smi has it, and the zone
Busy = list[tuple[datetime, int]]  # percent, five times a second, UTC


def training(conditions: Conditions) -> Cells:
    """Crops per second of the recipe `lease`: recorded steps, and each step anew."""
    rates = [(size, 0, "recorded") for size in ("mini", "small", "full")]
    realism = [("small", 1, manner) for manner in ("recorded", "--no-graph")]
    for size, index, manner in [*rates, *realism, ("mini", 0, "--no-graph")]:
        kind = "realism" if index else "rates"
        yield f"{size}, {kind}, {manner}", partial(_trained, conditions, size, index, manner)
    for index, (kind, steps) in enumerate({"rates": 200, "realism": 50}.items()):
        yield f"losses of {kind}", partial(_losses, conditions, index, steps)


def _recipe(conditions: Conditions, size: str, index: int, manner: str, **changes: Any) -> Recipe:
    recipe = load_recipe("lease")
    small: dict[str, Any] = {"batch": 5, "crop_px": 64} if conditions.small else {}
    stages = (replace(recipe.stages[index], steps=1_000_000, **small),) * (index + 1)
    size = "tiny" if conditions.small else size
    return replace(recipe, sizes=size, stages=stages, **changes)


def _run(recipe: Recipe) -> Run:
    return Run(Path(), Path(), recipe)


def _photographs() -> Photographs:
    return pack([*np.random.default_rng(0).integers(0, 256, (8, 512, 768, 3), np.uint8)])


def _learner(conditions: Conditions, recipe: Recipe, index: int, manner: str) -> Learner:
    torch.manual_seed(0)
    layout: Any = {"memory_format": torch.channels_last}  # as the trainer has it
    network = _run(recipe).build().to(conditions.device, **layout)
    graph = manner != "--no-graph"
    return Learner(network, recipe, index, _photographs(), graph=graph)


def _trained(conditions: Conditions, size: str, index: int, manner: str) -> Result:
    recipe, gpu = _recipe(conditions, size, index, manner), conditions.device == "cuda"
    foreseen: Any = None
    if (size, manner) == ("mini", "recorded"):  # as `bench train --check` foresees it
        (foreseen,) = stage_costs(_run(recipe), conditions.device, _photographs())
    gc.collect()
    learner = _learner(conditions, recipe, index, manner)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(1 if conditions.small else 8):  # some of which are of maps, and never recorded
        learner.update()
    rate = per_second(learner.update, conditions.device, 0 if conditions.small else 5)
    memory = torch.cuda.max_memory_allocated() if gpu else 0
    numbers = {"crops_per_s": rate * recipe.stages[index].batch}
    shown = f"{numbers['crops_per_s']:.0f} crops per second"
    shown += f", {memory / 2**30:.2f} GiB" if memory else ""
    if foreseen:
        numbers["foreseen_s_off"] = abs(foreseen.seconds * rate - 1)
        shown += f", foreseen {1 / foreseen.seconds:.3g} of {rate:.3g} steps per second"
    if foreseen and memory:
        numbers["foreseen_bytes_off"] = abs(foreseen.memory_bytes / memory - 1)
        shown += f", {foreseen.memory_bytes / 2**30:.2f} GiB"
    return Result(shown, numbers=numbers)


def _losses(conditions: Conditions, index: int, steps: int) -> Result:
    """Compare losses of recorded steps, in float32, with those of `--no-graph`."""
    losses = []
    for manner in ("recorded", "--no-graph"):
        recipe = _recipe(conditions, "micro", index, manner, autocast=False)
        learner = _learner(conditions, recipe, index, manner)
        updates = [learner.update() for _ in range(2 if conditions.small else steps)]
        losses.append([update.numbers["loss"] for update in updates])
    apart = float(np.max(np.abs(np.divide(losses[0], losses[1]) - 1)))
    return Result(f"{apart:.1e} apart in {len(losses[0])} steps", passed=apart <= LOSSES_APART)


def harness(conditions: Conditions) -> Cells:
    """Whole commands, and how busy they keep the card; CompressAI's evaluation beside them."""
    ran = partial(partial, _ran, conditions)
    yield "hyperprior 3", ran("hyperprior:weights=matched", TWO, "compressai.quality=3")
    yield "eval_model, hyperprior 3", partial(_evaluated, conditions)
    yield "ours", ran("ours", f"{TWO},lpips")
    yield "2,400 cells", ran("ours:beta=0", "psnr", "ours.q=0,1,2,3", 600)
    yield "elic, 2 megapixels", ran("elic", TWO, "elic.level=2", 40)
    yield "full, 2 megapixels", ran("full", TWO, "ours.q=2", 40)
    yield "full, 2 megapixels, five metrics", ran("full", FIVE, "ours.q=2", 40)


def _pictures(conditions: Conditions, count: int) -> Path:
    """Return a folder of 40 pictures of 2 megapixels, or of more of 256 px, made of the images."""
    height, width = (1224, 1632) if count == 40 and not conditions.small else (256, 256)
    images, folder = conditions.images(24), conditions.scratch / f"pictures-{count}"
    folder.mkdir(exist_ok=True)
    for number in range(1 if conditions.small else count):
        moved = np.roll(images[number % len(images)], 37 * number, (0, 1))
        whole = np.tile(moved, (-(-height // moved.shape[0]), -(-width // moved.shape[1]), 1))
        picture = Image.fromarray(whole[:height, :width])
        picture.save(folder / f"{number:03}.png", compress_level=1)
    return folder


def _ran(
    conditions: Conditions, codec: str, metrics: str, points: str = "", pictures: int = 0
) -> Result:
    dataset = _pictures(conditions, pictures) if pictures else conditions.dataset
    codec = untrained(conditions, codec) if codec == "full" else codec
    chosen = ("--points", points) if points else ()
    folder = conditions.scratch / "harness"
    shutil.rmtree(folder, ignore_errors=True)
    limit = ("--limit", "1") if conditions.small else ()
    asked = ("--codecs", codec, *chosen, "--metrics", metrics, "--dataset", dataset, *limit)
    with busy_shares(conditions.device) as busy:
        started = perf_counter()
        rows = rows_of(folder, *asked, "--device", conditions.device)
        seconds = perf_counter() - started
    ends = rows["finished_utc"].str.to_datetime(time_zone="UTC").sort().to_list()
    after = (ends[-1] - ends[0]).total_seconds()
    numbers = {"whole_s": seconds, "after_start_s": after}
    shown = f"{seconds:.1f} s, {after:.1f} s from the first of {len(ends)} cells to the last"
    columns = {name: metric_class(name).column for name in metrics.split(",")}
    if lacks := [name for name, column in columns.items() if rows[column].null_count()]:
        shown += f", without {', '.join(lacks)}"
    if between := [share for at, share in busy if ends[0] <= at <= ends[-1]]:
        numbers["busy_percent"] = fmean(between)
        shown += f", card busy {numbers['busy_percent']:.0f} %"
    if len(ends) == 2400:  # cells 24 to 240, and those after them
        each = (ends[239] - ends[23]) / 216, (ends[-1] - ends[239]) / 2160
        numbers["late_over_early"] = each[1] / each[0]
        shown += ", {:.1f} and {:.1f} ms a cell".format(
            *(1e3 * took.total_seconds() for took in each)
        )
    return Result(shown, numbers=numbers)


def _evaluated(conditions: Conditions) -> Result:
    """Run CompressAI's own evaluation with the network that `hyperprior 3` is measured with."""
    folder = conditions.scratch / "evaluated"
    codec: Any = load_checkpoint(find_matched(HYPERPRIOR, "mse")[3]).network
    cuda = ("--cuda",) if conditions.device == "cuda" else ()
    took = []
    for most in (1, 24):  # the time of one image is the start's
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        torch.save(codec.codec.state_dict(), folder / "hyperprior.tar.pth")
        images = open_dataset(conditions.dataset).images[: 1 if conditions.small else most]
        for number, image in enumerate(images):
            shutil.copy(image.path, folder / f"{number}{image.path.suffix}")
        which = ("-a", HYPERPRIOR, "-p", folder / "hyperprior.tar.pth", *cuda)
        started = perf_counter()
        printed("compressai.utils.eval_model", "checkpoint", folder, *which)
        took.append(perf_counter() - started)
    numbers = {"whole_s": took[1], "after_start_s": took[1] - took[0]}
    return Result("{1:.1f} s, of one image {0:.1f} s".format(*took), numbers=numbers)


@contextmanager
def busy_shares(device: str) -> Iterator[Busy]:
    """Collect how busy the first GPU is, by nvidia-smi."""
    shares: Busy = []
    if device != "cuda" or not shutil.which("nvidia-smi"):
        yield shares
        return
    every = "--format=csv,noheader,nounits", "-lms", "200"
    query = ("nvidia-smi", "--id=0", "--query-gpu=timestamp,utilization.gpu", *every)
    in_utc = {**os.environ, "TZ": "UTC"}
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True, env=in_utc) as process:
        try:
            yield shares
        finally:
            process.terminate()
            assert process.stdout is not None
            for line in process.stdout:
                at, _, share = line.strip().partition(", ")
                if share.isdigit():
                    shares.append((datetime.strptime(f"{at} +0000", TIME), int(share)))
