"""Audits of packs: true ones, and ones with changed streams, metrics and pixels."""

import json
import shutil

import pytest

from benchmark.errors import Unavailable
from benchmark.measure.request import Request
from benchmark.review.sent import open_photographs
from benchmark.rows.store import Store
from support.bench.command import bench
from support.packs.honest_pack import edit_rows
from support.rows.measured import row


def audited(path, photos, results, *words):
    words = ("--metrics", "psnr", "--jobs", 1, "--results", results, "--json", *words)
    result = bench("audit", "pack", path, *(("--dataset", photos) if photos else ()), *words)
    return result.returncode, json.loads(result.stdout)


def test_an_audit_of_a_true_pack_finds_nothing(author, photos, tmp_path):
    code, facts = audited(author / "mine.tar", photos, tmp_path)
    counts = [facts[name] for name in ("streams", "decoded", "compared", "wrong")]
    assert (code, *counts) == (0, 16, 16, {"psnr_db": 16}, [])
    output = bench("audit", "pack", author / "mine.tar", "--dataset", photos, "--metrics", "psnr")
    assert "psnr_db                  16" in output.stdout
    assert "; 16 streams decode " in output.stdout


def test_without_the_sources_an_audit_decodes_and_compares_no_metric(author, photos, tmp_path):
    code, facts = audited(author / "mine.tar", None, tmp_path)
    assert (code, facts["decoded"], facts["compared"]) == (0, 16, {"psnr_db": 0})
    Store(tmp_path / "set").append([row("jpeg", 5, "0.png")])
    Store(tmp_path / "set").amend("20250101T000000-aa", {"request": {"dataset": str(photos)}})
    _, facts = audited(author / "mine.tar", None, tmp_path)
    assert facts["compared"] == {"psnr_db": 16}, "a run recorded the folder"


def test_photographs_are_of_named_folders_and_registered_datasets_or_a_reason(photos, tmp_path):
    request = Request(results=tmp_path, data_dir=tmp_path)
    opened, missing = open_photographs(["set"], [str(photos)], request)
    names = {source.file.name for sources in opened.values() for source in sources}
    assert (names, missing) == ({"0.png", "1.png"}, {}), "the dataset `set` is not registered"
    opened, missing = open_photographs(["clic2020"], [], request)
    assert (opened, [*missing]) == ({}, ["clic2020"])
    with pytest.raises(Unavailable):
        open_photographs([], ["clic2020"], request)


def test_an_audit_finds_changed_streams_metrics_and_pixels(author, photos, tmp_path):
    shutil.unpack_archive(author / "mine.tar", tmp_path, filter="data")

    def edit(rows):
        first, second, third, fourth, *_ = rows
        second["psnr_db"] += 1e-5
        third["decoded_sha256"] = "0" * 64
        fourth["bpp"] = 0.5
        (tmp_path / "mine" / "streams" / first["stream_sha256"]).write_bytes(b"")

    edit_rows(tmp_path / "mine", edit)
    code, facts = audited(tmp_path / "mine", photos, tmp_path)
    assert (code, facts["decoded"], len(facts["wrong"])) == (1, 14, 4)
    assert facts["compared"] == {"psnr_db": 14}
    for words in ("damaged", "psnr_db of ", " other ", " bpp, not 0.5"):
        assert sum(words in difference for difference in facts["wrong"]) == 1, facts["wrong"]


def test_an_audit_compares_pictures_and_says_that_sizes_are_declared(pictures, photos, tmp_path):
    code, facts = audited(pictures, photos, tmp_path)
    counts = [facts[name] for name in ("streams", "declared", "pictures", "compared", "wrong")]
    assert (code, *counts) == (0, 0, 8, 8, {"psnr_db": 8}, [])
    output = bench("audit", "pack", pictures, "--dataset", photos, "--metrics", "psnr")
    assert "declared" in output.stdout


def test_an_audit_finds_changed_pictures_metrics_and_rates(pictures, photos, tmp_path):
    def edit(rows):
        first, second, third, *_ = rows
        second["psnr_db"] += 1e-5
        third["bpp"] = 0.5
        names = (f"{row['decoded_sha256']}.png" for row in (second, first))
        shutil.copy(*(pictures / "pictures" / name for name in names))

    edit_rows(pictures, edit)
    code, facts = audited(pictures, photos, tmp_path)
    assert (code, facts["pictures"], len(facts["wrong"])) == (1, 7, 3), facts["wrong"]
    assert facts["compared"] == {"psnr_db": 6}


def test_a_program_runs_only_where_it_is_named(author, tmp_path):
    result = bench("audit", "pack", author / "code.tar", "--metrics", "psnr")
    assert result.returncode == 2
    assert "--codecs" in result.stderr
