"""Runs of `bench train` and `bench ablation`, planned and trained; a verb imports it to run."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import torch
import typer

import benchmark
from baselines.commands.reports import show_training
from baselines.neural.architecture import ARCHITECTURES
from baselines.neural.crdr.discriminators import DISCRIMINATORS as DESIGNS
from baselines.neural.crdr.objective import ConditionedStage
from baselines.neural.training import photograph_files, photographs
from baselines.neural.training import session as sessions
from baselines.neural.training.gan import GAN_LOSSES
from baselines.neural.training.objective import Precision, precision_of
from baselines.neural.training.recipe import DEFAULT_ARCHITECTURE, Recipe
from baselines.neural.training.run import Subject, device_of, read_record, shared
from baselines.neural.training.run_folder import JOURNAL
from baselines.neural.training.session import TrainingRun, TrainingSession, leads
from baselines.neural.training.workers import Launch, Workers, decided, launched
from benchmark.commands.output import duration
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import DATASETS
from benchmark.system.settings import chosen_device, use_device

if TYPE_CHECKING:
    from baselines.neural.training.trial import StageTrial

OURS = "ours"
PRECISIONS = get_args(Precision)
ASSUMED_FLOPS = 30e12  # of a data-centre GPU in these networks, where nothing is measured
SUITES = ("matched", "field", "generative")


def open_session(
    command: str, data: Sequence[str], validation: str | None, device: str, deadline: float | None
) -> TrainingSession:
    """Return the conditions of the runs; `command` makes the same networks, for their cards."""
    paths = tuple(path for place in data for path in _files_of(place))
    if validation:
        chosen = frozenset[str]()
        images = benchmark.open_dataset(validation).images
        pictures = [photograph_files.read_photograph(image.path) for image in images]
    else:
        chosen = photographs.held_out(photograph_files.photograph_paths(paths))
        if not (pictures := photographs.validation_pictures(list(chosen))):
            why = "held out to validate with, cannot be read: mend it, or give --validation"
            raise UsageError(f"{', '.join(sorted(chosen))}, {why}")
    # A card has the name of a dataset, or of a folder and its parent.
    names = [
        place if place in DATASETS else "/".join(Path(place).absolute().parts[1:][-2:])
        for place in data
    ]
    return TrainingSession(
        data=paths,
        data_name=", ".join(names),
        validation=pictures,
        held_out=chosen,
        device=device_here(device),
        deadline=deadline,
        command=command,
    )


def device_here(asked: str) -> str:
    """Return the kind of device to train on; a card that was named becomes torch's current one."""
    kind = use_device(asked)
    if ":" in asked:
        if Launch.current() is not None:
            why = "torchrun gives each process its card; leave the number out"
            raise UsageError(f"--device {asked}: {why}")
        torch.cuda.set_device(chosen_device())
    return kind


def _files_of(place: str) -> list[Path]:
    path = Path(place)
    if path.is_dir() or (path.is_file() and path.suffix.lower() == photograph_files.ARCHIVE):
        return [path]
    if place not in DATASETS:
        raise UsageError(f"--data {place}: there is no such folder, tar archive or dataset")
    return [image.path for image in benchmark.open_dataset(place).images]


def single(
    model: str,
    recipe: Recipe,
    folder: Path,
    lmbda: float | None,
    widths: str | None,
    learning_rate: float | None,
) -> TrainingRun:
    """Return the run of one network; options that it does not take are refused."""
    from baselines.compressai.matched import HYPERPRIOR, compressai, matched_widths, single_rate
    from baselines.compressai.network import MODELS

    zoo = {f"compressai:{name}": name for name in MODELS} | {"hyperprior": HYPERPRIOR}
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
            recipe = replace(recipe, architecture=model)
            try:
                recipe.check_network()
            except ValueError as error:
                why = f"the recipe {recipe.name} cannot train {model}: {error}"
                raise UsageError(why) from error
        target = folder / f"{model}.safetensors"
        return TrainingRun(folder.name, folder, target, Subject(recipe.architecture), recipe)
    if model not in zoo:
        raise UnknownName("model to train", model, [*zoo, OURS, *architectures])
    if lmbda is None or not (lmbda > 0 and math.isfinite(lmbda)):
        raise UsageError(f"--model {model} needs --lmbda above 0, CompressAI's: 0.0062, say")
    recipe_of_rate = single_rate(recipe, lmbda, learning_rate=_rate(learning_rate))
    chosen = _pair(widths) if widths else matched_widths(recipe.sizes)
    target = folder / f"{model.rpartition(':')[2]}-1.safetensors"
    subject = compressai(zoo[model], lmbda, chosen)
    return TrainingRun(folder.name, folder, target, subject, recipe_of_rate)


def suite(
    name: str, recipe: Recipe, folder: Path, learning_rate: float | None, members: str
) -> Sequence[TrainingRun]:
    """Return the runs of a suite, or of the members named."""
    if name not in SUITES:
        raise UnknownName("suite", name, SUITES)
    kept = [word.strip() for word in members.split(",") if word.strip()]
    rate = _rate(learning_rate)
    if name in ("field", "generative"):
        from baselines.neural.training.suites import field_suite, generative_suite

        planned = field_suite if name == "field" else generative_suite
        return planned(recipe, folder, rate, kept)
    if members:
        raise UsageError("--members is for the suites field and generative: leave it out")
    from baselines.compressai.matched import matched_suite

    return matched_suite(recipe, folder, rate)


def _rate(rate: float | None) -> float | None:
    if rate is not None and not (rate > 0 and math.isfinite(rate)):
        raise UsageError(f"--learning-rate {rate:g}: it is above 0")
    return rate


def _pair(text: str) -> tuple[int, int]:
    try:
        n, m = (int(part) for part in text.split(","))
    except ValueError:
        n = m = 0
    if min(n, m) < 1:
        raise UsageError(f"--widths {text!r} is not of the form N,M: 48,172")
    return n, m


def in_manner(
    runs: Sequence[TrainingRun], precision: str | None, accumulate: int | None, seed: int | None
) -> Sequence[TrainingRun]:
    """Return the runs with a precision, parts of a batch and a seed in place of their recipes'."""
    own: dict[str, Any] = {}
    if precision is not None:
        if precision not in PRECISIONS:
            raise UnknownName("precision", precision, PRECISIONS)
        own = {"autocast": precision == "bfloat16", "tf32": precision == "tf32"}
    if accumulate is not None:
        own["accumulate"] = accumulate
    if seed is not None:
        own["seed"] = seed
    try:
        return [replace(run, recipe=replace(run.recipe, **own)) for run in runs]
    except ValueError as error:
        raise UsageError(f"--accumulate {accumulate}: {error}") from error


def check_runs(runs: Sequence[TrainingRun], session: TrainingSession, device: str) -> None:
    """Print memory, speed and time of each stage of the runs, with nothing written."""
    from baselines.neural.training.trial import trials

    launch = Launch.current()
    chosen = device_of(device, launch)
    fake = chosen == "cpu" and device != "cpu"
    paths = set(photograph_files.photograph_paths(session.data)) - session.held_out
    seen = () if fake else (photographs.open_photographs(sorted(paths)),)
    for run in runs:
        recipe = shared(run.recipe, chosen, launch)
        for stage in recipe.stages:
            stage.find_resources()
        workers = Workers(0, recipe.processes) if launch is None else launched(launch, chosen)
        if launch is None and not fake:
            recipe, workers = replace(recipe, processes=1), Workers()
        seconds = 0.0
        tried = trials(run.subject, recipe, "fake" if fake else chosen, workers, *seen)
        for number, trial in enumerate(tried, start=1):
            _say(f"{run.name}, stage {number}, {trial.kind}: {_cost(trial, workers.count, chosen)}")
            seconds += trial.steps * (trial.seconds or 0.0)
        if not fake:
            _say(f"{run.name}: {duration(seconds)}, without reports and validations")


def _cost(stage: "StageTrial", count: int, device: str) -> str:
    """Return what a stage takes of each of `count` processes, in words; 0 is left out."""
    memory = f"{stage.memory_bytes / 1e9:.3g} GB of tensors, " if stage.memory_bytes else ""
    work = f"{stage.macs / 1e9:.3g} billion multiply-accumulates a step, " if stage.macs else ""
    if stage.seconds is None:
        total = 2 * stage.macs * stage.steps * count / 3600 / ASSUMED_FLOPS
        speed = f"about {total:.3g} GPU hours at {ASSUMED_FLOPS / 1e12:g}e12 operations/s"
    else:
        hours = f"{stage.steps * stage.seconds * count / 3600:.3g}"
        unit = "hours" if device == "cpu" else "GPU hours"
        speed = f"{1 / stage.seconds:.3g} steps/s, {hours} {unit}"
    return f"{stage.steps} steps, {memory}{work}{speed}"


def train_all(runs: Sequence[TrainingRun], session: TrainingSession, quiet: bool) -> None:
    """Train each run to its end and a checkpoint; `typer.Exit` where time or a signal ends it."""
    quiet = quiet or not leads()
    if len(runs) > 1 and not quiet:
        done = sum(map(sessions.is_complete, runs))
        left = sum(run.recipe.steps - sessions.steps_done(run) for run in runs)
        before = f"{len(runs)} networks, {done} finished: {left} steps left"
        print(before, file=sys.stderr, flush=True)
    for run in runs:
        if decided(sessions.is_complete(run)):
            _say(f"{run.target}: finished before, {run.recipe.steps} steps")
            continue
        _train(run, session, quiet)
        if run is not runs[-1]:
            stop_if_over(run, session)


def stop_if_over(run: TrainingRun, session: TrainingSession) -> None:
    """End the command between two runs where the deadline has passed."""
    if decided(session.deadline is not None and monotonic() >= session.deadline):
        _say(f"the time is over after {run.name}; the same command resumes with the next")
        raise typer.Exit(0)


def how_far(recipe: Recipe, done: int) -> str:
    """Return the progress of a run after a step in words."""
    if done == recipe.steps:
        return f"finished, {done} steps"
    stage = recipe.stage_of(done)
    at = f"stage {stage + 1} of {len(recipe.stages)} at step {done - recipe.steps_before(stage)}"
    where = f", in {at}" if done else ""
    return f"{done} of {recipe.steps} steps ({100 * done / recipe.steps:.0f} %){where}"


def export_runs(runs: Sequence[TrainingRun], session: TrainingSession) -> None:
    """Export the checkpoints of what is trained so far."""
    for run in [run for run in runs if run.folder.exists()] or runs:
        card = sessions.export(run, session)
        far = how_far(read_record(run.folder).recipe, sum(card.precision_steps.values()))
        print(f"{run.target}: checkpoint {card.sha256[:8]}, {far}", flush=True)


def _train(run: TrainingRun, session: TrainingSession, quiet: bool) -> None:
    if not quiet:
        done = sessions.steps_done(run)
        stage = run.recipe.stages[run.recipe.stage_of(done + 1)]
        precision: str = precision_of(run.recipe, stage, session.device)
        if precision == "float32" and run.recipe.autocast and not stage.float32:
            precision += ", since the processor has no instructions for bfloat16"
        where = f"on {session.device} in {precision}"
        print(f"{run.name}: {how_far(run.recipe, done)}, {where}", file=sys.stderr, flush=True)
    shown = show_training(run.folder / JOURNAL, run.name, run.recipe, quiet)
    ended = sessions.resume(run, session, shown)
    if ended is not sessions.Ended.FINISHED:
        why = f"{ended.value} after {how_far(run.recipe, sessions.steps_done(run))}"
        _say(f"{run.folder}: {why}; the same command resumes from there")
        raise typer.Exit(130 if ended is sessions.Ended.INTERRUPTED else 0)
    if leads():
        if not quiet:
            print(f"{run.name}: writing {run.target}", file=sys.stderr, flush=True)
        export_runs([run], session)


def _say(sentence: str) -> None:
    if leads():
        print(sentence, flush=True)


# The paper's two ablations: of losses of the GAN, and of designs of discriminators
OBJECTIVE, DISCRIMINATOR = "hrrgan", "independent"  # of the paper's method
OWN = f"{OBJECTIVE}-{DISCRIMINATOR}"
# Names to labels in figures, the method's own last
OBJECTIVES: Mapping[str, str] = {name: loss.label for name, loss in GAN_LOSSES.items()}
DISCRIMINATORS: Mapping[str, str] = {
    **{name: design.label for name, design in DESIGNS.items() if name != DISCRIMINATOR},
    DISCRIMINATOR: DESIGNS[DISCRIMINATOR].label,
}
KINDS = ("gan", "discriminator")


class Variant(NamedTuple):
    """A variant that an ablation trains, measures and draws as a curve."""

    name: str  # of its run: loss and design, so that both ablations share it
    label: str  # in figures
    recipe: Recipe  # all stages


class Ablation(NamedTuple):
    """Runs that differ in a choice."""

    common: Recipe | None  # all stages but the last; None without others
    variants: tuple[Variant, ...]


def ablation(kind: str, recipe: Recipe, only: tuple[str, ...] = ()) -> Ablation:
    """Return the runs of one of `KINDS`; `only` restricts it to variants by their short names.

    Raises `UnknownName`, and `UsageError` for a recipe whose last stage has no GAN.
    """
    if kind not in KINDS:
        raise UnknownName("ablation", kind, KINDS)
    *earlier, last = recipe.stages
    if not isinstance(last, ConditionedStage) or not last.has_gan:
        raise UsageError(f"the last stage of {recipe.name} has no GAN: its gan_per_beta is 0")
    known = OBJECTIVES if kind == "gan" else DISCRIMINATORS
    for name in only:
        if name not in known:
            raise UnknownName(f"variant of {kind}", name, known)
    variants = []
    for name, label in known.items():
        if not only or name in only:
            gan, design = (name, DISCRIMINATOR) if kind == "gan" else (OBJECTIVE, name)
            changed = replace(last, objective=gan, discriminator=design)
            whole = replace(recipe, stages=(*earlier, changed))
            variants.append(Variant(f"{gan}-{design}", label, whole))
    common = replace(recipe, stages=tuple(earlier)) if earlier else None
    return Ablation(common, tuple(variants))
