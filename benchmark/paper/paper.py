"""Figures of the paper in their order, written as PDF, PNG, csv, caption and LaTeX table."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import UnknownName
from benchmark.figures.labels import Drawing
from benchmark.figures.style import file_bytes
from benchmark.figures.table import csv_text, latex
from benchmark.paper.ablation import ablation
from benchmark.paper.crops import CropRequest, crops
from benchmark.paper.distortions import distortions
from benchmark.paper.figures import complexity, curves, realism_plots, realism_surface
from benchmark.paper.results import PaperFigure, PaperResults
from benchmark.system.atomic import write_files

ALL = "all"
SUFFIXES = ("pdf", "png", "csv", "tex", "txt")  # of a figure's files; txt is its caption

CLIC = ("psnr", "fid256")
FIELD = ("psnr", "lpips_squeeze", "fd_squeeze")
FIGURES: Mapping[str, Callable[[str, PaperResults, CropRequest], PaperFigure]] = {
    "curves_clic2020": lambda name, found, _: curves(found, name, "clic2020", CLIC),
    "curves_kodak": lambda n, found, _: curves(found, n, "kodak", ("psnr", "ms_ssim", "lpips")),
    "field_clic2020": lambda name, found, _: curves(found, name, "clic2020", CLIC, True),
    "field_kodak": lambda name, found, _: curves(found, name, "kodak", FIELD, True),
    "field_realism_fd": lambda n, found, _: realism_plots(found, n, "kodak", "fd_squeeze", True),
    "field_realism_lpips": lambda n, f, _: realism_plots(f, n, "kodak", "lpips_squeeze", True),
    "realism_plane": lambda name, found, _: realism_plots(found, name, "clic2020", "fid256"),
    "realism_surface": lambda _, found, __: realism_surface(found),
    "ablation_gan": lambda _, found, __: ablation(found, "gan"),
    "ablation_discriminator": lambda _, found, __: ablation(found, "discriminator"),
    "crops": lambda _, found, request: crops(found, request),
    "distortions": lambda _, found, __: distortions(found),
    "complexity": lambda _, found, __: complexity(found),
}


class WrittenFigure(NamedTuple):
    """A figure of the paper: its PDF, None where it cannot be drawn, and sentences on it."""

    name: str
    pdf: Path | None
    sentences: tuple[str, ...]


def write_paper(
    results: PaperResults, names: str, folder: Path, request: CropRequest
) -> Iterator[WrittenFigure]:
    """Draw and write the named figures, comma-separated or "all", and yield each when written.

    Files that an earlier call left of a figure are replaced or removed. Raises `UnknownName` for
    other names, `StoreError` where the folder cannot be written.
    """
    asked = list(FIGURES) if names == ALL else [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)
    for name in asked:
        drawing, sentences = FIGURES[name](name, results, request)
        files = {f"{name}.{suffix}": text for suffix, text in _files(drawing).items()}
        gone = {f"{name}.{suffix}" for suffix in SUFFIXES} - files.keys()
        write_files(folder, files, gone, what="figures")
        yield WrittenFigure(name, folder / f"{name}.pdf" if drawing else None, sentences)


def _files(drawing: Drawing | None) -> dict[str, str | bytes]:
    """Return the contents of a figure's files, by suffix."""
    if drawing is None:
        return {}
    files: dict[str, str | bytes] = {
        "pdf": file_bytes(drawing.figure, "pdf"),
        "png": file_bytes(drawing.figure, "png"),
        "csv": csv_text(drawing.records),
        "txt": f"{drawing.caption}\n",
    }
    if drawing.table is not None:
        files["tex"] = latex(drawing.table, {})
    return files
