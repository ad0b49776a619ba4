"""Tables without pandas, and data frames as if it had been there from the beginning."""

import sys

import pytest

from conftest import ROOT
from support.processes import ran

LISTS = """
import sys
import pyarrow as pa
import benchmark.rows.schema
table = pa.Table.from_pylist([{"a": 1, "b": "x"}, {"a": None, "b": "y"}])
assert pa.array(["x"]).to_pylist() == ["x"]
assert "pandas" not in sys.modules, "a list of texts has imported it"
"""
FRAMES = {
    "to a frame": """
frame = table.to_pandas()
assert frame["b"].tolist() == ["x", "y"] and frame["a"].isna().tolist() == [False, True]
import pandas
assert type(frame) is pandas.DataFrame
assert pa.array(frame["a"]).null_count == 1, "a series is not known"
""",
    "from a frame": """
import pandas
frame = pandas.DataFrame({"a": [1.0, float("nan")], "b": ["x", None]})
assert pa.Table.from_pandas(frame).to_pylist() == [{"a": 1, "b": "x"}, {"a": None, "b": None}]
""",
}


@pytest.mark.parametrize("use", FRAMES)
def test_lists_become_arrays_without_pandas_and_frames_are_frames(use):
    code = LISTS + FRAMES[use]
    done = ran(sys.executable, "-W", "error", "-c", code, PYTHONPATH=ROOT)
    assert done.returncode == 0, done.stderr
