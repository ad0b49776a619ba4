"""Pure functions that estimate how long cells take, and how much memory workers need."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from polars import col

from benchmark.codec import Setting
from benchmark.facts import Typical, facts_of
from benchmark.measure.cells import Cell, Task
from benchmark.metrics.metric import MAX_PIXELS_WITHOUT_BANDS
from benchmark.metrics.ms_ssim import KEPT_PIXELS
from benchmark.spec import CodecSpec

Basis = Literal["measured", "typical", "unknown"]
# (value of a setting, seconds per megapixel), ascending
TimeCurve = tuple[tuple[float, float], ...]
# Codec, its variant (or the typical times that several variants share), device, setting's name
CurveKey = tuple[str, str | tuple[Typical, ...], str, str]

GB = 1e9
BASE_BYTES = 125_000_000  # Python, numpy, and modules that workers load before the first cell
TORCH_BYTES = 350_000_000  # in addition, for torch and a network
# Learned codecs of this project code larger images in tiles of this many pixels.
TILE_PIXELS = 1 << 22


class TimeEstimate(NamedTuple):
    """Seconds that coding takes on one core, with the number of uncertain cells."""

    seconds: float
    num_unknown: int  # cells whose codec has neither a measured nor a typical time
    num_typical: int  # cells whose codec was never measured, but has a typical time


class CostModel:
    """Seconds that coding a cell takes, without metrics, learned from a table of rows.

    If the cell's setting was measured, uses its seconds per pixel. If only other settings were,
    scales the codec's typical curve to them, or interpolates between them if there is no curve. If
    none was measured, uses the typical curve. A recorded stream takes no time.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        # Sums of seconds and pixels, by the value of the setting
        self._sums = defaultdict[CurveKey, dict[float, tuple[float, float]]](dict)
        for row in _sum_seconds(table):
            codec, device_and_setting = row["codec"], (row["device"], row["setting_name"])
            typical = facts_of(CodecSpec.parse(codec, row["variant"])).typical
            for variant_or_times in (row["variant"], typical):
                sums = self._sums[codec, variant_or_times, *device_and_setting]
                seconds, pixels = sums.get(row["setting_value"], (0.0, 0.0))
                new_sums = seconds + row["seconds_sum"], pixels + row["pixels_sum"]
                sums[row["setting_value"]] = new_sums

    def seconds(self, task: Task) -> float | None:
        """Return the expected seconds of a task; None if the codec's speed is unknown."""
        if not isinstance(task, Cell):
            seconds: float | None = task.row["decode_seconds"]
            return seconds
        if task.pack is not None:
            return 0.0
        rate = self._seconds_per_pixel(task)
        return None if rate is None else rate * task.num_pixels

    def basis(self, cell: Cell) -> Basis:
        """Return whether the expected seconds are measured or typical."""
        if cell.pack is not None or self._find_sums(cell):
            return "measured"
        return "typical" if _typical_curve(cell) else "unknown"

    def _find_sums(self, cell: Cell) -> Mapping[float, tuple[float, float]]:
        """Return the sums of the cell's variant, or else of all variants with its typical times."""
        device_and_setting = cell.device, cell.setting.name
        variant_sums = self._sums.get((cell.codec.name, cell.codec.variant, *device_and_setting))
        return variant_sums or self._sums.get(
            (cell.codec.name, facts_of(cell.codec).typical, *device_and_setting), {}
        )

    def _seconds_per_pixel(self, cell: Cell) -> float | None:
        sums, typical_curve = self._find_sums(cell), _typical_curve(cell)
        value = float(cell.setting.value)
        seconds_per_pixel = {
            setting_value: seconds / pixels
            for setting_value, (seconds, pixels) in sorted(sums.items())
        }
        if value in seconds_per_pixel:
            return seconds_per_pixel[value]
        if not sums:
            return interpolate(typical_curve, value) / 1e6 if typical_curve else None
        if typical_curve:
            expected_seconds = math.fsum(
                interpolate(typical_curve, setting_value) / 1e6 * pixels
                for setting_value, (_, pixels) in sums.items()
            )
            measured_seconds = math.fsum(seconds for seconds, _ in sums.values())
            return interpolate(typical_curve, value) / 1e6 * (measured_seconds / expected_seconds)
        return interpolate(tuple(seconds_per_pixel.items()), value)


@lru_cache(1 << 12)  # the cells of a run have few settings
def interpolate(curve: TimeCurve, value: float) -> float:
    """Interpolate log seconds linearly, constant outside the curve; ignore values of 0 s."""
    logs = {setting_value: math.log(seconds) for setting_value, seconds in curve if seconds > 0}
    return math.exp(np.interp(value, [*logs], [*logs.values()])) if logs else 0.0


def estimate(cells: Sequence[Cell], model: CostModel) -> TimeEstimate:
    """Sum the seconds that the model expects for the cells."""
    seconds = [model.seconds(cell) for cell in cells]
    return TimeEstimate(
        math.fsum(filter(None, seconds)),
        seconds.count(None),
        sum(model.basis(cell) == "typical" for cell in cells),
    )


def typical_seconds(spec: CodecSpec, sweep: Iterable[Setting], pixels: int) -> float:
    """Return the seconds that a sweep takes on one core, as declared by the codec's class."""
    curves = {
        typical.setting: typical.seconds
        for typical in facts_of(spec).typical
        if typical.device == "cpu"
    }
    points = (
        (curves.get(setting.name, curves.get("", ())), float(setting.value)) for setting in sweep
    )
    return math.fsum(pixels / 1e6 * interpolate(*point) for point in points)


def _typical_curve(cell: Cell) -> TimeCurve:
    matching_curves = (
        typical.seconds
        for typical in facts_of(cell.codec).typical
        if typical.device == cell.device and typical.setting in (cell.setting.name, "")
    )
    return next(matching_curves, ())


def _sum_seconds(table: pl.DataFrame) -> list[dict[str, Any]]:
    keys = ["codec", "variant", "device", "setting_name", "setting_value"]
    seconds = col("encode_seconds") + col("decode_seconds")
    measured_rows = table.filter(seconds.is_not_null(), ~col("recorded").fill_null(False))
    # Other people's rows may hold sides whose product overflows an integer
    pixels = col("width_px").cast(pl.Float64) * col("height_px")
    sums = measured_rows.group_by(keys, maintain_order=True).agg(
        seconds_sum=seconds.sum(), pixels_sum=pixels.sum()
    )
    return sums.rows(named=True)


class Scoring(NamedTuple):
    """Memory that a metric needs, in bytes per pixel of an image."""

    peak: float  # while the metric computes, including both images
    prepared_data: float = 0  # kept in memory while other metrics compute
    torch: bool = False  # whether the metric imports torch


# Increase of peak resident memory, including child processes, from images of 0.4 to images of 3.5
# megapixels (1.6 for slow metrics), divided by the increase in pixels, rounded up. Measured on
# x86-64 with smoothed noise at the middle of a codec's sweep. Codecs declare the memory that they
# need (`benchmark.facts.Memory`), measured in the same way from 0.1 to 0.4 if they are learned.
SCORING = {
    "psnr": Scoring(15), "psnr_y": Scoring(26, 4), "psnr_ycbcr": Scoring(30, 3),
    "ms_ssim": Scoring(100, 52), "ssim": Scoring(92, 40), "vmaf": Scoring(95, 3),
    "ssimulacra2": Scoring(600, 60), "lpips": Scoring(130, 50, True),
    "alex256": Scoring(10, 0, True), "squeeze256": Scoring(10, 0, True),
    "inception256": Scoring(10, 0, True), "inception256_tf": Scoring(10, 0, True),
}  # fmt: skip
# Bytes per pixel for large images, whose metrics are computed in bands and strips; measured on an
# image of 12,000 x 9,000 pixels.
LARGE_SCORING = {
    "psnr": Scoring(8), "psnr_y": Scoring(16), "psnr_ycbcr": Scoring(14, 3),
    "ms_ssim": Scoring(64, 52), "ssim": Scoring(48, 40),
}  # fmt: skip
SCORING_WITHOUT_MOMENTS = {"ms_ssim": Scoring(16, 4), "ssim": Scoring(8)}  # beyond KEPT_PIXELS
OTHER_SCORING = SCORING["ssimulacra2"]._replace(torch=True)  # for metrics that were not measured


class Need(NamedTuple):
    """Facts of a cell that determine the memory of its worker."""

    codec: str  # name of the codec
    height_px: int
    width_px: int


class WorkerPlan(NamedTuple):
    """Number of workers on one machine, with the estimate of their memory."""

    workers: int
    worker_bytes: int  # estimated for the largest cell
    available_bytes: int | None  # None if unknown
    remark: str = ""  # sentence if memory limits the number of workers or may not suffice


def memory_needs(cells: Iterable[Cell]) -> set[Need]:
    """Return the distinct memory needs of cells."""
    return {Need(cell.codec.name, cell.source.height_px, cell.source.width_px) for cell in cells}


def worker_bytes(need: Need, metrics: Sequence[str]) -> int:
    """Estimate the memory of a worker that codes an image and scores it."""
    pixels = need.height_px * need.width_px
    memory = facts_of(CodecSpec(need.codec, ())).memory
    scoring_by_metric = SCORING | (LARGE_SCORING if pixels > MAX_PIXELS_WITHOUT_BANDS else {})
    scoring_by_metric |= SCORING_WITHOUT_MOMENTS if pixels > KEPT_PIXELS else {}
    scorings = [scoring_by_metric.get(name, OTHER_SCORING) for name in metrics]
    prepared_bytes = sum(metric.prepared_data for metric in scorings)
    # Data that metrics keep about a source stay in memory while the source's next cell is coded.
    tile_bytes = memory.tile_pixel * min(pixels, TILE_PIXELS)
    coding_bytes = (memory.pixel + prepared_bytes) * pixels + tile_bytes
    peaks = (prepared_bytes - metric.prepared_data + metric.peak for metric in scorings)
    scoring_bytes = (peak * pixels for peak in peaks)
    torch = memory.torch or any(metric.torch for metric in scorings)
    return int(BASE_BYTES + TORCH_BYTES * torch + max([coding_bytes, *scoring_bytes]))


def plan_workers(
    needs: Iterable[Need],
    metrics: Sequence[str],
    jobs: int | None,
    cores: int,
    available_bytes: int | None,
) -> WorkerPlan:
    """Plan `jobs` workers; without `jobs`, one per core, or fewer if memory is short."""
    largest_bytes = max((worker_bytes(need, metrics) for need in needs), default=BASE_BYTES)
    if available_bytes is None:
        return WorkerPlan(jobs or cores, largest_bytes, None)
    workers_in_memory = max(available_bytes // largest_bytes, 0)
    workers = jobs or max(min(cores, workers_in_memory), 1)
    memory_text = (
        f"a worker takes about {largest_bytes / GB:.1f} GB for the largest image, but only "
        f"{available_bytes / GB:.1f} GB of memory are available"
    )
    remark = ""
    if jobs and workers_in_memory < jobs:
        remark = f"--jobs {jobs} may run out of memory: {memory_text}; use --jobs "
        remark += f"{max(workers_in_memory, 1)}"
    elif not workers_in_memory:
        remark = f"{memory_text}: cells that do not fit will fail or lack metrics"
    elif not jobs and workers < cores:
        remark = f"{workers} of {cores} cores are used: {memory_text} (--jobs sets another number)"
    return WorkerPlan(workers, largest_bytes, available_bytes, remark)
