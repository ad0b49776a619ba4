"""How many workers memory holds; an image that a GPU cannot hold is coded in tiles."""

import json
import os
import resource
import sys

import numpy as np
import pytest
from PIL import Image

from baselines.crdr import CRDR
from benchmark.codec import Setting
from benchmark.errors import OutOfDeviceMemory
from benchmark.facts import facts_of
from benchmark.measure.cells import Failed
from benchmark.measure.estimate import (
    BASE_BYTES,
    SCORING,
    TORCH_BYTES,
    Need,
    Scoring,
    plan_workers,
    worker_bytes,
)
from benchmark.measure.execute import Coded, execute_within_memory
from benchmark.measure.workbench import IN_TILES, Workbench
from benchmark.registry import metric_class
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from benchmark.system.machine import available_memory
from conftest import ROOT
from support.bench.command import bench
from support.codecs import fake_on_cluster as fakes
from support.codecs.files import CODECS, cells, conditions, sources_in
from support.files.noise import noise_images
from support.processes import ran

SMALL, HUGE = Need("jpeg", 512, 768), Need("jpeg", 9000, 12_000)
METRICS = ("psnr", "psnr_y", "ms_ssim")


def test_memory_bounds_the_workers_by_the_largest_cell_unless_jobs_are_explicit():
    worker_size = worker_bytes(HUGE, METRICS)
    result = plan_workers([SMALL, HUGE], METRICS, None, 8, 3 * worker_size + worker_size // 2)
    assert (result.workers, result.worker_bytes) == (3, worker_size)
    sizes_gb = (f"{size / 1e9:.1f} GB" for size in (worker_size, 3.5 * worker_size))
    assert all(part in result.remark for part in ("3 of 8 cores", *sizes_gb, "--jobs"))
    # There is a worker per core where memory allows.
    assert plan_workers([SMALL], METRICS, None, 8, 10**11)[::3] == (8, "")
    assert plan_workers([SMALL], METRICS, None, 8, None)[::3] == (8, "")
    # At least one worker is used with a warning.
    result = plan_workers([HUGE], METRICS, None, 8, 10**9)
    assert result.workers == 1
    assert result.remark.endswith(" metrics")
    # Explicit jobs win with a warning.
    result = plan_workers([HUGE], METRICS, 5, 2, 10**10)
    assert result.workers == 5
    assert result.remark.startswith("--jobs 5 ")
    for cores, available in ((2, 10**11), (8, 10**11), (8, 5 * worker_bytes(SMALL, METRICS))):
        assert plan_workers([SMALL], METRICS, 5, cores, available)[::3] == (5, "")


def test_coding_takes_bytes_for_each_pixel_of_the_image_and_of_a_tile():
    memory = facts_of(CodecSpec("ours", ())).memory
    small, large = (worker_bytes(Need("ours", height, 200), ()) for height in (100, 300))
    assert memory.pixel > 0
    assert small == BASE_BYTES + TORCH_BYTES + int(20_000 * (memory.pixel + memory.tile_pixel))
    assert large - small == pytest.approx(40_000 * (memory.pixel + memory.tile_pixel), abs=1)
    huge = [worker_bytes(Need("ours", height, 2048), ()) for height in (2047, 2048, 2049)]
    assert huge[1] - huge[0] == pytest.approx(2048 * (memory.pixel + memory.tile_pixel), abs=1)
    assert huge[2] - huge[1] == pytest.approx(2048 * memory.pixel, abs=1), "a tile is full"


def test_what_metrics_prepared_is_kept_while_others_compute_and_the_next_cell_is_coded(monkeypatch):
    scorings = {"little": Scoring(10, 4), "much": Scoring(700, 50, True)}
    monkeypatch.setattr("benchmark.measure.estimate.SCORING", scorings)
    memory, need, pixels = (facts_of(CodecSpec("jpeg", ())).memory, Need("jpeg", 100, 200), 20_000)
    coding = memory.pixel + memory.tile_pixel
    assert 4 < coding < 600
    assert worker_bytes(need, ()) == BASE_BYTES + pixels * coding
    assert worker_bytes(need, ("little",)) == BASE_BYTES + pixels * (coding + 4)
    assert worker_bytes(need, ("little", "much")) == BASE_BYTES + TORCH_BYTES + pixels * (4 + 700)


def test_torch_is_counted_for_the_metrics_of_networks():
    network_modules = {"benchmark.metrics.deep_features", "benchmark.metrics.feature_spaces"}
    assert {n: scoring.torch for n, scoring in SCORING.items()} == {
        name: metric_class(name).__module__ in network_modules for name in SCORING
    }


def test_a_large_image_fits_into_four_gigabytes():
    assert worker_bytes(HUGE, METRICS) < 4e9
    assert worker_bytes(Need("ours", 9000, 12_000), METRICS) < 4e9
    maximum = worker_bytes(SMALL, ("ssimulacra2",))  # of the measured metrics
    assert worker_bytes(SMALL, ("unknown",)) == maximum + TORCH_BYTES


MEASURED = """
import sys
import numpy as np
from benchmark.spec import load_codec, parse_codec
from benchmark.measure.score import HashedImage
from benchmark.measure.score import Scorer
from support.files.noise import effect_noise
grey = effect_noise((500, 300), 40).resize((2000, 1200)).convert("RGB")
pixels, names = np.asarray(grey).copy(), sys.argv[1].split(",")
codec, scorer = load_codec(parse_codec("jpeg")), Scorer(names, "cpu")
decoded = codec.decode(codec.encode(pixels.copy(), codec.sweep[3]))
scorer.score(HashedImage("a", pixels), HashedImage("b", decoded), names)
# Not ru_maxrss, which includes the peak of the parent process
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""


@pytest.mark.parametrize("metrics", ["psnr", "psnr,psnr_y,ms_ssim,ssim"])
def test_the_estimate_holds_what_a_worker_takes_and_is_not_far_above(metrics):
    result = ran(sys.executable, "-c", MEASURED, metrics, PYTHONPATH=ROOT / "tests")
    estimated = worker_bytes(Need("jpeg", 1200, 2000), metrics.split(","))
    assert int(result.stdout) < estimated < 3 * int(result.stdout)


def container(folder, files):
    for name, text in {"proc/meminfo": "MemAvailable:  8000000 kB\n", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return available_memory(folder)


def test_a_control_group_of_version_2_leaves_its_limit_without_what_cannot_give_way(tmp_path):
    group = "sys/fs/cgroup/pod/run"
    files = {
        "proc/self/cgroup": "0::/pod/run\n",
        f"{group}/memory.max": "4000000000\n",
        f"{group}/memory.current": "1500000000\n",
        f"{group}/memory.stat": "anon 900000000\ninactive_file 400000000\nactive_file 100000000\n",
    }
    assert container(tmp_path, files) == 3_000_000_000
    pod = "sys/fs/cgroup/pod/memory"
    assert container(tmp_path, {**files, f"{pod}.max": "1000", f"{pod}.current": "900"}) == 100
    unlimited = {f"{group}/memory.max": "max\n", f"{pod}.max": "max\n"}
    assert container(tmp_path, {**files, **unlimited}) == 8_000_000 * 1024


def test_a_control_group_of_version_1_is_found_where_a_container_sees_it(tmp_path):
    """Its path is the host's, but the mount shows the group itself."""
    files = {"proc/self/cgroup": "4:cpu:/\n3:memory:/docker/0123\n",
             "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000000\n",
             "sys/fs/cgroup/memory/memory.usage_in_bytes": "600000000\n",
             "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100000000\n"}  # fmt: skip
    assert container(tmp_path, files) == 1_500_000_000


def test_plan_says_the_workers_and_their_memory_and_run_uses_them(tmp_path, monkeypatch):
    photos, results = noise_images(tmp_path / "photos", [(300, 200)]), tmp_path / "results"
    words = ("--codecs", "jpeg", "--dataset", photos, "--metrics", "psnr", "--results", results)
    first, second = (("--points", f"jpeg.quality={quality}") for quality in (10, 20))
    assert " 0.1 GB " in bench("plan", *words, "--jobs", 1).stdout.splitlines()[-1]
    for module in ("benchmark.system.machine", "benchmark.measure.loop"):
        monkeypatch.setattr(f"{module}.available_memory", lambda: 200_000_000)
    warning = "--jobs 3 "
    assert bench("plan", *words, "--jobs", 3).stdout.splitlines()[-1].startswith(warning)
    facts = json.loads(bench("plan", *words, "--json").stdout)
    assert (facts["workers"], facts["available_bytes"]) == (1, 200_000_000)
    assert facts["worker_bytes"] == worker_bytes(Need("jpeg", 200, 300), ("psnr",))
    result = bench("run", *words, *first, "--jobs", 3)
    assert (result.returncode, f"bench: {warning}" in result.stderr) == (0, True)
    monkeypatch.setattr("benchmark.measure.loop.cores", lambda: 4)
    result = bench("run", *words, *second)
    assert "bench: 1 of 4 cores " in result.stderr
    assert sorted(Store(next(results.iterdir())).table()["jobs"].to_list()) == [1, 3]


def test_available_memory_is_at_most_the_total_and_unknown_if_the_system_states_none(tmp_path):
    assert available_memory(tmp_path) is None
    assert 0 < available_memory() <= resource.getpagesize() * os.sysconf("SC_PHYS_PAGES")


SMALL_PICTURE, LARGE_PICTURE = (np.zeros((height, 30, 3), np.uint8) for height in (40, 41))


def code(codec, pixels):
    return execute_within_memory(codec, codec, "photo.png", pixels, Setting("step", 16))


@pytest.mark.parametrize(("pixels", "in_tiles"), [(SMALL_PICTURE, False), (LARGE_PICTURE, True)])
def test_what_does_not_fit_is_coded_once_more_in_tiles(pixels, in_tiles):
    coded, tiled = code(fakes.ShortOfMemory(), pixels)
    assert isinstance(coded, Coded)
    assert (tiled, coded.stream[-4:] == b"tile") == (in_tiles, in_tiles)


class Failing(fakes.Traced):
    def __init__(self, error, tiles=True):
        self.error, self.calls = error, 0
        if tiles:
            self.make_tiled = lambda: self

    def encode(self, pixels, setting):
        self.calls += 1
        raise self.error


def test_coding_is_tried_twice_at_most_and_the_failure_names_both():
    codec = Failing(OutOfDeviceMemory("CUDA out of memory"))
    failed, tiled = code(codec, LARGE_PICTURE)
    assert codec.calls == 2
    assert (failed.stage, tiled) == ("encode", False)
    assert failed.reason.count("CUDA out of memory") == 2


@pytest.mark.parametrize("codec", [
    Failing(OutOfDeviceMemory("CUDA out of memory"), tiles=False),
    Failing(ValueError("out of memory of the word")),
])  # fmt: skip
def test_without_tiles_or_for_another_reason_it_fails_at_once(codec):
    failed, tiled = code(codec, LARGE_PICTURE)
    assert isinstance(failed, Failed)
    assert not tiled
    assert "tiles" not in failed.reason


def test_the_row_of_an_image_in_tiles_has_a_caveat(tmp_path):
    for pixels in (SMALL_PICTURE, LARGE_PICTURE):
        Image.fromarray(pixels + np.uint8(len(pixels))).save(tmp_path / f"{len(pixels)}.png")
    tasks = cells(f"{CODECS}:ShortOfMemory", sources_in(tmp_path))
    bench = Workbench(conditions())
    caveats = {cell.source.height_px: bench.carry_out(cell).row["caveat"] for cell in tasks}
    assert caveats == {40: "", 41: IN_TILES}


def test_ours_codes_in_tiles_and_its_decoder_reads_them(photo):
    codec = CRDR(beta=0)
    crop = np.ascontiguousarray(photo[:150, :203])
    crop = np.concatenate([crop, crop[:, ::-1]], axis=1)  # 406 px: two tiles of 256
    whole_stream, tiled_stream = (
        encoder.encode(crop, Setting("q", 0)) for encoder in (codec, codec.make_tiled())
    )
    assert whole_stream != tiled_stream
    decoded = codec.decode(tiled_stream)
    assert decoded.shape == crop.shape
    error = np.abs(decoded.astype(int) - codec.decode(whole_stream).astype(int))
    assert error.mean() < 2, "tiles show the same picture"
    assert codec.encode(crop, Setting("q", 0)) == whole_stream, "the codec itself still codes whole"
