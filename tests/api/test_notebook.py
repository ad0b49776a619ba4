"""The notebook and the examples of the documentation run as they stand."""

import ast
import json
import re
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"

mpl.use("Agg")


def code_cells():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def shown(source, names):
    """Run a cell; return the value of its last line if that is an expression, as Jupyter does."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(NOTEBOOK), "exec"), names)
    return eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names) if last else None


@pytest.mark.parametrize("folder", [".", pytest.param("docs", marks=pytest.mark.slow)])
def test_the_notebook_runs_from_top_to_bottom(monkeypatch, folder):
    monkeypatch.chdir(ROOT / folder)
    names = {"__name__": "notebook"}
    values = [shown("".join(cell["source"]), names) for cell in code_cells()]
    assert any(value == [2, 0] for value in values if isinstance(value, list))
    rates = names["rates"].set_index("codec")["bd_rate_percent"]
    assert rates["vtm"] < rates["x265"] < 0
    assert names["measured"]["psnr_db"].is_monotonic_increasing
    assert set(names["means"]["psnr_db_images"]) == {24}
    sizes, errors = zip(*values[-1].values(), strict=True)
    assert list(sizes) == sorted(sizes)
    assert errors[0] > errors[-1]


def test_the_notebook_keeps_no_outputs():
    assert all(cell["outputs"] == [] for cell in code_cells())
    assert {cell["execution_count"] for cell in code_cells()} == {None}


def test_the_example_of_the_reference_runs(monkeypatch, tmp_path):
    text = (ROOT / "docs" / "python.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    source = source.replace('"kodak", metrics="psnr,lpips")', 'limit=1, metrics="psnr")')
    shutil.copytree(ROOT / "results" / "kodak", tmp_path / "results" / "kodak")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(source, names)
    assert names["outcome"].measured == len(names["outcome"].cells) > 0
    assert names["axes"].get_ylabel() == "LPIPS (AlexNet) ↓"
    assert len(names["rates"]) == names["means"]["codec"].nunique() - 1


def test_the_reference_names_everything_that_is_offered():
    import benchmark

    text = (ROOT / "docs" / "python.md").read_text()
    assert all(f"| `{name}(" in text for name in benchmark.__all__)
