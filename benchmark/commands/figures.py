"""`bench figures`: figures of an experiment, and those of the CRDR paper."""

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

from benchmark.commands import options
from benchmark.commands.experiment import verb_options
from benchmark.commands.verb import Verbs, set_signature
from benchmark.compare.experiment import Experiment
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UnknownName, UsageError
from benchmark.measure.request import Request, move_settings_to_points
from benchmark.option import ARGUMENT, DRAWING, TARGET, flatten, opt, subset
from benchmark.registry import USUAL_METRICS
from benchmark.rows.edition import label_of
from benchmark.rows.stored import requested_datasets, stored_dataset
from benchmark.show.figures.style import Look, use_look
from benchmark.show.figures.texts import PaperFigure, write_figure
from benchmark.show.paper.own_figures import FIGURES
from benchmark.spec import text_of_list
from benchmark.system.atomic import require_inside, write_files

figures = Verbs("""Draw a paper's figures from stored results.

Examples:
  bench figures rd --codecs ours,vtm,avif --published hific
  bench figures new
  bench figures bd
  bench figures crdr
""")
File = Annotated[
    Path | None,
    opt(
        ARGUMENT,
        "File of options; default: figures.toml.",
        value="FILE",
        options_file_for="figures",
    ),
]
FOLDER = "Output folder; default: RESULTS/figures, or RESULTS/tables for a table."
Folder = Annotated[Path | None, opt(TARGET, FOLDER, path_check="folder")]
ANY_METRICS = ("rd", "bd")  # figures with any number of metrics; others take two or none
LOOK_OPTIONS = "label colour order style font width format every_curve"


def draw(
    name: str,
    experiment: Experiment,
    look: Look,
    out: Path | None,
    command: str,
    **figure_options: Any,
) -> None:
    """Draw a figure per dataset (`rd`: one for all), and print the paths of its files."""
    dataset_text = experiment.dataset or stored_dataset(experiment.results, "")
    datasets = requested_datasets(experiment.results, dataset_text)
    datasets = [text_of_list(datasets)] if name == "rd" else datasets
    for dataset in datasets:
        stem = name
        if len(datasets) > 1:  # stem: "bd-clic2020-mobile"
            stem += "-" + re.sub(r"[^A-Za-z0-9._-]+", "-", Path(dataset).name)
        with use_look(look):
            paper_figure = FIGURES[name](replace(experiment, dataset=dataset), **figure_options)
            folder = out or experiment.results / "figures"
            if out is None:
                require_inside(experiment.results, folder / stem)
            for path in write_figure(stem, paper_figure.drawing, folder, command):
                print(path)
        for sentence in paper_figure.sentences:
            print(sentence, file=sys.stderr)


def _make_verb(name: str, figure: Callable[..., PaperFigure]) -> Callable[..., None]:

    def verb(file: Path | None = None, **values: Any) -> None:  # `add_verb` reads the file
        draw(name, **values)

    look_options = subset("" if name == "rd" else LOOK_OPTIONS)
    added_parameters: dict[str, tuple[Any, Any]] = {
        "look": (Annotated[Look, look_options], Parameter.empty),
        "file": (File, None),
        "out": (Folder, None),
        "command": (str, ""),
    }
    set_signature(verb, signature(figure).parameters.values(), added_parameters)
    verb.__doc__ = figure.__doc__
    return verb


VERBS = {name: figures.verb(name)(_make_verb(name, figure)) for name, figure in FIGURES.items()}


def require_figures(names: Iterable[str]) -> None:
    """Raise `UnknownName` for an unknown figure."""
    for name in names:
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)


def draw_figures(names: Iterable[str], request: Request, file: Path | None, command: str) -> None:
    """Draw figures of a run's rows, with the options in `file`."""
    from benchmark.rows.schema import metric_names

    codecs, _ = move_settings_to_points(request.codecs, {})
    codec_options = {} if "all" in codecs else {"codecs": codecs}
    run_options = {name: getattr(request, name) for name in ("results", "dataset", "data_dir")}
    run_options |= {"anchor": request.anchor, "bundled": request.bundled}
    has_metrics = request.metrics != metric_names(USUAL_METRICS)
    metric_options = {"metrics": ",".join(request.metrics)} if has_metrics else {}
    for name in names:
        verb = flatten(VERBS[name])
        parameters = signature(verb).parameters
        explicit_options: dict[str, Any] = {
            key: value
            for key, value in run_options.items()
            if key in parameters and value != parameters[key].default
        }
        default_options: dict[str, Any] = codec_options | (
            metric_options if name in ANY_METRICS else {}
        )
        file_options = verb_options(file, name, parameters, explicit_options) if file else {}
        verb(**default_options | file_options | explicit_options, command=command)


@figures.verb("new")
def new(
    path: Annotated[Path, opt(ARGUMENT, "File to write.", value="FILE")] = options.FIGURES_FILE,
    dataset: options.StoredDatasets = "",
    results: options.Results = Path("results"),
) -> None:
    """Write a figures.toml with the eight most relevant codecs, for editing.

    Examples:
      bench figures new
    """
    from benchmark.show.figures.choice import pick_curves
    from benchmark.show.paper.experiment_curves import experiment_curves

    if path.exists():
        raise UsageError(f"{path} already exists: give another file name, or remove it")
    (result,) = experiment_curves(Experiment(results, dataset), [dataset], "rd")
    chosen_curves = pick_curves(result.panels, USUAL_RULE, result.anchor).curves.values()
    codecs = {label_of(curve.spec): curve.title for curve in chosen_curves if curve.measured}
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
    experiment: Annotated[Experiment, subset("results verified_only")],
    request: Annotated[Request, subset("data_dir weights_dir")],
    look: Annotated[Look, subset("style font width format linear_rate every_curve")],
    only: Annotated[
        str, opt(DRAWING, "Comma-separated figures, or 'all': curves_kodak,crops.")
    ] = "all",
    out: Annotated[
        Path | None,
        opt(TARGET, "Output folder; default: RESULTS/figures/crdr.", path_check="folder"),
    ] = None,
    verbose: options.Verbose = False,
    command: str = "",
) -> None:
    """Draw the figures of the CRDR paper.

    Downloads and measures nothing. Lists incomplete figures (-v: with reasons). Exit code 0.

    Examples:
      bench figures crdr
      bench figures crdr --only curves_kodak --font serif --out figures
    """
    from benchmark.show.paper.crdr_figures import draw_crdr

    request.use_folders()
    folder = out or experiment.results / "figures" / "crdr"
    if out is None:
        require_inside(experiment.results, folder / "any")
    sentences_by_kind: dict[str, dict[str, str]] = {}  # figure names by sentence, by kind
    with use_look(look):
        for name, paper_figure in draw_crdr(experiment, only, request.data_dir):
            for path in write_figure(name, paper_figure.drawing, folder, command):
                if path.suffix == f".{look.format[0]}":
                    print(path, flush=True)
            kind = "not drawn" if paper_figure.drawing is None else "incomplete"
            sentences_by_kind.setdefault(kind, {}).update(
                dict.fromkeys(paper_figure.sentences, name)
            )
    for kind, figure_by_sentence in sentences_by_kind.items():
        names = dict.fromkeys(figure_by_sentence.values())
        summary = [f"{kind}: {', '.join(names)} (-v says why)"]
        for sentence in figure_by_sentence if verbose or len(names) <= 1 else summary:
            print(sentence)
