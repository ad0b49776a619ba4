"""Execute docs/notebook.ipynb, and store the outputs of its cells as Jupyter does.

Run `python -m tools.notebook`; tests/api/test_notebook.py runs the cells too.
"""

import ast
import base64
import json
from contextlib import chdir
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
DPI = 72  # low, since git stores the notebook and browsers show it
COLOURS = 32  # colours of a figure's palette; a palette halves the size of the file


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; return the value of its last statement if this is an expression, else None."""
    tree = ast.parse(source)
    last_statement = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(NOTEBOOK), "exec"), names)
    if not isinstance(last_statement, ast.Expr):
        return None
    return eval(compile(ast.Expression(last_statement.value), str(NOTEBOOK), "eval"), names)


def represent(value: Any) -> dict[str, Any]:
    """Return a value's representations in Jupyter, by media type."""
    if isinstance(value, Figure):
        return {"image/png": base64.b64encode(render(value)).decode(), "text/plain": "<Figure>"}
    texts = {"text/plain": repr(value)}
    if hasattr(value, "_repr_html_"):
        texts["text/html"] = value._repr_html_()
    return {kind: text.splitlines(keepends=True) for kind, text in texts.items()}


def render(figure: Figure) -> bytes:
    """Convert a figure to a PNG with a palette."""
    from PIL import Image

    png, palette_png = BytesIO(), BytesIO()
    figure.savefig(png, dpi=DPI)
    with Image.open(png) as image:
        image.convert("RGB").quantize(COLOURS).save(palette_png, "PNG", optimize=True)
    return palette_png.getvalue()


def run_cells(cells: list[dict[str, Any]]) -> tuple[list[Any], dict[str, Any]]:
    """Run the code cells; return their values, and the variables that they define."""
    names: dict[str, Any] = {"__name__": "notebook"}
    sources = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return [run_cell(source, names) for source in sources], names


def main() -> None:
    """Execute the notebook in the project's root, and write it with its outputs."""
    mpl.use("Agg")
    notebook = json.loads(NOTEBOOK.read_text())
    with chdir(ROOT):
        values, _ = run_cells(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, value) in enumerate(zip(code, values, strict=True), 1):
        outputs = []
        if value is not None:
            facts = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
            outputs.append({**facts, "data": represent(value)})
        cell |= {"execution_count": number, "outputs": outputs}
    NOTEBOOK.write_text(f"{json.dumps(notebook, indent=1, ensure_ascii=False)}\n")


if __name__ == "__main__":
    main()
