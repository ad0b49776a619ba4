"""A metric in a user's file: its column, its protocol, and each mistake as one sentence."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import benchmark
from benchmark.errors import UsageError
from benchmark.registry import metric_class
from benchmark.rows.packs.merge import merge_folders
from benchmark.rows.schema import metric_names
from support.bench.command import bench
from support.files.noise import noise_images
from support.rows.stable_rows import only_store

WHOLE = '''"""A metric of the tests."""


class Mine:
    column = "mine_error"
    label = "Mine"
    better = "lower"
    protocol = "mine/1"

    def prepare(self, reference):
        return reference.astype(float)

    def compare(self, prepared, decoded):
        return abs(prepared - decoded).mean()
'''
NAME = "./mine.py:Mine"


def prepare(folder, patch):
    patch.chdir(folder)
    noise_images(folder / "photos", [(180, 170), (181, 170)])
    (folder / "mine.py").write_text(WHOLE)
    return folder


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    return prepare(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        prepare(tmp_path_factory.mktemp("measured"), patch)
        run(code=0)
        return Path("r").absolute()


@pytest.fixture
def measured(work_folder, results):
    shutil.copytree(results, work_folder / "r")
    return work_folder


def run(*words, metrics=f"psnr,{NAME}", results="r", code=None):
    fixed = ("--codecs", "jpeg", "--points", "jpeg.quality=30,60", "--dataset", "photos")
    return bench("run", *fixed, "--metrics", metrics, "--results", results, *words, code=code)


def rows(results="r"):
    return only_store(Path(results)).table().rows(named=True)


def edited(old, new):
    return WHOLE.replace(old, new)


MISTAKES = {  # the file, the metric, and what the sentence names
    "syntax": (edited("prepared, decoded)", "prepared, decoded"), NAME, "line 13"),
    "no such class": (WHOLE, "./mine.py:Mien", "'Mien'", "Did you mean 'Mine'?"),
    "no class named": (WHOLE, "./mine.py", "./mine.py:Mine"),
    "no file": (WHOLE, "./other.py:Mine", "./other.py"),
    "no compare": (edited("def compare", "def compares"), NAME, "line 4", "'compare'"),
    "no column": (edited("column =", "col ="), NAME, "line 4", "`column`"),
    "space": (edited('"mine_error"', '"mine error"'), NAME, "line 4", "'mine error'"),
    "direction": (edited('"lower"', '"smaller"'), NAME, "line 4", "'smaller'"),
    "no protocol": (edited("protocol =", "rule ="), NAME, "line 4", "`protocol`"),
    "of the harness": (edited('"mine_error"', '"psnr_db"'), NAME, "line 4", "'psnr_db'"),
    "of the table": (edited('"mine_error"', '"bpp"'), NAME, "line 4", "'bpp'"),
    "of a set": (edited('"mine_error"', '"fid256"'), NAME, "line 4", "'fid256'"),
    "of another": (WHOLE, f"{NAME},./mine.py:Other", "line 17", "'mine_error'"),
    "a whole dataset": (edited("def compare", "def reduce"), NAME, "line 4", "CONTRIBUTING.md"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_metric_file_is_one_sentence_before_anything_runs(mistake, work_folder):
    source, name, *names = mistake
    second_class = "" if "line 13" in names else "\n\nclass Other(Mine):\n    pass\n"
    (work_folder / "mine.py").write_text(source + second_class)
    result = run(metrics=f"psnr,{name}")
    assert result.returncode == 2
    (sentence,) = result.stderr.splitlines()
    assert all(part in sentence for part in names), sentence
    assert not (work_folder / "r").exists()


def test_all_stands_for_every_metric_beside_a_users_one_as_well(work_folder):
    assert metric_names(f"all,{NAME}") == (*metric_names("all"), NAME)
    with pytest.raises(UsageError, match="'mine'"):
        metric_names("psnr,mine")


def test_values_are_those_of_the_class_under_a_protocol_with_the_files_digest(measured):
    for row in rows():
        assert re.fullmatch(r"mine/1-[0-9a-f]{12}", row["mine_error_protocol"])
        assert row["mine_error_reason"] is None
    row = min(rows(), key=lambda row: (row["image"], row["setting_value"]))
    source = np.asarray(Image.open("photos/0.png")).astype(float)
    codec = benchmark.open_codec("jpeg")
    decoded = codec.decode(codec.encode(source.astype(np.uint8), 30))
    assert row["mine_error"] == pytest.approx(abs(source - decoded).mean(), abs=1e-12)


def test_an_edited_metric_is_measured_again_and_old_values_do_not_count(measured):
    old_rows = {row["cell"]: row for row in rows()}
    assert run().stdout.count("0 cells measured") == 1
    (measured / "mine.py").write_text(WHOLE.replace(".mean()", ".mean() + 1"))
    bench("report", "--dataset", "photos", "--metrics", NAME, "--results", "r", code=0)
    (details,) = measured.glob("r/*/report/details.md")
    assert " mine/1-" in details.read_text()
    run(code=0)
    for row in rows():
        old = old_rows[row["cell"]]
        assert row["mine_error"] == pytest.approx(old["mine_error"] + 1, abs=1e-12)
        assert row["mine_error_protocol"] != old["mine_error_protocol"]
        assert row["psnr_db"] == old["psnr_db"]


def test_rescore_fills_it_in_or_says_why_it_is_absent_and_a_run_without_it_keeps_it(work_folder):
    run(metrics="psnr")
    assert "mine_error" not in rows()[0]
    rescore = ("rescore", "--dataset", "photos", "--metrics", NAME, "--results", "r")
    (work_folder / "mine.py").write_text(WHOLE.replace(".mean()", ".mean() * float('nan')"))
    assert "mine_error of 4 cells: " in bench(*rescore).stdout
    (work_folder / "mine.py").write_text(WHOLE)
    assert " 4 values " in bench(*rescore).stdout
    values = {row["cell"]: row["mine_error"] for row in rows()}
    assert all(value > 0 for value in values.values())
    run("--timing", metrics="psnr,ssim")  # other versions of the same rows
    assert {row["cell"]: row["mine_error"] for row in rows()} == values


def test_rows_alone_never_lead_to_its_file_and_its_column_stays(measured):
    (measured / "mine.py").write_text(f"open('ran', 'w')\n{WHOLE}")
    values = sorted(row["mine_error"] for row in rows())
    run(metrics="psnr,ssim", code=0)
    for words in (("report", "--metrics", "all"), ("rescore", "--metrics", "psnr")):
        bench(*words, "--dataset", "photos", "--results", "r", code=0)
    bench("audit", "decode", "r", code=0)
    bench("merge", "r", "--into", "s", code=0)
    assert sorted(row["mine_error"] for row in rows("s")) == values
    frame = benchmark.load(*Path("r").iterdir())
    assert sorted(frame["mine_error"]) == values
    benchmark.summary(frame, metrics="psnr")
    assert not Path("ran").exists()


def test_the_python_interface_the_check_and_the_tables_take_it(measured):
    (folder,) = Path("r").iterdir()
    means = benchmark.summary(benchmark.load(folder), metrics=["psnr", NAME])
    assert means["mine_error_images"].tolist() == [2, 2]
    shutil.copytree("r", "s")
    checked = bench("check", "r", "s", "--metrics", f"psnr,{NAME}", "--margin", f"{NAME}=2%")
    assert "Mine" in checked.stdout, checked.stderr
    matched = bench("match", "jpeg", "jpeg", "--dataset", folder.name, "--metric", NAME,
                    "--results", "r")  # fmt: skip
    assert matched.stderr.startswith("bench: jpeg and jpeg ")


def test_folders_with_and_without_the_column_are_merged(work_folder):
    run(metrics="psnr", results="a")
    run("--limit", "1", results="b")
    (merged,) = merge_folders([work_folder / "a", work_folder / "b"], work_folder / "c")
    assert merged.conflicts == ()
    by_image = {row["image"]: row["mine_error"] for row in rows("c")}
    assert by_image["0.png"] > 0
    assert by_image["1.png"] is None


def test_an_exception_of_the_metric_is_a_null_with_its_line_and_exit_code_1(work_folder):
    (work_folder / "mine.py").write_text(edited("return abs(", "return 1 / 0 + ("))
    result = run()
    assert result.returncode == 1
    reported = "score: mine.py, line 14, in compare: ZeroDivisionError: division by zero"
    (line,) = [line for line in result.stdout.splitlines() if reported in line]
    assert " and 1 more: failed: " in line
    for row in rows():
        assert (row["status"], row["mine_error"]) == ("ok", None)
        assert row["mine_error_reason"].startswith("mine.py, line 14, in compare: Zero")
        assert row["psnr_db"] > 0


def test_a_metric_with_a_device_gets_it_and_one_that_fails_to_start_is_told(work_folder):
    init = '\n    def __init__(self, device):\n        self.device = {"cpu": 1}[device]\n'
    (work_folder / "mine.py").write_text(WHOLE + init)
    assert metric_class(NAME)(device="cpu").device == 1
    (work_folder / "mine.py").write_text(WHOLE + init.replace('"cpu"', '"gpu"'))
    result = run()
    assert (result.returncode, result.stdout.count("in __init__: KeyError: 'cpu'")) == (1, 2)
