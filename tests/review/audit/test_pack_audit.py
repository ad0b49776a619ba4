"""Audits of packs: true ones, and ones with changed streams, metrics and pixels."""

import shutil

import pytest

from benchmark.commands.audit import _print_pack
from benchmark.datasets.dataset import ImageFile, probe
from benchmark.errors import Unavailable
from benchmark.measure.request import Request
from benchmark.review.audit.pack_audit import (
    Contradiction,
    PackAudit,
    audit_pack,
    find_sources,
    open_photographs,
)
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.store import Store
from support.packs.honest_pack import conditions, rewrite
from support.rows.measured import row


def audited(path, photos, most=2, told=lambda progress: None):
    images = [ImageFile(path.name, path) for path in sorted(photos.iterdir())[:most]]
    sources = probe(images, False, 1)
    known = {(source.sha256, source.width_px): source for source in sources}
    return audit_pack(open_pack(path), known, conditions(metrics=("psnr",)), told)


def test_an_audit_of_a_true_pack_finds_nothing_and_reports_each_stream(author, photos):
    told = []
    assert audited(author / "mine.tar", photos, told=told.append) == (16, 16, {"psnr_db": 16}, ())
    assert [progress[:2] for progress in told] == [(number, 0) for number in range(1, 17)]


def test_without_the_sources_an_audit_decodes_and_compares_no_metric(author, photos):
    assert audited(author / "mine.tar", photos, 0) == (16, 16, {"psnr_db": 0}, ())
    assert audited(author / "mine.tar", photos, 1).compared == {"psnr_db": 8}


def test_sources_are_those_of_named_folders_and_registered_datasets_or_a_reason(
    author, photos, tmp_path
):
    pack = open_pack(author / "mine.tar")
    request = Request(results=tmp_path, data_dir=tmp_path)
    sources, missing = find_sources(pack, [str(photos)], request)
    assert {source.file.name for source in sources.values()} == {"0.png", "1.png"}
    assert missing == {}, "the dataset of its rows, `set`, is not registered"
    store = Store(tmp_path / "set")
    store.append([row("jpeg", 5, "0.png")])
    store.amend("20250101T000000-aa", {"request": {"dataset": str(photos)}})
    assert find_sources(pack, [], request)[0] == sources, "a run recorded the folder"
    opened, missing = open_photographs(["clic2020"], [], tmp_path, flatten=False)
    assert (opened, [*missing]) == ({}, ["clic2020"])
    with pytest.raises(Unavailable):
        open_photographs([], ["clic2020"], tmp_path, flatten=False)


def test_an_audit_finds_a_changed_stream_a_changed_metric_and_changed_pixels(
    author, photos, tmp_path
):
    shutil.unpack_archive(author / "mine.tar", tmp_path, filter="data")
    pack = open_pack(tmp_path / "mine")
    first, second, third, fourth, *_ = pack.streams.values()
    rows = tmp_path / "mine" / "rows.csv"
    psnr = second.fields["psnr_db"]
    rewrite(rows, psnr, repr(float(psnr) + 1e-5))
    rewrite(rows, third.fields["decoded_sha256"], "0" * 64)
    rewrite(rows, f",{fourth.fields['bpp']},", ",0.5,")
    (tmp_path / "mine" / "streams" / first.sha256).write_bytes(b"")
    done = audited(tmp_path / "mine", photos)
    assert (done.decoded, done.compared, len(done.contradictions)) == (14, {"psnr_db": 13}, 4)
    result = {contradiction.what for contradiction in done.contradictions}
    for words in ("is damaged", "psnr_db is ", "decodes to pixels that differ", "its bpp is "):
        assert sum(words in what for what in result) == 1


def test_values_that_are_all_wrong_are_not_said_to_be_none(author, photos, capsys):
    pack = open_pack(author / "mine.tar")
    wrong = (Contradiction("webp quality=30 0.png", "psnr_db is 31.0, not 30.0", "psnr_db"),)
    _print_pack(pack, PackAudit(1, 1, {"psnr_db": 0, "ms_ssim": 0}, wrong), {})
    (line,) = (of for of in capsys.readouterr().out.splitlines() if "no value" in of)
    assert line.endswith("in the pack: ms_ssim")
