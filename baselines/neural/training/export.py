"""The checkpoint of a run, finished or not, as a codec takes it, with its card."""

from collections.abc import Iterable, Sequence

import torch

from baselines.neural.checkpoint.card import UNKNOWN, Card
from baselines.neural.checkpoint.checkpoint import make_checkpoint
from baselines.neural.training.loop import precision_steps
from baselines.neural.training.objective import ValidationPoint
from baselines.neural.training.run import make_network, read_record
from baselines.neural.training.run_folder import JOURNAL, Journal, load_state, restoring, step_of
from baselines.neural.training.session import TrainingRun, TrainingSession
from benchmark.codec import Pixels
from benchmark.errors import UsageError
from benchmark.system.machine import commit

CROP_PX = 256  # of the photographs from which integer tables are made


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
    _, config = subject.load(recipe.sizes)
    network = make_network(subject, recipe)
    with restoring(run.folder):
        index, step = range(len(recipe.stages))[state["index"]], int(state["step"])
        network.load_state_dict(state["network"])
    steps, crops = recipe.steps_before(index) + step, recipe.crops_by_side(index, step)
    by_side = ", ".join(f"{number} crops of {side} px" for side, number in crops.items())
    whole = f"{crops.total()} crops: " if len(crops) > 1 else ""
    seen = f"{record.photographs} photographs of {session.data_name}, {whole}{by_side}"
    earlier, caveat = 0, recipe.caveat
    if subject.start is not None:
        earlier = subject.start.crops
        seen += f", begun from checkpoint {subject.start.sha256[:8]} of {earlier} crops"
    if steps < planned:
        seen += f", stopped after {steps} of {planned} steps"
        caveat = f"{steps} of {planned} training steps"
    measured: dict[str, float] = {}  # by the last validation up to this step
    for entry in Journal(run.folder / JOURNAL).entries():
        if "validation" in entry and step_of(entry) <= (index, step):
            measured |= estimates(ValidationPoint(**point) for point in entry["validation"])
    card = Card(
        architecture=subject.architecture,
        config=config,
        training_data=seen,
        steps=steps,
        crops=crops.total() + earlier,
        command=session.command,
        commit=commit() or "unknown",
        measured=measured,
        precision_steps=precision_steps(state, recipe),
        deterministic_steps=state.get("deterministic_steps", 0),
        optimiser=", ".join(dict.fromkeys(stage.optimiser for stage in recipe.stages[: index + 1])),
        seed=recipe.seed,
        device=state.get("device", UNKNOWN),
        caveat=caveat,
    )
    try:
        images = table_images(session.validation)
        form = {"half": session.half, "quantised": session.quantised}
        return make_checkpoint(run.target, network, card, images, **form)
    except OSError as error:
        raise UsageError(f"{run.target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{run.folder} cannot become a checkpoint: {error}") from error


def estimates(points: Iterable[ValidationPoint]) -> dict[str, float]:
    """Return the numbers of a validation for a card, named as the estimates that they are.

    By q and beta: "validation_q2_beta0_estimated_bpp", "validation_q2_beta0_psnr_db".
    """
    return {
        f"validation_q{point.q:g}_beta{point.beta:g}_{name}": value
        for point in points
        for name, value in (("estimated_bpp", point.bpp), ("psnr_db", point.psnr_db))
    }


def table_images(photographs: Sequence[Pixels]) -> list[Pixels]:
    """Return parts of photographs, from which the range of activations is calibrated."""
    return [pixels[-CROP_PX:, -CROP_PX:] for pixels in photographs]
