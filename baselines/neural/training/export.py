"""The checkpoint of a run, finished or not, as a codec takes it, with its card."""

from collections.abc import Iterable, Sequence

import torch

from baselines.neural.checkpoint.card import Card
from baselines.neural.checkpoint.checkpoint import make_checkpoint
from baselines.neural.training.loop import precision_steps
from baselines.neural.training.objective import ValidationPoint
from baselines.neural.training.run import make_network, read_record
from baselines.neural.training.run_folder import JOURNAL, Journal, load_state, step_of, taking_up
from baselines.neural.training.session import TrainingRun, TrainingSession
from benchmark.codec import Pixels
from benchmark.errors import UsageError
from benchmark.system.machine import commit

CROP_PX = 256  # of the photographs that say how large activations become


def export(run: TrainingRun, session: TrainingSession) -> Card:
    """Write the run's last saved network to its target; return the card, which says how far it is.

    Raises `UsageError` where the run has saved no state, or one of which no checkpoint can be made.
    """
    state = load_state(run.folder, torch.device("cpu"))
    if state is None:
        raise UsageError(f"{run.folder} holds no training run yet: train without --export-now")
    record = read_record(run.folder)
    subject, recipe = record.subject, record.recipe
    planned = recipe.steps_before(len(recipe.stages))
    with taking_up(run.folder):
        index, step = range(len(recipe.stages))[state["index"]], int(state["step"])
    steps = recipe.steps_before(index) + step
    crops = recipe.crops_by_side(index, step)
    by_side = ", ".join(f"{number} crops of {side} px" for side, number in crops.items())
    whole = f"{crops.total()} crops: " if len(crops) > 1 else ""
    seen = f"{record.photographs} photographs of {session.data_name}, {whole}{by_side}"
    caveat = recipe.caveat
    if subject.start is not None:
        seen += f", begun from checkpoint {subject.start.sha256[:8]} of {subject.start.crops} crops"
    if steps < planned:
        seen += f", stopped after {steps} of {planned} steps"
        caveat = f"{steps} of {planned} training steps"
    _, config = subject.load(recipe.sizes)
    network = make_network(subject, recipe)
    with taking_up(run.folder):
        network.load_state_dict(state["network"])
    card = Card(
        architecture=subject.architecture,
        config=config,
        training_data=seen,
        steps=steps,
        crops=crops.total() + (0 if subject.start is None else subject.start.crops),
        command=session.command,
        commit=commit() or "unknown",
        measured=_measured(run, index, step),
        precision_steps=precision_steps(state, recipe),
        deterministic_steps=state.get("deterministic_steps", 0),
        caveat=caveat,
    )
    try:
        return make_checkpoint(
            run.target,
            network,
            card,
            table_images(session.validation),
            half=session.half,
            quantised=session.quantised,
        )
    except OSError as error:
        raise UsageError(f"{run.target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{run.folder} cannot become a checkpoint: {error}") from error


def _measured(run: TrainingRun, index: int, step: int) -> dict[str, float]:
    """Return the last validation up to a step, by the names of `estimates`."""
    found: dict[str, float] = {}
    for entry in Journal(run.folder / JOURNAL).entries():
        if "validation" in entry and step_of(entry) <= (index, step):
            found |= estimates(ValidationPoint(**point) for point in entry["validation"])
    return found


def estimates(points: Iterable[ValidationPoint]) -> dict[str, float]:
    """Return what a card says of a validation, its rates named as the estimates that they are.

    By q and beta: "validation_q2_beta0_estimated_bpp", "validation_q2_beta0_psnr_db".
    """
    found: dict[str, float] = {}
    for point in points:
        name = f"validation_q{point.q:g}_beta{point.beta:g}"
        found[f"{name}_estimated_bpp"] = point.bpp
        found[f"{name}_psnr_db"] = point.psnr_db
    return found


def table_images(photographs: Sequence[Pixels]) -> list[Pixels]:
    """Return the parts of photographs that say how large activations become."""
    return [pixels[-CROP_PX:, -CROP_PX:] for pixels in photographs]
