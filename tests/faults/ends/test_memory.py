"""Memory that runs out while cells are measured: a null or a failed row, and the run goes on."""

import json
import sys

import numpy as np
import pytest

from benchmark import registry
from benchmark.errors import memory_exhausted
from benchmark.measure.score import HashedImage, Scorer
from support.added.metrics import Colours, line_of
from support.bench.command import bench
from support.codecs.files import FAKES
from support.files.noise import effect_noise
from support.processes import in_a_process, ran
from support.quick import quick
from support.rows.stable_rows import only_store


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name, side in (("a", (300, 200)), ("b", (2000, 1500)), ("c", (200, 300))):
        effect_noise(side, 40).convert("RGB").save(folder / f"{name}.png", compress_level=1)
    return folder


def run(codec, images, results, metrics, *options):
    words = ["run", "--codecs", codec, "--dataset", images, "--metrics", metrics]
    result = bench(*words, "--results", results, "--jobs", 1, *options)
    assert "Traceback" not in result.stderr
    return result, only_store(results).table().rows(named=True)


@pytest.mark.slow
def test_a_metric_out_of_memory_is_null_until_there_is_more(images, tmp_path, monkeypatch):
    codec, results = f"{FAKES}:LeavesLittle", tmp_path / "results"
    monkeypatch.setenv("ROOM_BYTES", str(100 << 20))  # MS-SSIM of three megapixels takes 270 MB
    result, rows = run(codec, images, results, "psnr,ms_ssim")
    assert (result.returncode, len(rows)) == (0, 9)
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["psnr_db"] is not None for row in rows)
    without = [row for row in rows if row["ms_ssim"] is None]
    assert [row["image"] for row in without] == ["b.png"] * 3
    reason = "MS-SSIM of 2000 x 1500 px "
    assert all(row["ms_ssim_reason"].startswith(reason) for row in without)
    assert reason in result.stdout
    rerun, _ = run(codec, images, results, "psnr,ms_ssim")
    assert rerun.returncode == 0
    assert "0 cells measured" in rerun.stdout
    monkeypatch.delenv("ROOM_BYTES")
    words = ("--codecs", codec, "--dataset", images, "--results", results)
    bench("rescore", *words, "--metrics", "ms_ssim")
    assert only_store(results).table()["ms_ssim"].null_count() == 0


@pytest.mark.parametrize(
    ("codec", "failed"), quick([("TooLargeToLoad", 9), ("Torches", 3)], ("TooLargeToLoad", 9))
)
def test_a_codec_out_of_memory_is_a_failed_row_with_its_reason(codec, failed, images, tmp_path):
    result, rows = run(f"{FAKES}:{codec}", images, tmp_path / "results", "psnr", "--json")
    assert result.returncode == 1
    fallen = [row for row in rows if row["status"] == "failed"]
    assert (len(rows), len(fallen)) == (9, failed)
    assert all("alloc" in row["reason"].lower() for row in fallen), fallen[0]["reason"]
    assert len(json.loads(result.stdout)["failed"]) == failed


class Greedy(Colours):
    """Feature space that asks for a petabyte where the upper half is dark."""

    def features(self, pixels):
        if not pixels[0].any():
            np.ones(1 << 50)
        return super().features(pixels)


def hashed(level):
    return HashedImage(str(level), np.full((20, 30, 3), level, np.uint8))


def test_a_feature_space_out_of_memory_counts_no_patches_and_hands_over_no_features(monkeypatch):
    monkeypatch.setitem(registry.FEATURE_SPACES, "greedy", line_of(Greedy))
    scorer = Scorer(["greedy"], "cpu")
    scores = scorer.score(hashed(9), hashed(0), ["greedy"])
    assert scores.columns["colours_patches"] is None
    assert "30 x 20 px does not fit" in scores.columns["colours_patches_reason"]
    assert scores.features == ()
    scores = scorer.score(hashed(9), hashed(8), ["greedy"])
    assert scores.columns["colours_patches"] == 2
    assert [feature.pixels_sha256 for feature in scores.features] == ["9", "8"]


@pytest.mark.slow
def test_what_other_metrics_have_prepared_makes_room_for_one_that_runs_out(monkeypatch):
    """Under a limit that holds what MS-SSIM has prepared or SSIM's work, and not both."""
    program = """
import numpy as np
from benchmark.measure.score import HashedImage
from benchmark.measure.score import Scorer
from support.codecs.fakes import limit_memory
source, decoded = np.random.default_rng(1).integers(0, 256, (2, 1000, 2000, 3), np.uint8)
scorer = Scorer(["ms_ssim", "ssim"], "cpu")
small = HashedImage("s", source[:200, :200]), HashedImage("t", decoded[:200, :200])
scorer.score(*small, ["ms_ssim", "ssim"])
limit_memory(ROOM)
columns = scorer.score(HashedImage("a", source), HashedImage("b", decoded), ["ms_ssim", "ssim"])
print(columns.columns)
"""
    code = program.replace("ROOM", str(200 << 20))
    result = ran(sys.executable, "-c", code, PYTHONPATH=FAKES.parents[2], OPENBLAS_NUM_THREADS=1)
    assert "'ms_ssim_reason': None" in result.stdout
    assert "'ssim_reason': None" in result.stdout, result.stdout


def test_errors_that_mean_memory_are_told_from_others():
    import torch

    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert memory_exhausted(error.value) == memory_exhausted(MemoryError()) == "host"
    assert memory_exhausted(torch.OutOfMemoryError("CUDA out of memory")) == "device"
    assert memory_exhausted(OSError(12, "Cannot allocate memory")) == "host"
    assert memory_exhausted(OSError(28, "No space left on device")) is None
    assert memory_exhausted(ValueError("can't allocate memory")) is None


# What is printed to standard error is captured on standard output.
EXHAUSTED = """
import contextlib, sys
from benchmark import cli

def too_much(*words, **more):
    raise MemoryError

cli.program = too_much
with contextlib.redirect_stderr(sys.stdout):
    try:
        cli.main()
    except SystemExit as ended:
        print(ended.code)
"""


def test_a_command_that_runs_out_of_memory_itself_ends_in_a_sentence():
    sentence, code = in_a_process(EXHAUSTED).splitlines()
    assert "memory" in sentence
    assert code == "1"
