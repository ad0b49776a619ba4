"""`bench figures paper`: draw the paper's figures that results allow, say what the others lack."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.refusals import target_folder
from benchmark.commands.verb import Verbs
from benchmark.errors import UsageError

figures = Verbs("""Draw the figures of a paper from stored results alone.

Examples:
  bench figures paper
""")


@figures.command("paper")
def paper(
    only: Annotated[
        str,
        typer.Option(
            help="Comma-separated figures, or 'all': curves_kodak,crops.",
            rich_help_panel=options.DRAWING,
        ),
    ] = "all",
    results: options.Results = Path("results"),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; default: RESULTS/figures/paper.",
            rich_help_panel=options.TARGET,
            callback=target_folder,
        ),
    ] = None,
    photograph: Annotated[
        str,
        typer.Option(
            help="Photograph that the crops are taken from: kodak/kodim15.png.",
            rich_help_panel=options.DRAWING,
        ),
    ] = "",
    window: Annotated[
        str,
        typer.Option(
            help="Part of the photograph that the crops show: LEFT,TOP,SIDE in pixels.",
            rich_help_panel=options.DRAWING,
        ),
    ] = "",
    bpp: Annotated[
        float | None,
        typer.Option(min=0.001, help="Rate of the crops in bpp.", rich_help_panel=options.DRAWING),
    ] = None,
    style: options.StyleName = "usual",
    font: options.Font = "sans",
    verified_only: options.VerifiedOnly = False,
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
) -> None:
    """Draw the paper's figures, each as PDF, PNG, csv, caption and LaTeX table.

    Nothing is downloaded or measured: a sentence says what cannot be drawn from what is
    there, and the exit code is 0.

    Examples:
      bench figures paper
      bench figures paper --only curves_kodak --font serif --out figures
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
    stored = PaperResults(results, data_dir, verified_only)
    with drawn_in(style, font):
        for one in write_paper(stored, only, folder, request):
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
