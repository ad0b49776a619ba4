"""Names of files that are not UTF-8, as old zips and Latin-1 have them, in what is written."""

import json
import os
from hashlib import sha256

import pytest

from baselines.neural.training.photographs import choose_validation
from benchmark.system.atomic import write_file
from benchmark.system.text import json_bytes
from support.bench.command import bench
from support.files.noise import effect_noise

FOLDER, PICTURE = os.fsdecode(b"b\xff"), os.fsdecode(b"\xe4.png")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / FOLDER).mkdir()
    for name in (PICTURE, "ok.png"):
        effect_noise((64, 64), 40).convert("RGB").save(tmp_path / FOLDER / name)
    return tmp_path / FOLDER


def test_a_run_and_its_report_with_a_page_name_the_folder_by_escapes(photos):
    for words in (("run", "--codecs", "jpeg", "--jobs", 1), ("report", "--page")):
        result = bench(*words, "--dataset", FOLDER, "--metrics", "psnr")
        assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    (report_file,) = photos.parent.glob("results/*/report/report.json")
    assert json.loads(report_file.read_bytes())["command"].split()[3] == "'b\\xff'"
    assert "xe4.png" in (report_file.parent / "page.html").read_text(encoding="utf-8")


def test_an_experiment_that_cannot_name_its_folder_is_refused_before_it_is_measured(photos):
    result = bench("run", "--codecs", "jpeg", "--dataset", FOLDER, "--save", "e.toml")
    assert (result.returncode, "UTF-8" in result.stderr) == (2, True)
    assert not list(photos.parent.glob("*.toml"))
    assert not (photos.parent / "results").exists()


def test_photographs_are_held_out_by_the_text_of_their_names():
    names = [PICTURE, *(f"{number}.png" for number in range(9))]
    (validation_name,) = choose_validation(names)
    texts = {name: name.replace(PICTURE, "\\xe4.png").encode() for name in names}
    assert validation_name == min(names, key=lambda name: sha256(texts[name]).digest())


def test_records_and_texts_have_its_escapes(tmp_path):
    assert json.loads(json_bytes({"of": [FOLDER, "ä"]})) == {"of": ["b\\xff", "ä"]}
    write_file(tmp_path / "a", f"{FOLDER} ä")
    assert (tmp_path / "a").read_bytes() == b"b\\xff \xc3\xa4"
