"""`bench checkpoint import`: a checkpoint for our codec, from weights of CRDR's authors."""

from pathlib import Path
from typing import Annotated

import typer

from baselines.commands.training_options import Half
from benchmark.commands import options
from benchmark.commands.verb import Verbs

NAME = "ours.safetensors"
CROP = 256  # pixels, of each photograph that says how large activations become

checkpoint = Verbs("""Make checkpoints of our codec.

Examples:
  bench checkpoint import crdr.pth.tar
""")


@checkpoint.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="The authors' state dict, crdr.pth.tar.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"File to write; default: {NAME} in the weights folder.",
            rich_help_panel=options.TARGET,
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            min=0,
            help="Training steps, for the card; 0 marks all rows as untrained.",
            rich_help_panel=options.TRAINED,
        ),
    ] = 5_000_000,
    training_data: Annotated[
        str,
        typer.Option(
            help="Description of the training data, for the card.",
            rich_help_panel=options.TRAINED,
        ),
    ] = "Open Images, 1.1 million (as published, not checked)",
    half: Half = False,
) -> None:
    """Write the weights, the integer tables that the codec needs, and a json card beside them.

    Examples:
      bench checkpoint import crdr.pth.tar
      bench checkpoint import crdr.pth.tar --out weights/ours.safetensors --half
    """
    from baselines.commands.stream import read_image
    from baselines.neural.crdr.authors import import_checkpoint
    from benchmark.errors import UsageError
    from benchmark.registry import open_dataset
    from benchmark.system.weights import weight_folders

    target = out or weight_folders()[0] / NAME
    if target.suffix != ".safetensors":
        raise UsageError(f"--out {target}: the name of a checkpoint ends in .safetensors")
    images = [read_image(one.path)[-CROP:, -CROP:] for one in open_dataset("sample").images]
    try:
        card = import_checkpoint(
            file, target, images, steps=steps, training_data=training_data, half=half
        )
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file} cannot become a checkpoint: {error}") from error
    print(f"{target}: checkpoint {card.sha256[:8]}, its card beside it")
