"""`bench figures`: figures of one's own experiment, and those of the CRDR paper."""

import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.verb import Verbs, command_line
from benchmark.errors import UnknownName, UsageError
from benchmark.measure.request import Request
from benchmark.option import ARGUMENT, DRAWING, TARGET, opt, some
from benchmark.show.figures.style import Look, drawn_as
from benchmark.show.paper.request import FILE, VERBS, FigureRequest, example
from benchmark.spec import text_of_list
from benchmark.system.atomic import require_inside

figures = Verbs("""Draw the figures of a paper from stored results alone.

Examples:
  bench figures rd --codecs ours,vtm,avif --published hific
  bench figures new
  bench figures bd
  bench figures crdr
""")
File = Annotated[
    Path | None, opt(ARGUMENT, "The figures' record; default: figures.toml.", value="FILE")
]
SHARED = (
    "label colour order style font width format images results dataset codecs bundled metrics "
    "verified_only data_dir out every_curve"
)


def draw_figure(name: str, request: FigureRequest, line: str) -> None:
    """Draw a figure, of each dataset its own but of curves, and print its files.

    line: the command.
    """
    from benchmark.rows.stored import asked_datasets, stored_dataset
    from benchmark.show.paper.figures import draw
    from benchmark.show.paper.results import write_figure

    named = request.dataset or stored_dataset(request.results, "")
    datasets = asked_datasets(request.results, named)
    datasets = [text_of_list(datasets)] if name == "rd" else datasets
    for dataset in datasets:
        stem = name
        if len(datasets) > 1:  # as in "rd-clic2020-mobile"
            stem += "-" + re.sub(r"[^A-Za-z0-9._-]+", "-", Path(dataset).name)
        with drawn_as(request.look()):
            made = draw(name, replace(request, dataset=dataset))
            folder = request.out or request.results / "figures"
            if request.out is None:
                require_inside(request.results, folder / stem)
            for path in write_figure(stem, made, folder, line):
                print(path)
        for sentence in made.sentences:
            print(sentence, file=sys.stderr)


def require_figures(names: Iterable[str]) -> None:
    """Raise `UnknownName` for a figure that there is not."""
    for name in names:
        if name not in VERBS:
            raise UnknownName("figure", name, VERBS)


def _verb(name: str, more: str, text: str) -> None:
    """Add a verb that draws one figure. more: its own options. text: its help."""

    def verb(
        asked: Annotated[FigureRequest, some(f"{SHARED} {more}")],
        context: typer.Context,
        file: File = None,
    ) -> None:
        draw_figure(name, asked.over(file, name), command_line(context))

    verb.__doc__ = text
    figures.verb(name)(verb)


_verb(
    "rd",
    "anchor allow_few published mix_protocols linear_rate up_to_bpp",
    """Draw rate-distortion curves, a panel for each metric.

    At most eight curves: the codecs named, else `ours`, the anchor and the best of each family.
    FILE takes every option as a key, and tables [labels] and [colours]; options override it.

    Examples:
      bench figures rd --codecs ours,vtm,avif --published hific
      bench figures rd figures.toml --width column --label 'ours:beta=3.84=Ours'
    """,
)
_verb(
    "bd",
    "anchor allow_few published mix_protocols up_to_bpp",
    """Draw BD-rates against an anchor as bars with 95 % intervals over images.

    Examples:
      bench figures bd --anchor vtm --metrics psnr,lpips_squeeze
    """,
)
_verb(
    "complexity",
    "anchor allow_few cost up_to_bpp",
    """Draw BD-rates against seconds, and against multiply-accumulates per pixel.

    Seconds are of rows that were timed alone (`bench run --timing`), else typical ones, as open
    markers.

    Examples:
      bench figures complexity --cost seconds
    """,
)
_verb(
    "realism",
    "anchor allow_few published mix_protocols bpp",
    """Draw a metric of realism against one of distortion at some rates.

    Settings of one codec are joined, from the least to the most realistic.

    Examples:
      bench figures realism --metrics psnr,fd_squeeze --bpp 0.1,0.2
    """,
)
_verb(
    "generations",
    "bpp",
    """Draw metrics against generation, of pictures that were coded again and again.

    Each codec is drawn at the setting whose first generation is nearest to --bpp; default: median.

    Examples:
      bench figures generations --bpp 0.5 --metrics psnr,lpips
    """,
)
_verb(
    "crops",
    "bpp box",
    """Draw one part of a photograph as codecs have it at about one rate.

    By default it is the part that the codecs disagree on most, of the photograph on which the
    metric differs most; --images and --box, or `crops` of FILE, choose others.

    Examples:
      bench figures crops --dataset sample --images chelsea --bpp 0.2
      bench figures crops --images kodim15 --box 120,80,192,128
    """,
)


@figures.verb("new")
def new(
    file: File = None,
    dataset: options.StoredDataset = "",
    results: options.Results = Path("results"),
) -> None:
    """Write a figures.toml of the eight codecs that matter most, to be changed by hand.

    Examples:
      bench figures new
    """
    from benchmark.show.figures.choice import choose
    from benchmark.show.paper.evidence import evidence
    from benchmark.system.atomic import write_files

    path = file or FILE
    if path.exists():
        raise UsageError(f"{path} is there: name another file, or remove it")
    result = evidence(FigureRequest(results=results, dataset=dataset), "rd")
    kept = choose(result.panels, result.anchor).kept.values()
    codecs = {c.system.label: c.system.name for c in kept if c.measured}
    write_files(path.parent, {path.name: example(codecs, result.name)}, what="file")
    print(path)


@figures.verb("crdr")
def crdr(
    request: Annotated[Request, some("data_dir weights_dir")],
    look: Annotated[Look, some("style font width format linear_rate every_curve")],
    context: typer.Context,
    only: Annotated[
        str, opt(DRAWING, "Comma-separated figures, or 'all': curves_kodak,crops.")
    ] = "all",
    results: options.Results = Path("results"),
    out: Annotated[
        Path | None,
        opt(TARGET, "Folder to write to; default: RESULTS/figures/crdr.", refuses="folder"),
    ] = None,
    verified_only: options.VerifiedOnly = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw the figures of the CRDR paper.

    Nothing is downloaded or measured: a line for each kind of lack says which figures cannot be
    drawn from what is there, -v says why, and the exit code is 0.

    Examples:
      bench figures crdr
      bench figures crdr --only curves_kodak --font serif --out figures
    """
    from benchmark.show.paper.crdr import draw_crdr
    from benchmark.show.paper.results import PaperResults, write_figure

    request.use_folders()
    folder = out or results / "figures" / "crdr"
    if out is None:
        require_inside(results, folder / "any")
    lacks: dict[str, dict[str, str]] = {}  # figures by sentence, by kind
    with drawn_as(look):
        for name, made in draw_crdr(PaperResults(results, request.data_dir, verified_only), only):
            for path in write_figure(name, made, folder, command_line(context)):
                if path.suffix == f".{look.format[0]}":
                    print(path, flush=True)
            kind = "not drawn" if made.drawing is None else "incomplete"
            lacks.setdefault(kind, {}).update(dict.fromkeys(made.sentences, name))
    for kind, figure_of in lacks.items():
        names = dict.fromkeys(figure_of.values())
        summary = [f"{kind}: {', '.join(names)} (-v says why)"]
        for sentence in figure_of if verbose or len(names) <= 1 else summary:
            print(sentence)
