"""An experiment in a file gives the run of the same options, and a run writes such a file."""

import json
import tomllib

import pytest
from PIL import Image

from support.bench.command import bench
from support.files.noise import effect_noise

EXPERIMENT = """
codecs = ["jpeg", "webp"]
dataset = ["first", "more, photos"]
metrics = ["psnr"]
limit = 1
figures = ["rd"]
width = "column"

[points]
"jpeg.quality" = [10, 30, 50, 80]

[labels]
"jpeg" = "My JPEG"

[rd]
linear_rate = true
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The present folder, with two folders of photographs and an experiment on them."""
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate(("first", "more, photos")):
        (tmp_path / folder).mkdir()
        for side in (80, 90):
            noise = effect_noise((90, side), 30 + 20 * number).convert("RGB")
            noise.save(tmp_path / folder / f"{side}.png")
    (tmp_path / "exp.toml").write_text(EXPERIMENT)
    return tmp_path


def test_singular_and_plural_are_one_option_in_a_file_as_on_the_command_line(here):
    text = EXPERIMENT.replace("codecs =", "codec =").replace("dataset =", "datasets =")
    (here / "exp.toml").write_text(text.replace("metrics =", "metric ="))
    assert _cells(bench("plan", "exp.toml", "--json")) == [("first", 12), ("more_photos", 12)]
    (here / "exp.toml").write_text(f'codec = ["avif"]{EXPERIMENT}')
    done = bench("plan", "exp.toml")
    assert (done.returncode, "codec and codecs are the same option" in done.stderr) == (2, True)


@pytest.mark.parametrize("verb", [
    ("pack", "export", "p.tar"), ("audit", "rows"), ("report",), ("rank", "--at", "bpp=1"),
    ("match", "webp"), ("export", "images", "--to", "out"),
])  # fmt: skip
def test_a_setting_in_a_codec_is_answered_with_the_codec(here, verb):
    codecs = "--codecs", "jpeg:quality=10,webp:quality=10"
    place = "--dataset", "first"
    assert bench("run", *codecs, *place, "--metrics", "psnr", "--jobs", 1).returncode == 0
    named = ("jpeg:quality=10",) if verb[0] == "match" else ("--codecs", "jpeg:quality=10")
    done = bench(*verb, *named, *place)
    assert done.returncode == 2
    assert "ame jpeg, which has every setting" in done.stderr


def _cells(done):
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    return [(record["dataset"].rpartition("-")[0], record["cells"]) for record in records]


def test_the_file_is_measured_on_each_dataset_and_its_figures_are_drawn(here):
    assert _cells(bench("plan", "exp.toml", "--json")) == [("first", 12), ("more_photos", 12)]
    done = bench("run", "exp.toml", code=0)
    assert done.stdout.count("12 cells measured, 0 failed") == 2
    details = (here / "results" / "figures" / "rd.details.md").read_text()
    assert all(words in details for words in ("My JPEG", "bench run exp.toml", "first", "photos"))
    with Image.open(here / "results" / "figures" / "rd.png") as picture:
        assert picture.width == 3.25 * 200
    again = bench("figures", "rd", "exp.toml", code=0)
    assert "rd.png" in again.stdout


def test_an_option_on_the_command_line_comes_before_its_key(here):
    words = "run exp.toml --limit 2 --dataset first --codecs jpeg --figures= --json"
    (record,) = [json.loads(bench(*words.split()).stdout)]
    assert (record["cells"], record["images"]) == (8, 2)
    assert not (here / "results" / "figures").exists()


def test_a_saved_file_gives_the_same_run_and_figures(here):
    words = ["run", "exp.toml", "--limit", "2", "--timing", "--save", "saved.toml"]
    bench(*words, code=0)
    whole, saved = (tomllib.loads((here / name).read_text()) for name in ("exp.toml", "saved.toml"))
    assert saved.pop("dataset") == r"first,more\, photos"
    assert saved.pop("points") == ["jpeg.quality=10,30,50,80"]
    assert saved.pop("timing") is True
    assert saved == {**{key: whole[key] for key in saved}, "limit": 2}
    again = bench("run", "saved.toml")
    assert again.stdout.count("0 cells measured, 0 failed, 24 were finished before") == 2
    assert again.stdout.count("rd.png") == 1


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("limti = 2", ("exp.toml", "'limti'", "Did you mean 'limit'?")),
        ('limit = "2"', ("exp.toml", "limit")),
        ("[rd]\nlimit = 2", ("exp.toml", "'limit'")),
        ('figures = ["rdd"]', ("'rdd'", "Did you mean 'rd'?")),
        ("codecs = [", ("exp.toml cannot be read",)),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_before_anything_runs(here, key, words):
    (here / "exp.toml").write_text(f'dataset = "first"\n{key}\n')
    done = bench("run", "exp.toml")
    (sentence,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert all(word in sentence for word in words), sentence
    assert not (here / "results").exists()


def test_a_dataset_that_is_not_here_is_said_before_the_first_is_measured(here):
    done = bench("run", "exp.toml", "--dataset", "first,second")
    assert done.returncode == 2
    assert "'second'" in done.stderr
    assert not (here / "results").exists()


def test_what_is_no_file_is_said_to_be_a_codec(here):
    assert "measure a codec with --codecs jpeg" in bench("run", "jpeg").stderr


def test_stored_datasets_are_named_as_a_list(here):
    assert bench("run", "exp.toml", "--figures=").returncode == 0
    done = bench("report", "--dataset", r"first,more\, photos", "--json", code=0)
    names = [record["dataset"] for record in json.loads(done.stdout)]
    assert [name.rpartition("-")[0] for name in names] == ["first", "more_photos"]


def test_figures_of_a_run_have_the_metrics_that_it_names(here):
    words = ("--dataset", "first", "--codecs", "jpeg,webp", "--metrics", "psnr")
    bench("run", *words, "--figures", "bd", code=0)
    table = (here / "results" / "figures" / "bd.csv").read_text().splitlines()
    assert {line.partition(",")[0] for line in table[1:]} == {"psnr_db"}
