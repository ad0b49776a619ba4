"""`bench checkpoint`: checkpoints for learned codecs, from others' weights and bare tensors."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baselines.commands.train import Half
from benchmark.commands import options
from benchmark.commands.options import opt
from benchmark.commands.verb import Verbs
from benchmark.option import ORIGIN, TARGET, TRAINED

if TYPE_CHECKING:
    from baselines.neural.checkpoint.card import Card
    from baselines.neural.cost import Cost
    from benchmark.codec import Pixels

NAME = "ours.safetensors"
STEPS = "Training steps, for the card; 0 marks all rows as untrained."
TRAINING_DATA = "Description of the training data, for the card."
CROP = 256  # pixels, of each photograph that says how large activations become

checkpoint = Verbs("""Make checkpoints of learned codecs, and describe them.

Examples:
  bench checkpoint info ours.safetensors
  bench checkpoint import crdr.pth.tar
  bench checkpoint card mailed.safetensors --like ours.safetensors
""")


@checkpoint.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="The authors' state dict, crdr.pth.tar.")],
    out: Annotated[
        Path | None, opt(TARGET, f"File to write; default: {NAME} in the weights folder.")
    ] = None,
    steps: Annotated[int, opt(TRAINED, STEPS, min=0)] = 5_000_000,
    training_data: Annotated[
        str, opt(TRAINED, TRAINING_DATA)
    ] = "Open Images, 1.1 million (as published, not checked)",
    half: Half = False,
    sizes: Annotated[str, opt(TRAINED, "Its dimensions, a preset of crdr.")] = "full",
) -> None:
    """Write the weights, the integer tables that the codec needs, and a json card beside them.

    Examples:
      bench checkpoint import crdr.pth.tar
      bench checkpoint import crdr.pth.tar --out weights/ours.safetensors --half
    """
    from baselines.neural.crdr.architecture import NAMED
    from baselines.neural.crdr.authors import import_checkpoint
    from benchmark.errors import UnknownName, UsageError
    from benchmark.system.settings import weight_folders

    if sizes not in NAMED:
        raise UnknownName("size of crdr", sizes, NAMED)
    target = _named_as_tensors(out or weight_folders()[0] / NAME)
    try:
        card = import_checkpoint(
            file,
            target,
            _crops(),
            sizes=NAMED[sizes],
            steps=steps,
            training_data=training_data,
            half=half,
        )
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file} cannot become a checkpoint: {error}") from error
    print(f"{target}: checkpoint {card.sha256[:8]}, its card beside it")


@checkpoint.command("card")
def make_card(
    file: Annotated[Path, typer.Argument(help="Tensors without a card: weights.safetensors.")],
    training_data: Annotated[str | None, opt(TRAINED, TRAINING_DATA)] = None,
    steps: Annotated[int | None, opt(TRAINED, STEPS, min=0)] = None,
    crops: Annotated[
        int | None, opt(TRAINED, "Crops seen in training, for the card.", min=0)
    ] = None,
    command: Annotated[str | None, opt(TRAINED, "Command that trained it, for the card.")] = None,
    commit: Annotated[
        str | None, opt(TRAINED, "Commit of the code that trained it, for the card.")
    ] = None,
    caveat: Annotated[str, opt(TRAINED, "What tables and figures say beside its name.")] = "",
    like: Annotated[
        Path | None,
        opt(ORIGIN, "A checkpoint with a card, of the same architecture and configuration."),
    ] = None,
    architecture: Annotated[str | None, opt(ORIGIN, "Architecture, with --sizes.")] = None,
    sizes: Annotated[
        str | None, opt(ORIGIN, "Named configuration of --architecture: micro.")
    ] = None,
    out: Annotated[
        Path | None,
        opt(
            TARGET,
            "File for the tensors with their tables, if FILE lacks tables; default: "
            "NAME-tables.safetensors beside it. FILE itself stays as it is.",
        ),
    ] = None,
    force: Annotated[bool, opt(TARGET, "Replace files that are there.")] = False,
) -> None:
    """Write the card that a file of tensors needs, for a network that --like or --sizes names.

    Facts of the training that are not given are asked for on a terminal, and otherwise unknown; a
    codec with an unknown amount of training is marked so in every table and figure.

    Examples:
      bench checkpoint card mailed.safetensors --like ours.safetensors
      bench checkpoint card mailed.safetensors --architecture crdr --sizes mini
    """
    from baselines.neural.checkpoint.bare import BareTensors
    from baselines.neural.checkpoint.card import card_path
    from benchmark.errors import UsageError

    if not file.is_file():
        raise UsageError(f"no checkpoint {file}")
    bare = BareTensors(_named_as_tensors(file), *_named_network(like, architecture, sizes))
    beside = file if bare.has_tables else file.with_stem(f"{file.stem}-tables")
    target = _named_as_tensors(out or beside)
    if card_path(target).exists() and not force:
        raise UsageError(f"{card_path(target)} is there already: --force replaces it")
    card = replace(
        bare.card,
        training_data=_text("Training data", training_data),
        steps=_count("Training steps (0: untrained)", steps),
        crops=_count("Crops seen in training", crops) or 0,
        command=_text("Command that trained it", command),
        commit=_text("Commit of the code that trained it", commit),
        caveat=caveat,
    )
    try:
        card = bare.save(target, card, _crops)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file} cannot become a checkpoint: {error}") from error
    if not bare.has_tables:
        print(f"{file} lacks integer tables; {target} has the same weights and tables")
    print(f"{card_path(target)}: a network of {card.architecture}, {card.training}")


def _named_network(
    like: Path | None, architecture: str | None, sizes: str | None
) -> tuple[str, Any]:
    """Return the architecture and the configuration that the options name."""
    from baselines.neural.architecture import load_architecture
    from baselines.neural.checkpoint.card import load_card
    from benchmark.errors import UsageError

    if like is not None:
        card = load_card(like)
        return card.architecture, card.config
    if architecture is None or sizes is None:
        raise UsageError("name the network: --like CHECKPOINT, or --architecture and --sizes")
    presets = load_architecture(architecture).presets
    if sizes not in presets:
        raise UsageError(f"--sizes {sizes}: {architecture} has {', '.join(presets) or 'none'}")
    return architecture, presets[sizes]


def _text(question: str, given: str | None) -> str:
    """Return what was given, else the answer on a terminal, else that it is unknown."""
    from baselines.neural.checkpoint.card import UNKNOWN

    if given is None and sys.stdin.isatty():
        given = typer.prompt(question, default=UNKNOWN)
    return given or UNKNOWN


def _count(question: str, given: int | None) -> int | None:
    """Return what was given, else the answer on a terminal; None for unknown."""
    from baselines.neural.checkpoint.card import UNKNOWN

    def parsed(answer: str) -> int | None:
        if answer == UNKNOWN:
            return None
        if not answer.isdecimal():
            raise typer.BadParameter(f"{answer!r} is no whole number, nor {UNKNOWN}")
        return int(answer)

    if given is None and sys.stdin.isatty():
        result: int | None = typer.prompt(question, default=UNKNOWN, value_proc=parsed)
        return result
    return given


def _named_as_tensors(path: Path) -> Path:
    """Return the path; raises `UsageError` unless its name is that of a checkpoint."""
    from benchmark.errors import UsageError

    if path.suffix != ".safetensors":
        raise UsageError(f"{path}: the name of a checkpoint ends in .safetensors")
    return path


def _crops() -> "list[Pixels]":
    """Return crops of the bundled photographs, whose activations say how fine integers can be."""
    import benchmark
    from baselines.commands.images import read_image

    return [
        read_image(image.path)[-CROP:, -CROP:] for image in benchmark.open_dataset("sample").images
    ]


@checkpoint.command("info")
def info(
    file: Annotated[Path, typer.Argument(help="A checkpoint: elic-3.safetensors.")],
    as_json: options.AsJson = False,
) -> None:
    """Print what a checkpoint is: its network and training, the size and work of each part.

    A file that is not the one of its card is refused.

    Examples:
      bench checkpoint info elic-3.safetensors
      bench checkpoint info ours.safetensors --json
    """
    from baselines.neural.architecture import load_architecture
    from baselines.neural.checkpoint.card import verified_card
    from baselines.neural.cost import costs

    card = verified_card(file)
    parts = costs(card.architecture, card.config)
    if as_json:
        config = load_architecture(card.architecture).config_to_json(card.config)
        print(json.dumps(_record(card, config, parts), indent=1))
        return
    print(f"{file}: checkpoint {card.sha256[:8]} of {card.architecture}, {card.training}")
    for line in (*_facts(card), *_lines(parts)):
        print(line)


def _facts(card: "Card") -> list[str]:
    """Return what the card says of the training and of the network, a line each."""
    by_precision = [f"{steps:,} in {name}" for name, steps in card.precision_steps.items()]
    facts = {
        "crops seen": f"{card.crops:,}" if card.crops else "unknown",
        "steps": ", ".join(by_precision),
        "with deterministic kernels alone": f"{card.deterministic_steps:,} steps"
        if card.deterministic_steps
        else "",
        "measured": ", ".join(f"{name} {value:.4g}" for name, value in card.measured.items()),
        "shown beside its name": card.shown_caveat,
        "command": card.command,
        "commit": card.commit,
    }
    return [f"{name}: {text}" for name, text in facts.items() if text]


def _lines(parts: "Mapping[str, Cost]") -> Iterator[str]:
    """Yield a table of the parts of a network, and of all of them together."""
    parameters = sum(part.parameters for part in parts.values())
    macs = sum(part.macs_per_pixel for part in parts.values())
    width = max(map(len, (*parts, "together")))
    yield f"{'part':{width}}  parameters  multiply-accumulates per pixel"
    counted = [(name, one.parameters, one.macs_per_pixel) for name, one in parts.items()]
    for name, size, work in (*counted, ("together", parameters, macs)):
        yield f"{name:{width}}  {size:10,}  {work:30,.1f}"


def _record(card: "Card", config: Any, parts: "Mapping[str, Cost]") -> dict[str, Any]:
    return {
        "architecture": card.architecture,
        "config": config,
        "sha256": card.sha256,
        "training_data": card.training_data,
        "steps": card.steps,
        "crops": card.crops or None,
        "precision_steps": dict(card.precision_steps),
        "deterministic_steps": card.deterministic_steps,
        "measured": dict(card.measured),
        "caveat": card.shown_caveat,
        "command": card.command,
        "commit": card.commit,
        "parts": {name: one._asdict() for name, one in parts.items()},
    }
