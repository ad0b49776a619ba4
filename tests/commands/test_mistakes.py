"""A mistake of the user is one sentence on standard error and exit code 2 in every verb."""

import re
import tomllib
from pathlib import Path

import pytest

from support.bench.command import bench
from support.bench.verbs import every_verb
from support.files.noise import effect_noise

PAGE = Path(__file__).parents[2] / "docs" / "README.md"
MISTAKES = {
    kind: (entry.get("names", ""), entry["commands"].splitlines())
    for kind, entry in tomllib.loads(Path(__file__).with_name("mistakes.toml").read_text()).items()
}
LONG = 300 * "x"  # the longest name of Linux' file systems has 255 bytes
KINDS = ("missing folder", "results folder that is not there", "file that is not there")
PATHS = [words for kind in KINDS for words in MISTAKES[kind][1] if "nowhere" in words]
MISTAKES["name that is too long"] = LONG, [words.replace("nowhere", LONG) for words in PATHS]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("photos", "empty", "texts"):
        (folder / name).mkdir()
    for seed in range(2):
        noise = effect_noise((180, 164), 40 + seed).convert("RGB")
        noise.save(folder / "photos" / f"{seed}.png")
    noise.save(folder / "photo.png")
    (folder / "texts" / "notes.txt").write_text("no image\n")
    (folder / "notes.txt").write_text("neither a checkpoint nor a stream nor a pack\n")
    (folder / "broken.toml").write_text("architecture = \n")
    results = folder / "results"
    words = ("--dataset", folder / "photos", "--metrics", "psnr,ms_ssim", "--results", results)
    bench("run", "--codecs", "jpeg,jpeg:optimize=1", *words, "--jobs", "1", code=0)
    bench("pack", "export", folder / "jpeg.tar", "--codecs", "jpeg", "--results", results, code=0)
    return folder


def test_every_verb_is_in_the_table():
    table = [words for _, cases in MISTAKES.values() for words in cases]
    for verb, _ in every_verb():
        assert any(words.startswith(f"{verb} ") for words in table), verb


def test_a_group_without_a_verb_shows_its_help():
    for group in ("", "audit", "pack", "baseline"):
        result = bench(*group.split())
        assert (result.returncode, result.stderr) == (2, "")
        assert "Usage: bench" in result.stdout


def test_what_is_mistyped_is_answered_with_what_is_near():
    assert "'run'" in bench("rn").stderr
    assert "'export'" in bench("pack", "exprt").stderr
    assert "'--codecs'" in bench("run", "--codcs", "jpeg").stderr
    assert " results " in bench("audit", "rows", "--results", "r").stderr
    assert bench("run", "--codecs").stderr.endswith(" `bench run --help`\n")


def test_the_page_on_commands_shows_real_sentences():
    command_line = PAGE.read_text().partition("\n## The command line\n")[2].partition("\n## ")[0]
    examples = re.findall(r"^\$ bench (.*)\n(.*)$", command_line, re.MULTILINE)
    assert examples
    for words, sentence in examples:
        assert bench(*words.split()).stderr.strip().startswith(sentence.removesuffix(" ..."))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(place, monkeypatch, mistake):
    monkeypatch.chdir(place)
    files_before = sorted(place.rglob("*"))
    message, commands = MISTAKES[mistake]
    for words in commands:
        result = bench(*words.split())
        assert result.returncode == 2, f"{words}: {result.stdout}{result.stderr}"
        assert result.stdout == "", words
        assert result.stderr.startswith("bench: "), words
        assert result.stderr.count("\n") == 1, f"{words}: {result.stderr}"
        assert message in result.stderr, words
        assert sorted(place.rglob("*")) == files_before, words
