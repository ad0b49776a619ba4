"""`bench checkpoint`: import CRDR's published weights, and describe checkpoints."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import benchmark
from benchmark.commands import options, output
from benchmark.commands.verb import Verbs
from benchmark.errors import UsageError
from benchmark.option import ARGUMENT, TARGET, TRAINED, opt
from benchmark.system.settings import weight_folders

NAME = "ours.safetensors"
STEPS = "Training steps that the card states; 0 marks all rows as untrained."
TRAINING_DATA = "Description of the training data for the card."
CROP_PX = 256  # side of the crops of photographs that integer tables are made from

checkpoint = Verbs("""Import published weights as a checkpoint, and describe checkpoints.

Examples:
  bench checkpoint info ours.safetensors
  bench checkpoint import crdr.pth.tar
""")


@checkpoint.verb("import")
def import_weights(
    file: Annotated[Path, opt(ARGUMENT, "State dict published by CRDR's authors: crdr.pth.tar.")],
    out: Annotated[
        Path | None, opt(TARGET, f"File to write; default: {NAME} in the weights folder.")
    ] = None,
    steps: Annotated[int, opt(TRAINED, STEPS, minimum=0)] = 5_000_000,
    training_data: Annotated[
        str, opt(TRAINED, TRAINING_DATA)
    ] = "Open Images, 1.1 million (as published, not checked)",
) -> None:
    """Convert the authors' weights to a checkpoint with integer tables and a JSON card.

    Examples:
      bench checkpoint import crdr.pth.tar
      bench checkpoint import crdr.pth.tar --out weights/ours.safetensors
    """
    from baselines.neural.crdr.authors import import_checkpoint

    target = out or weight_folders()[0] / NAME
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: the name of a checkpoint must end in .safetensors")
    photographs = benchmark.open_dataset("sample").images
    crops = [benchmark.read_image(image.path).pixels[-CROP_PX:, -CROP_PX:] for image in photographs]
    try:
        card = import_checkpoint(file, target, crops, steps=steps, training_data=training_data)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file} cannot be imported: {error}") from error
    print(f"{target}: checkpoint {card.sha256[:8]}, with its card in the same folder")


@checkpoint.verb("info")
def info(
    file: Annotated[Path, opt(ARGUMENT, "Checkpoint: elic-3.safetensors.")],
    as_json: options.AsJson = False,
) -> None:
    """Describe a checkpoint: its training, and the parameters and work of each part.

    A file that does not match its card is refused.

    Examples:
      bench checkpoint info elic-3.safetensors
      bench checkpoint info ours.safetensors --json
    """
    from baselines.neural.card import verified_card
    from baselines.neural.costs import costs

    card = verified_card(file)
    parts = costs(card.architecture, card.config)
    if as_json:
        facts = ("architecture", "sha256", "training_data", "steps", "command", "commit")
        mappings = ("precision_steps", "measured")
        record = {name: getattr(card, name) for name in facts}
        record |= {name: dict(getattr(card, name)) for name in mappings}
        record |= {"crops": card.crops or None, "caveat": card.shown_caveat}
        record["config"] = asdict(card.config)
        output.print_json(
            {**record, "parts": {name: part._asdict() for name, part in parts.items()}}
        )
        return
    print(f"{file}: checkpoint {card.sha256[:8]} of {card.architecture}, {card.training}")
    lines = {
        "training crops": f"{card.crops:,}" if card.crops else "unknown",
        "steps": ", ".join(f"{steps:,} in {name}" for name, steps in card.precision_steps.items()),
        "measured": ", ".join(f"{name} {value:.4g}" for name, value in card.measured.items()),
        "caveat in tables": card.shown_caveat,
        "command": card.command,
        "commit": card.commit,
    }
    for name, text in lines.items():
        if text:
            print(f"{name}: {text}")
    rows = [(name, part.parameters, part.macs_per_pixel) for name, part in parts.items()]
    rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(row[0]) for row in rows)
    print(f"{'part':{width}}  parameters  multiply-accumulates per pixel")
    for name, parameters, macs in rows:
        print(f"{name:{width}}  {parameters:10,}  {macs:30,.1f}")
