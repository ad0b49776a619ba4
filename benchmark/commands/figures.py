"""`bench figures paper`: draw the paper's figures that results allow, say what the others lack."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmark.commands import options
from benchmark.commands.options import opt
from benchmark.commands.verb import Verbs, takes
from benchmark.errors import UsageError
from benchmark.option import DRAWING, TARGET
from benchmark.plan.request import Request

if TYPE_CHECKING:
    from benchmark.paper.paper import WrittenFigure

figures = Verbs("""Draw the figures of a paper from stored results alone.

Examples:
  bench figures paper
""")


@figures.command("paper")
@takes(Request, "data_dir weights_dir")
def paper(
    request: Request,
    only: Annotated[
        str, opt(DRAWING, "Comma-separated figures, or 'all': curves_kodak,crops.")
    ] = "all",
    results: options.Results = Path("results"),
    out: Annotated[
        Path | None,
        opt(TARGET, "Folder to write to; default: RESULTS/figures/paper.", refuses="folder"),
    ] = None,
    photograph: Annotated[
        str, opt(DRAWING, "Photograph that the crops are taken from: kodak/kodim15.png.")
    ] = "",
    window: Annotated[
        str, opt(DRAWING, "Part of the photograph that the crops show: LEFT,TOP,SIDE in pixels.")
    ] = "",
    bpp: Annotated[float | None, opt(DRAWING, "Rate of the crops in bpp.", min=0.001)] = None,
    style: options.StyleName = "usual",
    font: options.Font = "sans",
    verified_only: options.VerifiedOnly = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw the paper's figures, each as PDF, PNG, csv, caption and LaTeX table.

    Nothing is downloaded or measured: a line for each kind of lack says which figures cannot be
    drawn from what is there, -v says why, and the exit code is 0.

    Examples:
      bench figures paper
      bench figures paper --only curves_kodak --font serif --out figures
    """
    from benchmark.figures.style import drawn_in
    from benchmark.paper.crops import CropRequest
    from benchmark.paper.paper import write_paper
    from benchmark.paper.results import PaperResults

    request.use_folders()
    crops = CropRequest(photograph, _window(window), bpp)
    folder = out or results / "figures" / "paper"
    drawn: list[WrittenFigure] = []
    stored = PaperResults(results, request.data_dir, verified_only)
    with drawn_in(style, font):
        for one in write_paper(stored, only, folder, crops):
            if one.pdf is not None:
                print(one.pdf, flush=True)
            drawn.append(one)
    for sentence in _sentences(drawn, verbose):
        print(sentence)


def _sentences(drawn: "Sequence[WrittenFigure]", verbose: bool) -> list[str]:
    """Return what figures lack: every sentence, or a line for a kind that several figures have."""
    kinds: dict[str, dict[str, str]] = {}  # figures by sentence
    for one in drawn:
        for sentence in one.sentences:
            kind = "not drawn" if one.pdf is None else "incomplete"
            kinds.setdefault(kind, {})[sentence] = one.name
    lines: list[str] = []
    for kind, figures in kinds.items():
        names = dict.fromkeys(figures.values())
        if verbose or len(names) == 1:
            lines += figures
        else:
            lines.append(f"{kind}: {', '.join(names)} (-v says why)")
    return lines


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
