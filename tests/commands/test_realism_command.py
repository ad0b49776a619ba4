"""`bench run`, `report` and `tradeoff` with distribution metrics of real networks."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from benchmark.rows.edition import label_of
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.rows.store import Store
from conftest import ROOT, SHARED
from support.bench import command
from support.files.noise import effect_noise

WEIGHTS = SHARED / "data" / "weights"
METRICS = ("psnr", "fd_alex", "fd_squeeze")
POINTS = ("jpeg.quality=10,30,50,80", "webp.quality=1,20,60,90")

pytestmark = pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ../shared/data/weights")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(11)
    for number in range(3):
        noise = Image.fromarray(rng.integers(0, 256, (260, 390, 3), np.uint8), "RGB")
        noise.filter(ImageFilter.GaussianBlur(2 + number)).save(folder / f"{number}.png")
    return folder


def bench(*words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_WEIGHTS", str(WEIGHTS))
        result = command.bench(*words)
    assert result.returncode == 0, result.stderr
    return result


def run_words(photographs, results):
    points = [word for point in POINTS for word in ("--points", point)]
    return (
        "run", "--codecs", "jpeg,webp", "--dataset", photographs, "--metrics", ",".join(METRICS),
        "--results", results, "--jobs", "1", *points,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished_results(photographs, tmp_path_factory):
    results = tmp_path_factory.mktemp("whole")
    assert "FD (SqueezeNet)" in bench(*run_words(photographs, results), "--table").stdout
    return results


def store_of(results):
    (folder,) = (path.parent for path in Path(results).glob("*/per_image"))
    return Store(folder)


def summarise(results):
    store = store_of(results)
    return summarise_with_distributions(store.table(), store.folder, METRICS)


def set_values(results):
    return {(label_of(point.edition.spec), str(point.setting), name): point.means[name].value
            for point in summarise(results).points for name in METRICS[1:]}  # fmt: skip


def rates_of(results, codec):
    return [point.bpp for point in summarise(results).points if point.edition.spec.name == codec]


def test_a_run_killed_and_resumed_gives_the_same_sets(finished_results, photographs, tmp_path):
    words = [sys.executable, "-m", "benchmark", *map(str, run_words(photographs, tmp_path))]
    environment = {**os.environ, "BENCH_WEIGHTS": str(WEIGHTS)}
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list(tmp_path.glob("*/per_image/*.parquet")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    bench(*run_words(photographs, tmp_path))
    assert set_values(tmp_path) == set_values(finished_results)


def test_a_report_has_sets_with_intervals(finished_results):
    bench("report", "--results", finished_results, "--allow-few")
    report = store_of(finished_results).folder / "report"
    figures = {path.stem for path in report.glob("*.png")}
    assert "psnr_db" in figures
    assert not figures & {"fd_alex", "fd_squeeze"}, "few images: no figure"
    texts = [(report / f"{name}.csv").read_text() for name in ("means", "bd_rate")]
    means, rates = (list(csv.DictReader(text.splitlines())) for text in texts)
    for row in means:
        low, value, high = (float(row[f"fd_alex{end}"]) for end in ("_low", "", "_high"))
        assert low < value < high
        assert row["fd_alex_few"] == "True"
    assert re.search("‡ .* 50 images", (report / "means.md").read_text())
    few = {row["metric"]: row["few"] for row in rates}
    assert few == {"psnr_db": "False", "fd_alex": "True", "fd_squeeze": "True"}


def test_with_a_small_image_both_metrics_cover_the_others(finished_results, photographs, tmp_path):
    more_photos, results = tmp_path / photographs.name, tmp_path / "results"
    for old, new in ((photographs, more_photos), (finished_results, results)):
        shutil.copytree(old, new)
    effect_noise((24, 16), 50).convert("RGB").save(more_photos / "small.png")
    bench(*run_words(more_photos, results))
    rates = rates_of(finished_results, "webp")
    metrics, rate = ("--metrics", "fd_squeeze,psnr"), f"{np.mean(rates[:2]):.3g}"
    words = ("rank", *metrics, "--budget", "set", "--at", f"bpp={rate}", "--at", "fd_squeeze=300")

    def ranks(folder):
        records = json.loads(bench(*words, "--json", "--results", folder).stdout)["records"]
        return [{k: record[k] for k in record if "seconds" not in k} for record in records]

    ranks_before, ranks_after = map(ranks, (finished_results, results))
    assert [record["rank"] for record in ranks_before] != [None] * 4
    assert ranks_after == ranks_before
    output = bench("rank", "--metrics", "psnr,fd_squeeze", *words[3:7], "--results", results).stdout
    assert re.search(rf"FD .SqueezeNet.: .* bpp={rate}", output)
    csv_texts, jpeg_rates = [], rates_of(finished_results, "jpeg")
    bpp = f"{np.sqrt(max(rates[0], jpeg_rates[0]) * min(rates[-1], jpeg_rates[-1])):.3g}"
    for folder in (finished_results, results):
        bench("figures", "realism", *metrics, "--bpp", bpp, "--results", folder, "--out", folder)
        csv_texts.append((folder / "realism.csv").read_text())
    assert csv_texts[0] == csv_texts[1]
    assert "webp" in csv_texts[0].lower()
