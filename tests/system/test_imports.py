"""Tables without pandas, BD-rates without matplotlib, and both as if they had been there."""

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


DELTAS = """
import sys
import numpy as np
from benchmark.compare.curves import Curve, bd_rate
bpp, quality = np.arange(1.0, 6.0), np.arange(30.0, 35.0)
assert abs(bd_rate(Curve(bpp, quality), Curve(bpp / 2, quality)).value + 50) < 1e-9
assert "matplotlib" not in sys.modules, "bjontegaard has imported it"
import bjontegaard
bjontegaard.plot_rcd(bpp, quality, bpp / 2, quality, method="akima")
import matplotlib.pyplot
assert len(matplotlib.pyplot.get_fignums()) == 1
"""


def test_bd_rates_come_without_matplotlib_and_the_package_plots_as_if_it_were_there():
    done = ran(sys.executable, "-c", DELTAS, PYTHONPATH=ROOT, MPLBACKEND="agg")
    assert done.returncode == 0, done.stderr
