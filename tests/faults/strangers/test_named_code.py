"""Rows that name a program or a Python file: kept and shown, run only where the command names it.

The program makes a file; a test that finds it has been attacked with success.
"""

import json
import sys

import pytest

from benchmark.api.codec import decoded
from benchmark.errors import Unavailable
from benchmark.rows.codecs import NamedCodecs
from benchmark.spec import CodecSpec, refers_to_code
from support.bench.command import bench
from support.files.noise import noise_images
from support.quick import quick
from support.rows.stable_rows import only_store

SHOT = "PWNED"
COPY = "command:decode=cp {in} {out}:encode=cp {in} {out}:values=1"
CODE = {
    "command": (
        "command",
        rf"decode=sh -c 'touch {SHOT}' {{in}} {{out}}:encode=cp {{in}} {{out}}:values=1",
    ),
    "file": ("./stranger.py:Codec", ""), "worker": ("worker", "file=stranger.toml:name=Stranger"),
    "base": ("dirac", r"base=./stranger.py\:Codec"),
}  # fmt: skip


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A user's working folder, with a photograph; relative paths of rows refer to it."""
    monkeypatch.chdir(tmp_path)
    noise_images(tmp_path / "photos", [(40, 30)])
    return tmp_path


def run_words(codecs="jpeg", points="jpeg.quality=30,50"):
    return "run", "--codecs", codecs, "--dataset", "photos", "--points", points, "--jobs", 1


VERIFY = (*run_words(), "--metrics", "psnr,ssim", "--verify", "--results", "mine")


def run(results, *codec_and_points):
    bench(*run_words(*codec_and_points), "--metrics", "psnr", "--results", results, code=0)
    return only_store(results)


def naming(work, kind):
    """Measure with jpeg, then claim another codec in one of the two rows; its stream stays."""
    (work / "stranger.py").write_text(f"from pathlib import Path\nPath({SHOT!r}).touch()\n")
    worker = f"name = 'Stranger'\nscript = 'stranger.py'\npython = {sys.executable!r}\n"
    (work / "stranger.toml").write_text(worker)
    store = run(work / "mine")
    codec, variant = CODE[kind]
    rows = store.versions().rows(named=True)
    rows[0] |= {"codec": codec, "variant": variant, "cell": "f" * 64, "psnr_db": None}
    rows[0] |= {"psnr_db_protocol": None}
    for path in store.folder.glob("per_image/*.parquet"):
        path.unlink()
    store.append(rows)
    return store


@pytest.mark.parametrize("kind", quick(CODE, "command"))
def test_no_verb_runs_what_rows_name_and_the_variant_that_is_left_is_named(work, kind):
    store = naming(work, kind)
    codec, text = CODE[kind][0], CodecSpec.parse(*CODE[kind]).text
    bare = "command" if kind == "file" else codec  # to choose rows is not to name their code
    reporting_words = [
        ("rescore", "--dataset", "photos", "--metrics", "psnr,ssim", "--results", "mine"),
        ("report", "--page", "--results", "mine", "--dataset", "photos", "--metrics", "psnr"),
        ("export", "images", "--dataset", "photos", "--results", "mine", "--to", "out"),
        ("audit", "decode", "mine"),
        ("audit", "rows", "mine", "--dataset", "photos"),
    ]
    silent = [
        VERIFY, ("figures", "paper", "--results", "mine", "--only", "crops"),
        ("audit", "decode", "mine", "--codecs", bare),
        ("check", "--codec", bare, "--against", "mine", "--results", "new", "--dataset", "photos"),
        ("merge", "mine", "--into", "other"),
    ]  # fmt: skip
    for words in (*reporting_words, *silent):
        result = bench(*words)
        assert "Traceback" not in result.stderr, (words, result.stderr)
        assert not (work / SHOT).exists(), words
        if words in reporting_words:
            assert result.returncode == 0, (words, result.stderr)
            assert text in result.stdout + result.stderr, words
    if kind == "command":
        with pytest.raises(Unavailable, match="--codecs"):
            decoded(store.folder, codec, "0.png")
    assert not (work / SHOT).exists()


@pytest.mark.parametrize("kind", ["command", "file"])
@pytest.mark.parametrize("words", [
    ("rescore", "--dataset", "photos", "--metrics", "psnr,ssim", "--results", "mine"),
    ("export", "images", "--dataset", "photos", "--results", "mine", "--to", "out"),
    ("audit", "decode", "mine"),
], ids=lambda words: words[0])  # fmt: skip
def test_what_the_command_names_in_full_runs(work, kind, words):
    naming(work, kind)
    bench(*words, "--codecs", CodecSpec.parse(*CODE[kind]).text)
    assert (work / SHOT).exists()


def test_a_row_that_says_it_is_a_cell_of_the_request_is_not_run(work):
    """Keys of cells can be computed by anyone: a stranger's row may be under yours."""
    store = run(work / "mine")
    codec, variant = CODE["command"]
    first = store.versions().rows(named=True)[0]
    store.append([first | {"codec": codec, "variant": variant, "run": "29990101T000000-0"}])
    assert bench(*VERIFY).returncode in (0, 1)
    assert not (work / SHOT).exists()


def test_own_rows_are_scored_audited_and_decoded_where_their_program_is_named_again(work):
    store = run(work / "mine", COPY, "command.q=1")
    words = ("--dataset", "photos", "--metrics", "psnr_y", "--results", "mine")
    assert store.table()["psnr_y_db"].null_count() == 1
    bench("rescore", *words)
    assert store.table()["psnr_y_db"].null_count() == 1
    assert bench("rescore", *words, "--codecs", COPY).returncode == 0
    assert store.table()["psnr_y_db"].null_count() == 0
    assert json.loads(bench("audit", "decode", "mine", "--json").stdout)["records"] == []
    result = bench("audit", "decode", "mine", "--json", "--codecs", COPY)
    assert json.loads(result.stdout)["records"][0]["identical"] == 1
    assert decoded(store.folder, COPY, "0.png").shape == (30, 40, 3)


def test_results_called_as_a_python_file_load_none(work):
    naming(work, "command").folder.rename(work / "mine" / "stranger.py")
    for words in (
        ("report", "--page", "--results", "mine", "--dataset", "all", "--metrics", "psnr"),
        ("audit", "rows", "mine"),
    ):
        assert bench(*words).returncode == 2
    assert not (work / SHOT).exists()


def test_a_base_codec_counts_as_code_of_its_row():
    assert refers_to_code(CodecSpec("dirac", (("base", "command:decode=x"),)))
    assert not refers_to_code(CodecSpec("dirac", (("base", "hyperprior"), ("steps", "3"))))
    assert not NamedCodecs("dirac").may_run(CodecSpec("dirac", (("base", "./x.py:Y"),)))
