"""Measure the harness on a GPU: seconds of whole commands, and the GPU's utilisation in them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from statistics import fmean
from time import perf_counter
from typing import Any

import torch

from baselines.compressai.codec import find_matched
from baselines.neural.checkpoint import load_checkpoint
from benchmark.datasets.dataset import open_dataset
from benchmark.registry import metric_class
from tools.gpu.conditions import Cells, Conditions, make_untrained_codec, measure_rows, run_module
from tools.gpu.results import LOOPS, Result
from tools.gpu.training import crops_per_second

HYPERPRIOR = "bmshj2018-hyperprior"
TWO_METRICS, FIVE_METRICS = "psnr,ms_ssim", "psnr,ms_ssim,lpips,ssim,ssimulacra2"
TIME_FORMAT = "%Y/%m/%d %H:%M:%S.%f %z"  # of nvidia-smi, followed by the time zone
Busy = list[tuple[datetime, int]]  # (UTC time, utilisation in percent), five times a second


def harness(conditions: Conditions) -> Cells:
    """Measure `bench run`, CompressAI's evaluation, and training of the network `full`."""
    timed_run = partial(partial, _time_run, conditions)
    yield (
        "hyperprior 3",
        timed_run("hyperprior:weights=matched", TWO_METRICS, "compressai.quality=3"),
    )
    yield "eval_model, hyperprior 3", partial(_time_evaluation, conditions)
    yield "ours", timed_run("ours", f"{TWO_METRICS},lpips")
    yield "2,400 cells", timed_run("ours:beta=0", "psnr", "ours.q=0,1,2,3", 600)
    yield "elic, 2 megapixels", timed_run("elic", TWO_METRICS, "elic.level=2", 40)
    yield "full, 2 megapixels", timed_run("full", TWO_METRICS, "ours.q=2", 40)
    yield "full, 2 megapixels, five metrics", timed_run("full", FIVE_METRICS, "ours.q=2", 40)
    yield "full, rates, recorded", partial(crops_per_second, conditions, "full", 0)


def _time_run(
    conditions: Conditions, codec: str, metrics: str, points: str = "", pictures: int = 0
) -> Result:
    """Time `bench run`; the result has no numbers if a metric or the C loops are missing."""
    dataset = conditions.pictures(pictures) if pictures else conditions.dataset
    codec = make_untrained_codec(conditions, codec) if codec == "full" else codec
    settings = ("--points", points) if points else ()
    folder = conditions.scratch / "harness"
    shutil.rmtree(folder, ignore_errors=True)
    limit = ("--limit", "1") if conditions.small else ()
    request = ("--codecs", codec, *settings, "--metrics", metrics, "--dataset", dataset, *limit)
    with busy_shares(conditions.device) as busy:
        started = perf_counter()
        rows = measure_rows(folder, *request, "--device", conditions.device)
        seconds = perf_counter() - started
    ends = rows["finished_utc"].str.to_datetime(time_zone="UTC").sort().to_list()
    coding_seconds = (ends[-1] - ends[0]).total_seconds()
    numbers = {"whole_s": seconds, "after_start_s": coding_seconds}
    text = (
        f"{seconds:.1f} s, {coding_seconds:.1f} s from the first of {len(ends)} cells to the last"
    )
    columns = {name: metric_class(name).column for name in metrics.split(",")}
    missing_parts = [name for name, column in columns.items() if rows[column].null_count()]
    missing_parts += [] if find_spec(LOOPS) else ["loops in C"]
    if coding_shares := [share for time, share in busy if ends[0] <= time <= ends[-1]]:
        numbers["busy_percent"] = fmean(coding_shares)
        text += f", card busy {numbers['busy_percent']:.0f} %"
    if len(ends) == 2400:  # compare cells 25 to 240 with later cells
        cell_times = (ends[239] - ends[23]) / 216, (ends[-1] - ends[239]) / 2160
        numbers["late_over_early"] = cell_times[1] / cell_times[0]
        text += ", {:.1f} and {:.1f} ms a cell".format(
            *(1e3 * durations.total_seconds() for durations in cell_times)
        )
    if missing_parts:
        return Result(f"{text}, without {', '.join(missing_parts)}")
    return Result(text, numbers=numbers)


def _time_evaluation(conditions: Conditions) -> Result:
    """Time CompressAI's `eval_model` with the network of `hyperprior 3`."""
    folder = conditions.scratch / "evaluated"
    codec: Any = load_checkpoint(find_matched(HYPERPRIOR, "mse")[3]).network
    device_option = ("--cuda",) if conditions.device == "cuda" else ()
    durations = []
    for count in (1, 24):  # the run on one image measures mostly the start
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        torch.save(codec.codec.state_dict(), folder / "hyperprior.tar.pth")
        images = open_dataset(conditions.dataset).images[: 1 if conditions.small else count]
        for number, image in enumerate(images):
            shutil.copy(image.path, folder / f"{number}{image.path.suffix}")
        arguments = ("-a", HYPERPRIOR, "-p", folder / "hyperprior.tar.pth", *device_option)
        started = perf_counter()
        run_module("compressai.utils.eval_model", "checkpoint", folder, *arguments)
        durations.append(perf_counter() - started)
    numbers = {"whole_s": durations[1], "after_start_s": durations[1] - durations[0]}
    return Result("{1:.1f} s, of one image {0:.1f} s".format(*durations), numbers=numbers)


@contextmanager
def busy_shares(device: str) -> Iterator[Busy]:
    """Collect utilisation of the first GPU by nvidia-smi; the list is filled at the end."""
    shares: Busy = []
    if device != "cuda" or not shutil.which("nvidia-smi"):
        yield shares
        return
    output_options = "--format=csv,noheader,nounits", "-lms", "200"
    query = ("nvidia-smi", "--id=0", "--query-gpu=timestamp,utilization.gpu", *output_options)
    utc_environment = {**os.environ, "TZ": "UTC"}
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True, env=utc_environment) as process:
        try:
            yield shares
        finally:
            process.terminate()
            assert process.stdout is not None
            for line in process.stdout:
                time, _, share = line.strip().partition(", ")
                if share.isdigit():
                    shares.append((datetime.strptime(f"{time} +0000", TIME_FORMAT), int(share)))
