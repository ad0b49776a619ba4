"""The recipes for your own codec, metric and dataset work as they are written."""

import json
import re
import shlex

import pytest

from conftest import ROOT
from support.bench.command import bench
from support.files.noise import effect_noise
from support.networks.zoo import save, small_network
from support.quick import quick

PAGES = "own-codec", "metric-and-dataset"
TEXT = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in PAGES)
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
MAX_LINES, MAX_MODEL_LINES = 35, 12  # of a recipe; of one with a network
SHOWN = {  # a file that the commands leave, and what it contains
    "A metric": ("results/sample/report/report.md", "Edge error"),
    "A dataset": ("results/holiday/report/report.md", "# holiday\n\nJPEG needs"),
}


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        noise = effect_noise((90, 80), 20 + 20 * number).convert("RGB")
        noise.save(tmp_path / f"200{number}-beach.png")
    return tmp_path


@pytest.mark.parametrize("name", quick(SHOWN, "A dataset"))
def test_a_recipe_runs_as_written(name, work_folder):
    block = r"^`([\w/.]+)`:\n\n```python\n(.*?)```"
    ((path, source),) = re.findall(block, SECTIONS[name], re.DOTALL | re.MULTILINE)
    assert len(source.splitlines()) <= MAX_LINES
    (work_folder / path).write_text(source)
    (commands,) = re.findall(r"```sh\n(.*?)```", SECTIONS[name], re.DOTALL)
    for command in commands.splitlines():
        program, *words = shlex.split(command)
        assert program == "bench"
        bench(*words, code=0)
    file, text = SHOWN[name]
    assert text in (work_folder / file).read_text()


def test_the_codec_runs_as_written(work_folder):
    source = re.search(r"```python\n(.*?)```", SECTIONS["A codec"], re.DOTALL)[1]
    assert len(source.splitlines()) <= MAX_LINES
    (work_folder / "quantise.py").write_text(source)
    words = "run --codecs ./quantise.py:Quantise,jpeg --dataset . --metrics psnr --json"
    points = json.loads(bench(*words.split()).stdout)["summary"]
    psnr_values = [point["psnr_db"] for point in points if "Quantise" in point["codec"]]
    assert len(psnr_values) == 5
    assert psnr_values == sorted(psnr_values)
    for path in "./quantise.py", f"{work_folder}/moved/quantise.py":
        words = f"figures crops --dataset . --codecs {path}:Quantise,jpeg"
        crops = bench(*words.split())
        assert "crops lack" not in crops.stdout + crops.stderr
        (work_folder / "moved").mkdir(exist_ok=True)
        (work_folder / "quantise.py").rename(work_folder / "moved/quantise.py")
        (work_folder / "quantise.py").write_text("raise SystemExit  # of another codec")


@pytest.mark.slow
def test_the_model_runs_as_written(work_folder):
    source = re.search(r"```python\n(.*?)```", SECTIONS["A torch model"], re.DOTALL)[1]
    assert len(source.splitlines()) <= MAX_MODEL_LINES
    (work_folder / "mine.py").write_text(source)
    for number in (1, 2, 3):
        save(small_network("bmshj2018-hyperprior", 3.0**number), work_folder / f"{number}.pth")
    zoo_codec = "compressai:model=bmshj2018-hyperprior:checkpoint=1.pth,2.pth,3.pth"
    words = f"run --codecs ./mine.py:Mine,{zoo_codec} --dataset . --limit 1 --metrics psnr --json"
    points = json.loads(bench(*words.split(), code=0).stdout)["summary"]
    names = "Mine", "compressai"
    user_points, zoo = ([p for p in points if name in p["codec"]] for name in names)
    settings = [point["setting"] for point in user_points]
    assert settings == [f"lambda={value}" for value in (0.0018, 0.0067, 0.025)]
    assert [point["psnr_db"] for point in user_points] == [point["psnr_db"] for point in zoo]
    rates = [point["bpp"] for point in user_points]
    assert rates == sorted(rates)
    assert rates == pytest.approx([point["bpp"] for point in zoo], abs=16 * 8 / (90 * 80))


def test_the_column_of_the_recipe_is_in_means_figures_and_page(work_folder):
    source = re.search(r"```python\n(.*?)```", SECTIONS["A metric"], re.DOTALL)[1]
    (work_folder / "edges.py").write_text(source)
    words = "--codecs jpeg,webp --dataset . --metrics psnr,./edges.py:Edges"
    assert "more bits at equal Edge error" in bench("run", *words.split()).stdout
    assert bench("report", "--dataset", ".", *words.split()[-2:], "--page").returncode == 0
    (report,) = work_folder.glob("results/*/report")
    assert "edge_error" in (report / "means.csv").read_text().partition("\n")[0]
    assert (report / "edge_error.png").exists()
    assert "Edge error" in (report / "page.html").read_text()


def test_photographs_that_were_flattened_are_scored_and_drawn_later_without_saying_so(work_folder):
    photos, place_words = work_folder / "photos", ("--dataset", "photos", "--results", "r")
    photos.mkdir()
    for number in range(7):
        noise = effect_noise((90, 80), 20 + number).convert("RGB")
        noise.putalpha(200) if number else None
        noise.save(photos / f"{number}.png")
    words = ("--codecs", "jpeg,webp", *place_words)
    refusal_line = bench("plan", *words).stdout.splitlines()[-1]
    assert refusal_line.startswith("1.png, 2.png, 3.png and 3 more: refused: has transparent")
    assert bench("run", *words, "--metrics", "psnr", "--flatten").returncode == 0
    rescore, out = ("rescore", *place_words, "--metrics", "ssim"), ("--out", "f")
    assert "56 values" in bench(*rescore, "--codecs", "webp").stdout
    assert "24 values" in bench(*rescore, "--codecs", "jpeg", "--limit", 3).stdout
    sentence = "Points left out (ssim of 3 of 7 images: not computed): jpeg."
    for verb in (("table",), ("figures", "realism", "--bpp", "2")):  # whose rows lack some metric
        output = bench(*verb, *words, "--metrics", "psnr,ssim", *out)
        assert output.stderr.count(sentence) == 1, output.stderr
    bench("rescore", *place_words, "--metrics", "ms_ssim")  # for which no image is large enough
    message = bench(*verb, *words, "--metrics", "psnr,ms_ssim").stderr
    assert message.startswith("bench: realism needs two metrics "), message
    assert "32 values" in bench(*rescore).stdout
    assert bench("figures", "crops", *place_words, "--images", "6.png", *out).returncode == 0
