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
def work_folder(tmp_path, monkeypatch):
    """The current folder, with two folders of photographs and an experiment on them."""
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate(("first", "more, photos")):
        (tmp_path / folder).mkdir()
        for side in (80, 90):
            noise = effect_noise((90, side), 30 + 20 * number).convert("RGB")
            noise.save(tmp_path / folder / f"{side}.png")
    (tmp_path / "exp.toml").write_text(EXPERIMENT)
    return tmp_path


def test_singular_and_plural_are_one_option_in_a_file_as_on_the_command_line(work_folder):
    text = EXPERIMENT.replace("codecs =", "codec =").replace("dataset =", "datasets =")
    (work_folder / "exp.toml").write_text(text.replace("metrics =", "metric ="))
    assert _cells(bench("plan", "exp.toml", "--json")) == [("first", 12), ("more_photos", 12)]
    (work_folder / "exp.toml").write_text(f'codec = ["avif"]{EXPERIMENT}')
    result = bench("plan", "exp.toml")
    assert (result.returncode, "codec and codecs " in result.stderr) == (2, True)


def test_a_setting_in_a_codec_is_answered_with_the_codec(work_folder):
    place = "--dataset", "first"
    codecs = "--codecs", "jpeg:quality=10,webp:quality=10"
    bench("run", *codecs, *place, "--metrics", "psnr", "--jobs", 1, code=0)
    named = "--codecs", "jpeg:quality=10"
    for words in (
        ("pack", "export", "p.tar", *named), ("audit", "rows", *named), ("report", *named),
        ("rank", "--at", "bpp=1", *named), ("export", "images", "--to", "out", *named),
        ("match", "webp", "jpeg:quality=10"),
    ):  # fmt: skip
        result = bench(*words, *place)
        assert (result.returncode, "ame jpeg, " in result.stderr) == (2, True), words


def _cells(result):
    assert result.returncode == 0, result.stderr
    records = json.loads(result.stdout)
    return [(record["dataset"].rpartition("-")[0], record["cells"]) for record in records]


def test_the_file_is_measured_on_each_dataset_and_its_figures_are_drawn(work_folder):
    assert _cells(bench("plan", "exp.toml", "--json")) == [("first", 12), ("more_photos", 12)]
    result = bench("run", "exp.toml", code=0)
    assert result.stdout.count("12 cells measured, 0 failed") == 2
    details = (work_folder / "results" / "figures" / "rd.details.md").read_text()
    assert all(words in details for words in ("My JPEG", "bench run exp.toml", "first", "photos"))
    with Image.open(work_folder / "results" / "figures" / "rd.png") as picture:
        assert picture.width == 3.25 * 200
    assert "rd.png" in bench("figures", "rd", "exp.toml", code=0).stdout
    result = bench("report", "--dataset", r"first,more\, photos", "--json", code=0)
    names = [record["dataset"] for record in json.loads(result.stdout)]
    assert [name.rpartition("-")[0] for name in names] == ["first", "more_photos"]


def test_an_option_on_the_command_line_comes_before_its_key(work_folder):
    words = "run exp.toml --limit 2 --dataset first --codecs jpeg --figures= --json"
    (record,) = [json.loads(bench(*words.split()).stdout)]
    assert (record["cells"], record["images"]) == (8, 2)
    assert not (work_folder / "results" / "figures").exists()


def test_a_saved_file_gives_the_same_run_and_figures(work_folder):
    bench("run", "exp.toml", "--limit", 2, "--timing", "--save", "saved.toml", code=0)
    texts = [(work_folder / name).read_text() for name in ("exp.toml", "saved.toml")]
    original, saved = map(tomllib.loads, texts)
    assert saved.pop("dataset") == r"first,more\, photos"
    assert saved.pop("points") == ["jpeg.quality=10,30,50,80"]
    assert saved.pop("timing") is True
    assert saved == {**{key: original[key] for key in saved}, "limit": 2}
    second_result = bench("run", "saved.toml")
    assert second_result.stdout.count("0 cells measured, 0 failed, 24 finished earlier") == 2
    assert second_result.stdout.count("rd.png") == 1


@pytest.mark.parametrize(("key", "words"), [
    ("limti = 2", ("exp.toml", "'limti'", "Did you mean 'limit'?")),
    ('limit = "2"', ("exp.toml", "limit")), ("[rd]\nlimit = 2", ("exp.toml", "'limit'")),
    ('figures = ["rdd"]', ("'rdd'", "Did you mean 'rd'?")), ("codecs = [", ("exp.toml cannot",)),
])  # fmt: skip
def test_a_mistake_in_the_file_is_one_sentence_before_anything_runs(work_folder, key, words):
    (work_folder / "exp.toml").write_text(f'dataset = "first"\n{key}\n')
    result = bench("run", "exp.toml")
    (sentence,) = result.stderr.splitlines()
    assert result.returncode == 2
    assert all(word in sentence for word in words), sentence
    assert not (work_folder / "results").exists()


def test_an_absent_dataset_is_reported_before_the_first_is_measured(work_folder):
    assert "'second'" in bench("run", "exp.toml", "--dataset", "first,second", code=2).stderr
    assert not (work_folder / "results").exists()


def test_figures_of_a_run_have_the_metrics_that_it_names(work_folder):
    words = ("--dataset", "first", "--codecs", "jpeg,webp", "--metrics", "psnr")
    bench("run", *words, "--figures", "bd", code=0)
    table = (work_folder / "results" / "figures" / "bd.csv").read_text().splitlines()
    assert {line.partition(",")[0] for line in table[1:]} == {"psnr_db"}


def test_folders_that_verbs_make_are_inside_the_results(work_folder):
    (work_folder / "exp.toml").unlink()
    words = "--dataset first --metrics psnr"
    bench(*f"run --codecs jpeg {words} --points jpeg.quality=10,30,50,80".split(), code=0)
    bench("pack", "export", "mine.tar", "--codecs", "jpeg", "--dataset", "first", code=0)
    for command, folder in {
        "audit rows --dataset first": "again",
        f"review mine.tar {words}": "review",
        "site --submissions . --metrics psnr": "site",
        "worker new toy": "contenders",
        f"figures rd {words}": "figures",
    }.items():
        result = bench(*command.split())
        assert (work_folder / "results" / folder).is_dir(), result.stderr
    names = {path.name for path in work_folder.iterdir()}
    assert names == {"first", "more, photos", "results", "mine.tar"}
