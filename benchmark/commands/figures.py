"""`bench figures paper`: the figures of the paper that results hold, a sentence on the rest."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.errors import UsageError

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
    style: options.StyleName = "usual",
    attested_only: options.AttestedOnly = False,
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
) -> None:
    """Draw the paper's figures, each as PDF, PNG, csv, caption and LaTeX table.

    Nothing is downloaded or measured: a sentence says what cannot be drawn from what is
    there, and the exit code is 0.
    """
    from benchmark.figures.style import drawn_in
    from benchmark.paper.crops import CropRequest
    from benchmark.paper.paper import write_paper
    from benchmark.paper.results import PaperResults
    from benchmark.system.weights import use_weights_folder

    use_weights_folder(weights_dir)
    request = CropRequest(photograph, _window(window), bpp)
    folder = out or results / "figures" / "paper"
    sentences: dict[str, None] = {}
    with drawn_in(style):
        for one in write_paper(
            PaperResults(results, data_dir, attested_only), only, folder, request
        ):
            if one.pdf is not None:
                print(one.pdf, flush=True)
            sentences |= dict.fromkeys(one.sentences)
    for sentence in sentences:
        print(sentence)


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
