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
from benchmark.paper.figures import (
    complexity,
    curves,
    field_curves,
    field_realism,
    realism_plots,
    realism_surface,
)
from benchmark.paper.results import PaperFigure, PaperResults
from benchmark.system.atomic import write_files

ALL = "all"
SUFFIXES = ("pdf", "png", "csv", "tex", "txt")  # of a figure's files; txt is its caption

KODAK = ("psnr", "ms_ssim", "lpips")
KODAK_FIELD = ("psnr", "lpips_squeeze", "fd_squeeze")
CLIC = ("psnr", "fid256")
FIGURES: Mapping[str, Callable[[PaperResults, CropRequest], PaperFigure]] = {
    "curves_clic2020": lambda found, _: curves(found, "clic2020", CLIC),
    "curves_kodak": lambda found, _: curves(found, "kodak", KODAK),
    "field_clic2020": lambda found, _: field_curves(found, "clic2020", CLIC),
    "field_kodak": lambda found, _: field_curves(found, "kodak", KODAK_FIELD),
    "field_realism_fd": lambda found, _: field_realism(
        found, "field_realism_fd", "kodak", "fd_squeeze"
    ),
    "field_realism_lpips": lambda found, _: field_realism(
        found, "field_realism_lpips", "kodak", "lpips_squeeze"
    ),
    "realism_plane": lambda found, _: realism_plots(found),
    "realism_surface": lambda found, _: realism_surface(found),
    "ablation_gan": lambda found, _: ablation(found, "gan"),
    "ablation_discriminator": lambda found, _: ablation(found, "discriminator"),
    "crops": crops,
    "distortions": lambda found, _: distortions(found),
    "complexity": lambda found, _: complexity(found),
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
        drawing, sentences = FIGURES[name](results, request)
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
