"""`bench check` of rows made up for it: caveats, timing, and requests and rows that are refused."""

import json
from xml.etree import ElementTree

import pytest

from benchmark.check.verb import NoVerdict
from benchmark.errors import DamagedResults
from benchmark.rows.store import Store
from support.bench.command import output_of
from support.rows.measured import sweep


def test_another_chroma_format_or_tuning_is_a_caveat_in_every_output(tmp_path):
    own = {
        "jpeg": {"chroma": "4:2:0", "caveat": "a trial"},
        "avif": {"chroma": "4:4:4", "tuned_for": "SSIM"},
    }
    for codec, columns in own.items():
        Store(tmp_path / codec / "set").append(sweep(codec, **columns))
    files = [tmp_path / name for name in ("c.md", "c.xml")]
    words = ("check", tmp_path / "jpeg", tmp_path / "avif", "--metrics", "psnr")
    text = output_of(*words, "-v", "--markdown", files[0], "--junit", files[1])
    expected = [
        "avif codes chroma as 4:4:4, jpeg as 4:2:0: metrics of RGB count the colour detail that "
        "subsampling removes",
        "avif is tuned for SSIM, jpeg for no stated metric: a metric favours the codec that is "
        "tuned for it",
        "jpeg: a trial",
    ]
    (subject,) = json.loads(output_of(*words, "--json"))["subjects"]
    assert subject["caveats"] == expected
    lines = [f"caveat: {one}" for one in expected]
    assert [line for line in text.splitlines() if line.startswith("caveat")] == lines
    assert [line for line in files[0].read_text().splitlines() if "caveat" in line] == [
        f"- {line}" for line in lines
    ]
    suite = ElementTree.parse(files[1]).getroot()
    assert suite.findtext("system-out") == "\n".join(lines)
    assert (suite.get("tests"), suite.get("errors")) == ("1", "0")


def test_confidence_is_at_least_a_half_and_no_certainty(tmp_path):
    Store(tmp_path / "set").append(sweep("jpeg"))
    for sure, code in ((0.49, 2), (0.5, 0), (0.9999, 0), (0.99995, 2)):
        words = ("check", tmp_path, tmp_path, "--metrics", "psnr", "--confidence", sure)
        output_of(*words, code=code)


def test_rows_that_cannot_be_read_are_no_regression(tmp_path, capsys):
    folder = tmp_path / "old" / "set" / "per_image"
    folder.mkdir(parents=True)
    (folder / "damaged.parquet").write_bytes(b"not parquet")
    with pytest.warns(DamagedResults, match="is left out"):
        assert Store(folder.parent).table().height == 0
    with pytest.raises(NoVerdict, match="cannot be read") as ended:
        output_of("check", tmp_path / "old", tmp_path / "old")
    assert ended.value.exit_code == 4


def test_a_fault_of_the_harness_is_no_regression(tmp_path, monkeypatch):
    Store(tmp_path / "kodak").append(sweep("jpeg"))
    monkeypatch.setattr("benchmark.check.verdict.check", lambda *_, **options: 1 / 0)
    with pytest.raises(NoVerdict, match="ZeroDivisionError"):
        output_of("check", tmp_path / "kodak", tmp_path / "kodak")
