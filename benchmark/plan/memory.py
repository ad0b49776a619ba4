"""Estimate the memory of a worker, and how many workers the memory of a machine holds. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmark.codec_spec import CodecSpec, facts_of
from benchmark.metrics.metric import is_large
from benchmark.plan.cells import Cell

GB = 1e9
BASE_BYTES = 120_000_000  # Python, numpy, and what workers load before the first cell
TORCH_BYTES = 350_000_000  # beside it, and a network
# Learned codecs of this project code larger images in tiles of so many pixels.
TILE_PIXELS = 1 << 22


class Scoring(NamedTuple):
    """Bytes per pixel of a metric."""

    peak: float  # while it computes, both images included
    kept: float = 0  # of what it has prepared, while others compute
    torch: bool = False


# Growth of the peak of resident memory from .4 to 3.5 megapixels (1.6 where it took long; learned
# codecs .1 to .4) of one process on x86-64, programs that it runs included, rounded up. A smoothed
# noise image at the middle of a codec's sweep. Codecs declare theirs (`benchmark.codec.Memory`).
SCORING = {
    "psnr": Scoring(15), "psnr_y": Scoring(26, 4), "psnr_ycbcr": Scoring(30, 3),
    "ms_ssim": Scoring(92, 48), "ssim": Scoring(92, 40), "vmaf": Scoring(95, 3),
    "ssimulacra2": Scoring(600, 60), "lpips": Scoring(130, 50, True),
    "alex256": Scoring(10, 0, True), "squeeze256": Scoring(10, 0, True),
    "inception256": Scoring(10, 0, True), "inception256_tf": Scoring(10, 0, True),
}  # fmt: skip
# Of images that are computed in bands and strips; 12,000 x 9,000 pixels were measured.
OF_LARGE = {
    "psnr": Scoring(8), "psnr_y": Scoring(16), "psnr_ycbcr": Scoring(14, 3),
    "ms_ssim": Scoring(16, 4), "ssim": Scoring(8),
}  # fmt: skip
OTHER_SCORING = Scoring(600, 60, True)  # of metrics that were not measured


class Need(NamedTuple):
    """Facts of a cell that the memory of its worker depends on."""

    codec: str  # its name
    height_px: int
    width_px: int


class WorkerPlan(NamedTuple):
    """Number of workers of a run on one machine, with the memory that it rests on."""

    workers: int
    worker_bytes: int  # estimated, of the cell that takes most
    available_bytes: int | None  # None where the system does not tell
    remark: str = ""  # a sentence where memory decides, or will not suffice


def needs_of(cells: Iterable[Cell]) -> set[Need]:
    """Return what the memory of these cells depends on, equal ones once."""
    return {Need(one.codec.name, one.source.height_px, one.source.width_px) for one in cells}


def worker_bytes(need: Need, metrics: Sequence[str]) -> int:
    """Estimate the memory of a worker that codes an image and scores it with image metrics."""
    pixels = need.height_px * need.width_px
    coding = facts_of(CodecSpec(need.codec, ())).memory
    table = SCORING | OF_LARGE if is_large((need.height_px, need.width_px)) else SCORING
    scoring = [table.get(name, OTHER_SCORING) for name in metrics]
    kept = sum(one.kept for one in scoring)
    # What metrics keep of a source is there while its next cell is coded.
    while_coding = (coding.pixel + kept) * pixels + coding.tile_pixel * min(pixels, TILE_PIXELS)
    while_scoring = max((kept - one.kept + one.peak for one in scoring), default=0) * pixels
    torch = coding.torch or any(one.torch for one in scoring)
    return int(BASE_BYTES + TORCH_BYTES * torch + max(while_coding, while_scoring))


def plan_workers(
    needs: Iterable[Need],
    metrics: Sequence[str],
    asked: int | None,
    cores: int,
    available_bytes: int | None,
) -> WorkerPlan:
    """Return how many workers to use: one per core, fewer where memory holds fewer, or `asked`.

    All are counted with the memory of the largest cell, since any of them may have such a cell.
    At least one is used: what does not fit into it is a null or a failed row.
    """
    most = max((worker_bytes(one, metrics) for one in needs), default=BASE_BYTES)
    if available_bytes is None:
        return WorkerPlan(asked or cores, most, None)
    fitting = max(available_bytes // most, 0)
    workers = asked or max(min(cores, fitting), 1)
    room = (
        f"a worker takes about {most / GB:.1f} GB for the largest image, and "
        f"{available_bytes / GB:.1f} GB of memory are available"
    )
    remark = ""
    if asked and fitting < asked:
        remark = f"--jobs {asked} may run out of memory: {room}, enough for {max(fitting, 1)}"
    elif not fitting:
        remark = f"{room}: cells that do not fit will fail or lack metrics"
    elif workers < min(cores, asked or cores):
        remark = f"{workers} of {cores} cores are used: {room} (--jobs sets another number)"
    return WorkerPlan(workers, most, available_bytes, remark)
