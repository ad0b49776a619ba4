"""Two reports in one folder, as a user makes them: each is one set, and nothing else is touched."""

import json
import os
import re
import shlex
import signal

import pytest

from benchmark.commands.report import PAGE_REMOVED, PAGE_UPDATED
from benchmark.errors import StoreError, UsageError
from benchmark.rows.store import Store
from benchmark.show.report.files import ReportFiles
from support.bench.command import output_of
from support.rows.measured import sweep


@pytest.fixture
def results(tmp_path):
    for dataset in ("kodak", "sample"):
        Store(tmp_path / "results" / dataset).append([*sweep("jpeg"), *sweep("webp")])
    return tmp_path / "results"


def bench_report(results, *words, code=0):
    return output_of("report", "--results", results, *words, code=code)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_second_report_elsewhere_leaves_the_first_as_it_was(results, tmp_path):
    first = results / "kodak" / "report"
    bench_report(results, "--dataset", "kodak", "--metrics", "psnr")
    files = {path.name: path.read_bytes() for path in first.iterdir()}
    bench_report(results, "--dataset", "kodak", "--metrics", "lpips", "--out", tmp_path / "other")
    assert {path.name: path.read_bytes() for path in first.iterdir()} == files
    assert "lpips_alex.png" in names(tmp_path / "other")
    assert "psnr_db.png" not in names(tmp_path / "other")
    bench_report(results, "--metrics", "psnr", "--out", tmp_path / "out")
    assert names(tmp_path / "out") == {"kodak", "sample"}
    assert "psnr_db.png" in names(tmp_path / "out" / "sample")


def test_a_second_report_in_the_folder_replaces_the_first_and_nothing_else(results, tmp_path):
    out = tmp_path / "out"
    words = ("--dataset", "kodak", "--out", out)
    bench_report(results, *words, "--metrics", "psnr,ms_ssim")
    assert {"ms_ssim.png", "curves.png"} <= names(out)
    (out / "notes.txt").write_text("mine")
    (out / "ms_ssim.png").write_text("my own figure")
    message = bench_report(results, *words, "--metrics", "psnr")
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "ms_ssim.png").read_text() == "my own figure", "a changed file is the user's"
    assert f"kept: {out / 'ms_ssim.png'} " in message
    listed = json.loads((out / "report.json").read_text())["files"].keys()
    assert listed == names(out) - {"notes.txt", "ms_ssim.png", "report.json"}
    assert "curves.png" not in listed


def test_the_report_names_the_command_that_makes_it_again(results, tmp_path):
    out = tmp_path / "my out"
    words = ("--dataset", "kodak", "--metrics", "psnr", "--linear-rate", "--no-page", "--out", out)
    bench_report(results, *words)
    first = (out / "report.md").read_text()
    (command,) = re.findall("^Made by `(.*)`.$", first, re.MULTILINE)
    expected = "bench", "report", "--results", results, *words
    assert sorted(shlex.split(command)) == sorted(map(str, expected))
    bench_report(results, *words)
    assert (out / "report.md").read_text() == first


def test_a_file_that_bench_did_not_write_is_not_overwritten(results, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "means.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"means\.csv .* --out"):
        bench_report(results, "--dataset", "kodak", "--metrics", "psnr", "--out", out)
    assert names(out) == {"means.csv"}
    (out / "means.csv").unlink()
    (out / "report.json").write_text("[1]")
    with pytest.raises(StoreError, match=r"report\.json "):
        bench_report(results, "--dataset", "kodak", "--metrics", "psnr", "--out", out)


def test_an_old_page_is_written_again_beside_new_figures_or_removed(results, monkeypatch):
    folder = results / "kodak" / "report"
    words = ("--dataset", "kodak", "--metrics")
    picture = folder / "pictures" / f"{'a' * 64}.png"
    bench_report(results, *words, "ms_ssim", "--page", "--page-images", "1MB")
    manifest = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**manifest, "pictures": [picture.name]}))
    first = (folder / "page.html").read_text()
    picture.parent.mkdir(exist_ok=True)
    picture.write_bytes(b"of the page")
    (picture.parent / "mine.png").write_bytes(b"mine")
    reads, read = [], Store.read_rows

    def counted(store, bundled=False, columns=None):
        reads.append(columns)
        return read(store, bundled, columns)

    monkeypatch.setattr(Store, "read_rows", counted)
    assert PAGE_UPDATED in bench_report(results, *words, "psnr")
    assert reads.count(None) == 2, "own rows and bundled ones, each read once"
    assert (folder / "page.html").read_text() != first
    assert json.loads((folder / "report.json").read_text())["page_images"] == "1MB"
    assert not picture.exists()
    assert PAGE_REMOVED in bench_report(results, *words, "ms_ssim", "--no-page")
    assert not (folder / "page.html").exists()
    assert (picture.parent / "mine.png").exists()
    assert "page.html" not in bench_report(results, *words, "psnr")


def test_a_page_whose_making_is_interrupted_leaves_no_old_one_beside_new_ones(results, monkeypatch):
    folder = results / "kodak" / "report"
    bench_report(results, "--dataset", "kodak", "--metrics", "ms_ssim", "--page")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.show.page.write.html_text", interrupted)
    bench_report(results, "--metrics", "psnr", code=130)
    assert "psnr_db.png" in names(folder)
    assert not {"page.html", "ms_ssim.png"} & names(folder)


def test_a_signal_in_the_middle_of_the_exchange_waits_until_it_is_done(tmp_path, monkeypatch):
    old = {"a.txt": "old a", "b.txt": "old b", "gone.txt": "old"}
    new = {"a.txt": "new a", "b.txt": "new b", "c.txt": "new c"}
    ReportFiles(tmp_path, True).replace(old, "old")
    replace = os.replace

    def interrupted(draft, path):
        replace(draft, path)
        signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it is ignored
    monkeypatch.setattr(os, "replace", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            ReportFiles(tmp_path, True).replace(new, "new")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert names(tmp_path) == {*new, "report.json"}
    assert {name: (tmp_path / name).read_text() for name in new} == new
    manifest = json.loads((tmp_path / "report.json").read_text())
    assert (manifest["command"], manifest["files"].keys()) == ("new", new.keys())


def test_a_manifest_of_a_stranger_removes_nothing_elsewhere(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text('{"files": {"../mine.txt": "", "old.txt": ""}}')
    (out / "old.txt").write_text("old")
    ReportFiles(out).replace({"new.txt": "new"}, "")
    assert names(out) == {"new.txt", "report.json"}
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_what_an_exchange_that_was_killed_left_is_removed_by_the_next_report(tmp_path):
    """The manifest that is written first names the files of both sets."""
    ReportFiles(tmp_path).replace({"a.txt": "a", "b.txt": "b"}, "first")
    manifest = json.loads((tmp_path / "report.json").read_text())
    manifest["files"]["c.txt"] = manifest["files"]["b.txt"]
    (tmp_path / "report.json").write_text(json.dumps(manifest))
    (tmp_path / "c.txt").write_text("b")
    ReportFiles(tmp_path).replace({"d.txt": "d"}, "second")
    assert names(tmp_path) == {"d.txt", "report.json"}
