"""`bench figures paper`: the figures of the paper that results hold, a sentence on the rest."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.errors import StoreError, UnknownName, UsageError

if TYPE_CHECKING:
    from benchmark.figures.plate import Plate
    from benchmark.paper.plates import Made, Paper

SUFFIXES = ("pdf", "png", "csv", "tex", "txt")  # of a figure's files; txt is its caption

figures = typer.Typer(
    help="Figures of a paper, drawn from results alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@figures.callback()
def _group() -> None:
    """Figures of a paper, drawn from results alone."""


@figures.command("paper")
def paper(
    only: Annotated[
        str, typer.Option(help="Comma-separated figures, or 'all': curves_kodak,crops.")
    ] = "all",
    results: options.Results = Path("results"),
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; default: RESULTS/figures/paper.")
    ] = None,
    photograph: Annotated[
        str, typer.Option(help="The photograph of the crops: kodak/kodim15.png.")
    ] = "",
    window: Annotated[
        str, typer.Option(help="Which part of it the crops show: LEFT,TOP,SIDE in pixels.")
    ] = "",
    bpp: Annotated[float | None, typer.Option(help="The rate of the crops.")] = None,
    attested_only: options.AttestedOnly = False,
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
) -> None:
    """Draw the paper's figures, each as PDF, PNG, csv, caption and LaTeX table.

    Nothing is downloaded or measured: what cannot be drawn from what is there is told in a
    sentence, and the exit code is 0.
    """
    from benchmark.paper.plates import open_paper
    from benchmark.system.weights import use_weights_folder

    use_weights_folder(weights_dir)
    makers = _makers(photograph, window, bpp)
    names = _chosen(only, makers)
    opened = open_paper(results, data_dir, attested_only)
    folder = out or results / "figures" / "paper"
    sentences: list[str] = []
    for name in names:
        made = makers[name](opened)
        _write(folder, name, made.plate)
        if made.plate is not None:
            print(folder / f"{name}.pdf", flush=True)
        sentences += made.sentences
    for sentence in dict.fromkeys(sentences):
        print(sentence)


def _makers(
    photograph: str, window: str, bpp: float | None
) -> "Mapping[str, Callable[[Paper], Made]]":
    """What makes each figure, by file name, in the paper's order."""
    from benchmark.paper import pictures, plates

    wanted = pictures.Wanted(photograph, _window(window), bpp)
    return {
        "curves_clic2020": plates.curves_clic2020,
        "curves_kodak": plates.curves_kodak,
        "realism_plane": plates.realism_plane,
        "realism_surface": plates.realism_surface,
        "ablation_gan": lambda opened: plates.ablation(opened, "gan"),
        "ablation_discriminator": lambda opened: plates.ablation(opened, "discriminator"),
        "crops": lambda opened: pictures.crops(opened, wanted),
        "distortions": pictures.distortions,
        "complexity": plates.complexity,
    }


def _chosen(only: str, makers: "Mapping[str, Callable[[Paper], Made]]") -> list[str]:
    if only == "all":
        return list(makers)
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in makers:
            raise UnknownName("figure", name, makers)
    return names


def _window(text: str) -> tuple[int, int, int] | None:
    if not text:
        return None
    try:
        left, top, side = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--window {text!r} is not of the form LEFT,TOP,SIDE") from None
    if min(left, top) < 0 or side < 1:
        raise UsageError(f"--window {text!r} is no part of a picture")
    return left, top, side


def _write(folder: Path, name: str, plate: "Plate | None") -> None:
    """Each file whole or not at all; what an earlier call left of a figure and this lacks goes."""
    files = _files(plate) if plate else {}
    try:
        for suffix, content in files.items():
            folder.mkdir(parents=True, exist_ok=True)
            draft = folder / f".{name}.{suffix}.{os.getpid()}.part"
            try:
                draft.write_bytes(content)
                os.replace(draft, folder / f"{name}.{suffix}")
            finally:
                draft.unlink(missing_ok=True)
        for suffix in SUFFIXES:
            if suffix not in files:
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"figures in {folder} cannot be written: {error.strerror}") from error


def _files(plate: "Plate") -> dict[str, bytes]:
    from benchmark.figures.style import file_bytes
    from benchmark.figures.table import csv_text, latex

    files = {
        "pdf": file_bytes(plate.figure, "pdf"),
        "png": file_bytes(plate.figure, "png"),
        "csv": csv_text(plate.records).encode(),
        "txt": f"{plate.caption}\n".encode(),
    }
    if plate.table is not None:
        files["tex"] = latex(plate.table, {}).encode()
    return files
