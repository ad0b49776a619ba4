"""`bench train`: train a network or a suite of them from photographs, resumable at any time."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import benchmark
from baselines.commands.training import how_far, train_all
from benchmark.commands import output
from benchmark.commands.options import opt
from benchmark.commands.verb import takes
from benchmark.errors import UnknownName, UsageError
from benchmark.option import MANNER, ORIGIN, TARGET, TRAINED
from benchmark.plan.request import Request

if TYPE_CHECKING:
    from baselines.neural.training.recipe import Recipe
    from baselines.neural.training.session import TrainingRun, TrainingSession

Data = Annotated[
    list[str],
    opt(ORIGIN, "A folder of photographs, or a dataset by name (repeatable).", completes="dataset"),
]
RecipeName = Annotated[
    str, opt(TRAINED, "Recipe: smoke, evening, night, lease, paper, or a .toml file.")
]
MaxMinutes = Annotated[
    float | None,
    opt(MANNER, "Stop after this time with everything saved; the same command resumes.", min=0),
]
ValidationName = Annotated[
    str | None,
    opt(
        ORIGIN,
        "Photographs for validation, never trained on: a dataset or a folder; default: one in "
        "20 of --data, at most 12, which is then not trained on.",
        completes="dataset",
    ),
]
Half = Annotated[bool, opt(MANNER, "Round the exported weights to float16.")]
Quantised = Annotated[
    bool, opt(MANNER, "Export weights of ours, HiFiC and PQ-MIM as integers of 3 to 8 bits.")
]
Quiet = Annotated[bool, opt(MANNER, "Show no progress on standard error.")]


OURS = "ours"
SUITES = ("matched", "field", "generative")


@takes(Request, "device weights_dir")
def train(
    request: Request,
    recipe: RecipeName,
    data: Data,
    out: Annotated[Path, opt(TARGET, "Folder of the run, or of the suite.", refuses="folder")],
    model: Annotated[
        str, opt(TRAINED, "ours (as the recipe), hyperprior, compressai:NAME, or an architecture.")
    ] = OURS,
    suite: Annotated[
        str | None,
        opt(
            TRAINED,
            "Networks trained with ours's budget: matched (ours, hyperpriors), field (Charm, "
            "ELIC, IVR, HiFiC, Multi-Realism), generative (DIRAC, HFD, PQ-MIM).",
        ),
    ] = None,
    members: Annotated[
        str, opt(TRAINED, "Only these of a suite: charm,elic-3 or dirac-jpeg; default: all.")
    ] = "",
    max_minutes: MaxMinutes = None,
    lmbda: Annotated[
        float | None,
        opt(TRAINED, "Rate-distortion weight of a hyperprior (lambda): 0.0008 to 0.018."),
    ] = None,
    widths: Annotated[
        str | None, opt(TRAINED, "Channels N,M of a hyperprior; default: ours's work per pixel.")
    ] = None,
    learning_rate: Annotated[
        float | None, opt(TRAINED, "Learning rate of hyperpriors or a suite; default: the suite's.")
    ] = None,
    start: Annotated[
        Path | None, opt(ORIGIN, "Checkpoint of the same network to begin with.")
    ] = None,
    validation: ValidationName = None,
    export_now: Annotated[
        bool, opt(MANNER, "Train nothing; export the checkpoint of what is trained so far.")
    ] = False,
    deterministic: Annotated[
        bool, opt(MANNER, "Only kernels that give the same bits in every call; slower on a GPU.")
    ] = False,
    half: Half = False,
    quantised: Quantised = False,
    quiet: Quiet = False,
) -> None:
    """Train, or resume earlier training; a finished network becomes a checkpoint with its card.

    Exit code 0 if training is finished or the time is over, 2 if it cannot be done, 130 if
    interrupted, with everything saved. Under torchrun, one process trains on each GPU.

    Examples:
      bench train --recipe smoke --data sample --out runs/smoke
      bench train --recipe night --data photos --out runs/all --suite matched
    """
    from baselines.neural.training.export import export
    from baselines.neural.training.recipe import load_recipe

    request.use_folders()
    runs: Sequence[TrainingRun]
    with output.interruptible("what is saved stays; the same command resumes from there"):
        if suite is None:
            single = _single(model, load_recipe(recipe), out, lmbda, widths, learning_rate)
            if start is not None:
                subject = single.subject.begun_with(start, single.recipe.sizes)
                single = replace(single, subject=subject)
            runs = (single,)
            words = ["--model", model, *_given(lmbda=lmbda, widths=widths, start=start)]
        else:
            if model != OURS or lmbda is not None or widths is not None or start is not None:
                raise UsageError("--suite says itself which models it trains: leave those out")
            runs = _suite(suite, load_recipe(recipe), out, learning_rate, members)
            words = ["--suite", suite]
        given = {"learning_rate": learning_rate, "members": members or None}
        words = ["train", *words, *_given(recipe=recipe, **given)]
        words += ["--deterministic"] if deterministic else []
        session = open_session(words, data, validation, request.device, max_minutes)
        session = replace(session, half=half, quantised=quantised, deterministic=deterministic)
        if not export_now:
            train_all(runs, session, quiet)
            return
        begun = [run for run in runs if run.folder.exists()] or runs
        for run in begun:
            print(f"{run.target}: checkpoint {export(run, session).sha256[:8]}, {how_far(run)}")


def open_session(
    words: Sequence[str],
    data: Sequence[str],
    validation: str | None,
    device: str,
    max_minutes: float | None,
) -> "TrainingSession":
    """Return the conditions of the runs, options checked.

    words: the command for cards, without its data.
    """
    from time import monotonic

    from baselines.neural.training.photographs import (
        held_out,
        photograph_paths,
        read_photograph,
        validation_pictures,
    )
    from baselines.neural.training.session import TrainingSession
    from benchmark.system.settings import use_device

    deadline = None if max_minutes is None else monotonic() + 60 * max_minutes
    named = [word for place in data for word in ("--data", place)]
    paths = tuple(path for place in data for path in _files_of(place))
    chosen = frozenset[str]() if validation else held_out(photograph_paths(paths))
    return TrainingSession(
        data=paths,
        data_name=", ".join(map(_data_name, data)),
        validation=[
            read_photograph(image.path) for image in benchmark.open_dataset(validation).images
        ]
        if validation
        else validation_pictures(list(chosen)),
        held_out=chosen,
        device=use_device(device),
        deadline=deadline,
        command=shlex.join(["bench", *words, *named]),
    )


def _single(
    model: str,
    recipe: "Recipe",
    folder: Path,
    lmbda: float | None,
    widths: str | None,
    learning_rate: float | None,
) -> "TrainingRun":
    from baselines.compressai.config import MODELS
    from baselines.compressai.matched import HYPERPRIOR, compressai, matched_widths, single_rate
    from baselines.neural.architecture import ARCHITECTURES
    from baselines.neural.training.recipe import DEFAULT_ARCHITECTURE
    from baselines.neural.training.run import Subject
    from baselines.neural.training.session import TrainingRun

    zoo = {f"compressai:{one}": one for one in MODELS} | {"hyperprior": HYPERPRIOR}
    architectures = [name for name in ARCHITECTURES if name != "compressai"]
    if model == OURS or model in architectures:
        if lmbda is not None or widths is not None or learning_rate is not None:
            raise UsageError(
                f"{model} takes no --lmbda, --widths or --learning-rate: one network has all "
                "rates, and the recipe says the rest"
            )
        if model == OURS and recipe.architecture != DEFAULT_ARCHITECTURE:
            model = recipe.architecture  # its codec looks for a file of that name
        if model != OURS:
            recipe = _for_architecture(recipe, model)
        target = folder / f"{model}.safetensors"
        return TrainingRun(folder.name, folder, target, Subject(recipe.architecture), recipe)
    if model not in zoo:
        raise UnknownName("model to train", model, [*zoo, OURS, *architectures])
    if lmbda is None or not (lmbda > 0 and math.isfinite(lmbda)):
        raise UsageError(f"--model {model} needs --lmbda above 0, CompressAI's: 0.0062, say")
    single = single_rate(recipe, lmbda, learning_rate=_rate(learning_rate))
    chosen = _pair(widths) if widths else matched_widths(recipe.sizes)
    target = folder / f"{model.rpartition(':')[2]}-1.safetensors"
    return TrainingRun(folder.name, folder, target, compressai(zoo[model], lmbda, chosen), single)


def _for_architecture(recipe: "Recipe", name: str) -> "Recipe":
    """Return the recipe for another architecture; raises `UsageError` where it does not fit."""
    changed = replace(recipe, architecture=name)
    try:
        changed.check_network()
    except ValueError as error:
        raise UsageError(f"the recipe {recipe.name} cannot train {name}: {error}") from error
    return changed


def _suite(
    name: str, recipe: "Recipe", folder: Path, learning_rate: float | None, members: str
) -> "Sequence[TrainingRun]":
    if name not in SUITES:
        raise UnknownName("suite", name, SUITES)
    kept = [word.strip() for word in members.split(",") if word.strip()]
    if name == "field":
        from baselines.neural.training.field_suite import field_suite as suite
    elif name == "generative":
        from baselines.neural.training.suites import generative_suite as suite
    elif members:
        raise UsageError("--members is for the suites field and generative: leave it out")
    else:
        from baselines.compressai.matched import matched_suite

        return matched_suite(recipe, folder, _rate(learning_rate))
    return suite(recipe, folder, _rate(learning_rate), kept)


def _rate(asked: float | None) -> float | None:
    if asked is not None and not (asked > 0 and math.isfinite(asked)):
        raise UsageError(f"--learning-rate {asked:g}: it is above 0")
    return asked


def _pair(text: str) -> tuple[int, int]:
    try:
        n, m = (int(part) for part in text.split(","))
    except ValueError:
        n = m = 0
    if min(n, m) < 1:
        raise UsageError(f"--widths {text!r} is not of the form N,M: 48,172")
    return n, m


def _given(**values: object) -> list[str]:
    """Options that are not at their default, as words."""
    result = []
    for name, value in values.items():
        if value is not None:
            result += [f"--{name.replace('_', '-')}", str(value)]
    return result


def _files_of(place: str) -> list[Path]:
    """Photographs of a dataset, or the folder itself; raises `UsageError`."""
    from benchmark.registry import DATASETS

    if Path(place).is_dir():
        return [Path(place)]
    if place not in DATASETS:
        raise UsageError(f"--data {place}: there is no such folder or dataset")
    return [image.path for image in benchmark.open_dataset(place).images]


def _data_name(place: str) -> str:
    """Name for a card: a dataset's, or a folder's without what lies above its parent.

    >>> _data_name("/data/train/part-1"), _data_name("sample")
    ('train/part-1', 'sample')
    """
    from benchmark.registry import DATASETS

    return place if place in DATASETS else "/".join(Path(place).absolute().parts[1:][-2:])
