"""A card for tensors that came without any, and the integer tables that their file may lack."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from baselines.neural.checkpoint.card import Card, save_card
from baselines.neural.checkpoint.checkpoint import load_network, make_checkpoint
from baselines.neural.picture_codec import PictureCodec
from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.system.atomic import write_file
from benchmark.system.digest import file_sha256


class BareTensors:
    """Tensors of a known configuration without a card; raises `Unavailable` for others."""

    def __init__(self, path: Path, architecture: str, config: Any) -> None:
        self.path = path
        self.card = Card(architecture, config, sha256=file_sha256(path))
        self._loaded = load_network(path, self.card, complete=False)
        self.has_tables = self._loaded.complete
        try:
            if self.has_tables:
                PictureCodec(self._loaded)
        except Unavailable:
            self.has_tables = False

    def save(self, target: Path, card: Card, images: Callable[[], Sequence[Pixels]]) -> Card:
        """Write `card` and the tensors to `target`, missing tables made for `images`."""
        if not self.has_tables:
            network = self._loaded.network
            state = network.stored_state().items()
            with safe_open(self.path, framework="pt") as file:
                kinds = {
                    file.get_slice(k).get_dtype() for k, v in state if isinstance(v, nn.Parameter)
                }
            return make_checkpoint(target, network, card, images(), half=kinds == {"F16"})
        if os.path.realpath(target) != os.path.realpath(self.path):
            write_file(target, self.path.read_bytes(), durable=True)
        save_card(target, card)
        return card
