"""Figures written as files: what was asked for, csv, LaTeX table, caption and details."""

from pathlib import Path

from benchmark.figures.labels import Drawing
from benchmark.figures.look import FORMATS
from benchmark.figures.style import files_of
from benchmark.figures.table import csv_text, latex
from benchmark.paper.results import PaperFigure
from benchmark.system.atomic import write_files

# txt: the caption; details.md: protocols, builds, sources, and what is left out
SUFFIXES = (*FORMATS, "csv", "tex", "txt", "details.md")


def write_figure(name: str, made: PaperFigure, folder: Path, command: str) -> list[Path]:
    """Write the files of a figure in place of those of an earlier one; return the drawn ones.

    command: that makes it again. Raises `StoreError` where the folder cannot be written.
    """
    files = _files(name, made.drawing, command)
    gone = {f"{name}.{suffix}" for suffix in SUFFIXES} - files.keys()
    write_files(folder, files, gone, what="figures")
    return [folder / file for file in files if file.rpartition(".")[2] in FORMATS]


def _files(name: str, drawing: Drawing | None, command: str) -> dict[str, str | bytes]:
    if drawing is None:
        return {}
    lines = [f"# {name}", drawing.caption, *(f"- {detail}" for detail in drawing.details)]
    if command:
        lines.append(f"Made by `{command}`.")
    files = files_of(drawing.figure, name)
    files |= {
        f"{name}.csv": csv_text(drawing.records),
        f"{name}.txt": f"{drawing.caption}\n",
        f"{name}.details.md": "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]) + "\n",
    }
    if drawing.table is not None:
        files[f"{name}.tex"] = latex(drawing.table, {})
    return files
