"""The notebook and the examples of the documentation run as written."""

import json
import re
import shutil

import matplotlib as mpl
import pytest

import benchmark
from conftest import ROOT
from support.rows.bundled_results import bundled_results
from tools.notebook import NOTEBOOK, represent, run_cells

mpl.use("Agg")


@pytest.mark.parametrize("folder", [".", pytest.param("docs", marks=pytest.mark.slow)])
def test_the_notebook_runs_from_top_to_bottom(monkeypatch, folder):
    monkeypatch.chdir(ROOT / folder)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    values, names = run_cells(cells)
    rates = names["rates"].set_index("codec")["bd_rate_percent"]
    assert rates["x265"] > rates["vvenc"] > 0
    assert names["measured"]["psnr_db"].is_monotonic_increasing
    assert set(names["means"]["psnr_db_images"]) == {24}
    sizes, errors = zip(*values[-1].values(), strict=True)
    assert list(sizes) == sorted(sizes)
    assert errors[0] > errors[-1]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for cell, value in zip(code, values, strict=True):
        stored = [output["data"].keys() for output in cell["outputs"]]
        new = [] if value is None else [represent(value).keys()]
        assert stored == new, "python -m tools.notebook"
    assert sum("image/png" in output["data"] for cell in code for output in cell["outputs"]) == 1
    assert NOTEBOOK.stat().st_size < 60_000


def test_the_example_of_the_reference_runs(monkeypatch, tmp_path):
    text = (ROOT / "docs" / "python.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    source = source.replace('"kodak", metrics="psnr,lpips")', 'limit=1, metrics="psnr")')
    shutil.copytree(bundled_results() / "kodak", tmp_path / "results" / "kodak")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(source, names)
    assert names["outcome"].measured == len(names["outcome"].cells) > 0
    assert names["axes"].get_ylabel() == "LPIPS (AlexNet) ↓"
    assert len(names["rates"]) == names["means"]["codec"].nunique() - 1


def test_the_reference_names_everything_that_is_offered():
    text = (ROOT / "docs" / "python.md").read_text()
    assert all(f"| `{name}(" in text for name in benchmark.__all__)
