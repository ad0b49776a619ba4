"""The report of a study's answers: its files, who is left out, what the command says."""

import json

import msgspec
import numpy as np
import polars as pl
import pytest

from benchmark.errors import UsageError
from benchmark.study.report import read_study
from support.bench.command import bench
from support.rows.study import simulated


@pytest.fixture(scope="module")
def answered(tmp_path_factory, write):
    """Returns a folder with `study` and `answers` of eight raters, a hostile file among them."""
    folder = tmp_path_factory.mktemp("answered")
    key = write(folder / "study", raters=8, questions=12)[0]
    (folder / "answers").mkdir()
    rng = np.random.default_rng(0)
    scores = np.array([{"jpeg": 0.0, "webp": 1.0, "jpeg2000": 2.0}[s.system] for s in key.stimuli])
    for number in range(1, 9):
        content = msgspec.json.encode(simulated(key, number, scores, rng, lapses=0))
        (folder / "answers" / f"{number}.json").write_bytes(content)
    (folder / "answers" / "again.json").write_bytes(content)
    (folder / "answers" / "hostile.json").write_text('{"study": "<b>", "rater": NaN}')
    return folder


def test_the_command_writes_tables_a_figure_a_page_and_rows(answered, measured):
    place = "--anchor", "jpeg", "--results", measured / "results"
    words = "study", "read", answered / "study", answered / "answers", *place
    output = bench(*words, code=0).stdout
    for sentence in ("96 answers of 8 raters on 2 images", "2 of 10 files excluded",
                     "Excluded: 1 ("):  # fmt: skip
        assert sentence in output
    scores, bits, agreement = json.loads(bench(*words, "--json").stdout)
    assert {record["codec"] for record in scores["records"]} == {"jpeg", "webp", "jpeg2000"}
    assert {record["system"] for record in bits["records"]} == {"WebP", "JPEG 2000"}
    assert {"PSNR (dB)", "MS-SSIM (dB)"} & {record["name"] for record in agreement["records"]}
    report = answered / "study" / "report"
    for kind in ("md", "html", "parquet", "pdf", "png", "csv"):
        assert (report / f"preference.{kind}").stat().st_size > 100
    rows = pl.read_parquet(report / "preference.parquet")
    assert {"codec", "bpp", "preference", "low", "high", "protocol"} <= {*rows.columns}
    assert rows["preference"].sum() == pytest.approx(0, abs=1e-6)
    assert rows.select((pl.col("preference").is_between("low", "high")).all()).item()
    preference = pl.read_csv(report / "preference.csv")
    assert sorted(preference["value"]) == pytest.approx(sorted(rows["preference"]))
    assert "Bars: 95 % intervals." in (report / "preference.txt").read_text()
    text = (report / "preference.md").read_text()
    assert "hostile.json: " in text
    assert "PSNR (dB)" in text
    assert "<b>" not in text


def test_nothing_but_files_that_are_left_out_is_refused_in_a_sentence(answered, measured):
    files = [answered / "answers" / "hostile.json"]
    with pytest.raises(UsageError, match=r"1 file .*: hostile\.json"):
        read_study(answered / "study", files, measured / "results")
