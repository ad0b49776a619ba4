"""The ways of a cell and of a report through the code: how many files they enter.

Counted in processes of their own: every file of the project that is imported or whose functions are
called, but for the first lines of folders. A newcomer reads these to follow a cell or a report.
"""

import json
import subprocess
import sys

import pytest

from conftest import ROOT

MOST_OF_A_CELL = 40
MOST_OF_A_WORKER = 18  # after what its server has loaded
MOST_OF_A_REPORT = 45
COUNT = """
import json, sys, threading
def note(frame, event, argument):
    if event == "call":
        files.add(frame.f_code.co_filename)
files = set()
{before}
threading.setprofile(note)
sys.setprofile(note)
{way}
sys.setprofile(None)
print(json.dumps(sorted(files)))
"""
RUN = """
import benchmark
asked = {{"points": ["jpeg.quality=10,20,30,40"], "metrics": "psnr", "results": {results!r}}}
outcome = benchmark.run("jpeg", "sample", limit=1, jobs=1, **asked)
assert outcome.rows["status"].to_list() == ["ok"] * 4
"""
WORKER = """
bench = Workbench(conditions)
assert bench.carry_out(cell).row["status"] == "ok"
"""
LOADED = """
from importlib import import_module
from pathlib import Path
from benchmark.measure.request import Request
from benchmark.measure.cells import Conditions
from benchmark.measure.select import open_matrix
from benchmark.measure.workers import loaded_first
for name in loaded_first():
    import_module(name)
from benchmark.measure.workbench import Workbench
request = Request(codecs=("jpeg",), limit=1, metrics=("psnr",), results=Path({results!r}))
matrix = open_matrix(request)
cell, conditions = matrix.cells[0], Conditions.of(request, matrix.store.folder)
"""
REPORT = """
from benchmark.show.report.report import write_reports
from benchmark.compare.experiment import Experiment
from pathlib import Path
(report,) = write_reports(Experiment(Path({results!r}), "all", metrics="psnr"))
assert report.files
"""


@pytest.fixture
def entered(tmp_path):
    """Return the files that a way enters, after what comes before it."""

    def count(way, before=""):
        parts = (part.format(results=str(tmp_path)) for part in (way, before))
        script = COUNT.format(**dict(zip(("way", "before"), parts, strict=True)))
        words = [sys.executable, "-c", script]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        ours = (f"{ROOT}/benchmark/", f"{ROOT}/baselines/")
        paths = [path for path in json.loads(done.stdout) if path.startswith(ours)]
        folders = (f"{ROOT}/benchmark/__init__.py", "/__init__.py")
        kept = [p for p in paths if p == folders[0] or not p.endswith(folders[1])]
        return [path.removeprefix(f"{ROOT}/") for path in kept]

    return count


def test_the_way_of_a_cell_enters_few_files(entered):
    way = entered(RUN)
    assert {"baselines/jpeg.py", "benchmark/measure/loop.py", "benchmark/rows/store.py"} < {*way}
    assert len(way) <= MOST_OF_A_CELL, "\n".join(way)


def test_the_way_of_a_cell_through_a_worker_enters_few_files(entered):
    way = entered(WORKER, LOADED)
    assert {"baselines/jpeg.py", "benchmark/measure/execute.py", "benchmark/metrics/psnr.py"} < {
        *way
    }
    assert len(way) <= MOST_OF_A_WORKER, "\n".join(way)


def test_the_way_of_a_report_enters_no_more_files_than_it_did(entered):
    entered(RUN)
    way = entered(REPORT)
    assert "benchmark/show/report/report.py" in way
    codecs = [path for path in way if path.startswith("baselines/")]
    assert codecs == ["baselines/facts.py"], "a report enters no codec"
    assert len(way) <= MOST_OF_A_REPORT, "\n".join(way)
