"""A card for tensors that came without one, and the integer tables that their file may lack."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import safe_open
from torch import nn

from baselines.neural.checkpoint.card import UNKNOWN, Card, save_card
from baselines.neural.checkpoint.checkpoint import (
    Checkpoint,
    load_network,
    make_checkpoint,
    save_checkpoint,
)
from baselines.neural.checkpoint.recognise import recognise, tensor_file
from baselines.neural.picture_codec import PictureCodec
from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.system.digest import file_sha256


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """Facts of a training that the card states."""

    steps: int | None = None  # None: unknown; 0: untrained
    crops: int = 0  # 0: unknown
    training_data: str = UNKNOWN
    command: str = UNKNOWN
    commit: str = UNKNOWN
    caveat: str = ""


class BareTensors:
    """A safetensors file without its card, its network recognised and read.

    `among` restricts the architectures. Raises `Unavailable` for tensors that are of none of them.
    """

    def __init__(self, path: Path, among: Collection[str] = ()) -> None:
        self.path = path
        found = recognise(path, tensor_file(path).shapes, among)
        nothing = TrainingFacts()
        card = Card(
            architecture=found.architecture,
            config=found.config,
            training_data=nothing.training_data,
            steps=nothing.steps,
            command=nothing.command,
            commit=nothing.commit,
            sha256=file_sha256(path),
        )
        self._loaded = load_network(path, card, found.absent)
        self.has_tables = not found.absent and _can_code(self._loaded)

    def save(
        self, target: Path, facts: TrainingFacts, images: Callable[[], Sequence[Pixels]]
    ) -> Card:
        """Write the card of `target`, and the tensors there unless that is their file; return it.

        Where the file lacks tables, they are made from `images`, photographs like those that will
        be coded. Raises `ValueError` for tensors of which no tables can be made.
        """
        network, bare, tables = self._loaded
        card = replace(
            bare,
            training_data=facts.training_data,
            steps=facts.steps,
            command=facts.command,
            commit=facts.commit,
            caveat=facts.caveat,
            crops=facts.crops,
        )
        if not self.has_tables:
            return make_checkpoint(target, network, card, images(), half=self._is_half())
        if os.path.realpath(target) != os.path.realpath(self.path):
            return save_checkpoint(target, network, card, tables, half=self._is_half())
        save_card(target, card)
        return card

    def _is_half(self) -> bool:
        """Return whether all parameters are in float16, which holds them exactly then."""
        state = self._loaded.network.stored_state().items()
        parameters = [name for name, value in state if isinstance(value, nn.Parameter)]
        with safe_open(self.path, framework="pt") as file:
            return all(file.get_slice(name).get_dtype() == "F16" for name in parameters)


def _can_code(loaded: Checkpoint) -> bool:
    """Return whether the checkpoint's tables are there and fit its network."""
    try:
        PictureCodec(loaded)
    except Unavailable:
        return False
    return True
