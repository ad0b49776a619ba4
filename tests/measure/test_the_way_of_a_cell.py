"""The ways of a cell and of a report through the code: how many files they enter."""

import sys
from pathlib import Path

from benchmark.measure.loop import run
from benchmark.measure.request import Request
from benchmark.show.report.report import write_reports
from benchmark.show.report.request import ReportRequest
from conftest import ROOT

# That a newcomer reads to follow a cell or a report; files, digests, settings are left out
MOST_FILES = 28
MOST_OF_A_REPORT = 26


class FilesEntered:
    """Context manager that collects the files whose functions are called here; not imports."""

    def __init__(self):
        self.files = set()

    def __enter__(self):
        sys.settrace(self._note)  # called when a function is, and for none of its lines
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _note(self, frame, *_):
        if frame.f_code.co_name != "<module>":
            self.files.add(frame.f_code.co_filename)


def test_the_way_of_a_cell_enters_few_files(tmp_path):
    for quality in (10, 20):  # the first imports and opens what the second finds
        request = Request(
            codecs=("jpeg",), points=(f"jpeg.quality={quality}",), dataset="sample", limit=1,
            jobs=1, metrics=("psnr",), results=tmp_path,
        )  # fmt: skip
        with FilesEntered() as entered:
            outcome = run(request)
    assert outcome.rows["status"].to_pylist() == ["ok"]
    way = files_of(entered)
    assert "baselines/jpeg.py" in way
    assert len(way) <= MOST_FILES, "\n".join(way)


def test_the_way_of_a_report_enters_no_more_files_than_it_did(tmp_path):
    run(
        Request(
            codecs=("jpeg", "webp"), dataset="sample", limit=2, jobs=1, metrics=("psnr",),
            results=tmp_path,
        )
    )  # fmt: skip
    request = ReportRequest(results=tmp_path, metrics="psnr")
    list(write_reports(request))  # the first imports what the second finds
    with FilesEntered() as entered:
        (report,) = write_reports(request)
    assert report.files
    way = files_of(entered)
    assert "benchmark/show/report/report.py" in way
    assert len(way) <= MOST_OF_A_REPORT, "\n".join(way)


def files_of(entered):
    inside = (path for path in map(Path, entered.files) if path.is_relative_to(ROOT))
    files = {path.relative_to(ROOT).as_posix() for path in inside}
    ours = {file for file in files if file.startswith(("benchmark/", "baselines/"))}
    return sorted(one for one in ours if not one.startswith("benchmark/system/"))
