"""`bench figures`: figures of one's own experiment, and those of the CRDR paper."""

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

from benchmark.commands import options
from benchmark.commands.experiment import options_in
from benchmark.commands.verb import Verbs, sign
from benchmark.compare.experiment import Experiment
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UnknownName, UsageError
from benchmark.measure.request import Request, with_settings_as_points
from benchmark.option import ARGUMENT, DRAWING, TARGET, flat, opt, some
from benchmark.registry import USUAL_METRICS
from benchmark.rows.edition import label_of
from benchmark.rows.stored import asked_datasets, stored_dataset
from benchmark.show.figures.style import Look, drawn_as
from benchmark.show.figures.texts import PaperFigure, write_figure
from benchmark.show.paper.own_figures import FIGURES
from benchmark.spec import text_of_list
from benchmark.system.atomic import require_inside, write_files

figures = Verbs("""Draw the figures of a paper from stored results alone.

Examples:
  bench figures rd --codecs ours,vtm,avif --published hific
  bench figures new
  bench figures bd
  bench figures crdr
""")
File = Annotated[
    Path | None,
    opt(ARGUMENT, "The figures' record; default: figures.toml.", value="FILE", fills="figures"),
]
FOLDER = "Folder to write to; default: RESULTS/figures, of a table RESULTS/tables."
Folder = Annotated[Path | None, opt(TARGET, FOLDER, refuses="folder")]
OF_ANY_METRICS = ("rd", "bd")  # others take two, or none
LOOKS = "label colour order style font width format every_curve"


def draw(name: str, of: Experiment, look: Look, out: Path | None, command: str, **own: Any) -> None:
    """Draw a figure, of each dataset its own but of curves, and print its files.

    command: that makes it again. own: options of the figure alone.
    """
    named = of.dataset or stored_dataset(of.results, "")
    datasets = asked_datasets(of.results, named)
    datasets = [text_of_list(datasets)] if name == "rd" else datasets
    for dataset in datasets:
        stem = name
        if len(datasets) > 1:  # as in "bd-clic2020-mobile"
            stem += "-" + re.sub(r"[^A-Za-z0-9._-]+", "-", Path(dataset).name)
        with drawn_as(look):
            made = FIGURES[name](replace(of, dataset=dataset), **own)
            folder = out or of.results / "figures"
            if out is None:
                require_inside(of.results, folder / stem)
            for path in write_figure(stem, made.drawing, folder, command):
                print(path)
        for sentence in made.sentences:
            print(sentence, file=sys.stderr)


def _verb_of(name: str, figure: Callable[..., PaperFigure]) -> Callable[..., None]:
    """Return the verb of a figure: its options, and those of its looks and files."""

    def verb(file: Path | None = None, **values: Any) -> None:  # `add_verb` reads the file
        draw(name, **values)

    looks = some("" if name == "rd" else LOOKS)
    more: dict[str, tuple[Any, Any]] = {
        "look": (Annotated[Look, looks], Parameter.empty),
        "file": (File, None),
        "out": (Folder, None),
        "command": (str, ""),
    }
    sign(verb, signature(figure).parameters.values(), more)
    verb.__doc__ = figure.__doc__
    return verb


VERBS = {name: figures.verb(name)(_verb_of(name, figure)) for name, figure in FIGURES.items()}


def require_figures(names: Iterable[str]) -> None:
    """Raise `UnknownName` for a figure that there is not."""
    for name in names:
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)


def draw_figures(names: Iterable[str], request: Request, file: Path | None, command: str) -> None:
    """Draw figures of a run's rows, with the options of its file."""
    from benchmark.rows.schema import metric_names

    codecs, _ = with_settings_as_points(request.codecs, {})
    own = {} if "all" in codecs else {"codecs": codecs}
    place = {name: getattr(request, name) for name in ("results", "dataset", "data_dir")}
    place |= {"anchor": request.anchor, "bundled": request.bundled}
    named = request.metrics != metric_names(USUAL_METRICS)
    metrics = {"metrics": ",".join(request.metrics)} if named else {}
    for name in names:
        verb = flat(VERBS[name])
        known = signature(verb).parameters
        chosen = {key: of for key, of in place.items() if key in known and of != known[key].default}
        usual: dict[str, Any] = own | (metrics if name in OF_ANY_METRICS else {})
        of_file = options_in(file, name, known, chosen) if file else {}
        verb(**usual | of_file | chosen, command=command)


@figures.verb("new")
def new(
    path: Annotated[Path, opt(ARGUMENT, "The file to write.", value="FILE")] = options.FIGURES_FILE,
    dataset: options.StoredDatasets = "",
    results: options.Results = Path("results"),
) -> None:
    """Write a figures.toml of the eight codecs that matter most, to be changed by hand.

    Examples:
      bench figures new
    """
    from benchmark.show.figures.choice import choose
    from benchmark.show.paper.experiment_curves import experiment_curves

    if path.exists():
        raise UsageError(f"{path} is there: name another file, or remove it")
    (result,) = experiment_curves(Experiment(results, dataset), [dataset], "rd")
    kept = choose(result.panels, USUAL_RULE, result.anchor).kept.values()
    codecs = {label_of(curve.spec): curve.title for curve in kept if curve.measured}
    template = Path(__file__).with_name("figures.toml.in").read_text(encoding="utf-8")
    text = template.format(
        dataset=result.dataset,
        codecs=", ".join(f'"{label}"' for label in codecs),
        labels="\n".join(f'"{label}" = "{name}"' for label, name in codecs.items()),
    )
    write_files(path.parent, {path.name: text}, what="file")
    print(path)


@figures.verb("crdr")
def crdr(
    of: Annotated[Experiment, some("results verified_only")],
    request: Annotated[Request, some("data_dir weights_dir")],
    look: Annotated[Look, some("style font width format linear_rate every_curve")],
    only: Annotated[
        str, opt(DRAWING, "Comma-separated figures, or 'all': curves_kodak,crops.")
    ] = "all",
    out: Annotated[
        Path | None,
        opt(TARGET, "Folder to write to; default: RESULTS/figures/crdr.", refuses="folder"),
    ] = None,
    verbose: options.Verbose = False,
    command: str = "",
) -> None:
    """Draw the figures of the CRDR paper.

    Nothing is downloaded or measured: a line for each kind of lack says which figures cannot be
    drawn from what is there, -v says why, and the exit code is 0.

    Examples:
      bench figures crdr
      bench figures crdr --only curves_kodak --font serif --out figures
    """
    from benchmark.show.paper.crdr_figures import draw_crdr

    request.use_folders()
    folder = out or of.results / "figures" / "crdr"
    if out is None:
        require_inside(of.results, folder / "any")
    lacks: dict[str, dict[str, str]] = {}  # figures by sentence, by kind
    with drawn_as(look):
        for name, made in draw_crdr(of, only, request.data_dir):
            for path in write_figure(name, made.drawing, folder, command):
                if path.suffix == f".{look.format[0]}":
                    print(path, flush=True)
            kind = "not drawn" if made.drawing is None else "incomplete"
            lacks.setdefault(kind, {}).update(dict.fromkeys(made.sentences, name))
    for kind, figure_of in lacks.items():
        names = dict.fromkeys(figure_of.values())
        summary = [f"{kind}: {', '.join(names)} (-v says why)"]
        for sentence in figure_of if verbose or len(names) <= 1 else summary:
            print(sentence)
