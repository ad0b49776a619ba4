"""A network of CompressAI's trained here <-> a safetensors file and the json card beside it.

The safetensors file is CompressAI's own state dict: parameters in float32 or float16, and the
entropy coder's tables, made once when it is written: two machines' exponentials need not agree in
the last bit. The card says what was trained how, and carries the sha256 of that file. torch is
imported only where tensors are read or written.
"""

import math
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.neural.checkpoint.card import check_file, read_record, write_record
from benchmark.errors import Unavailable
from benchmark.system.digest import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
TEXTS = ("model", "training_data", "command", "commit", "sha256")
COUNTS = ("steps", "crops")
# Both hold in every model with a hyperprior: the transforms' first and last convolution.
FIRST, LAST = "g_a.0.weight", "g_a.6.weight"


@dataclass(frozen=True, slots=True)
class MatchedCard:
    """What a network is and how to make it again."""

    model: str  # CompressAI's name of the architecture
    widths: tuple[int, int]  # CompressAI's N and M: channels of the transforms, of the latent
    lmbda: float  # CompressAI's: it weighs 255^2 times the mean squared error in [0, 1] with bpp
    training_data: str
    steps: int
    crops: int  # seen in training, all steps together
    command: str
    commit: str  # of the code that trained it
    measured: Mapping[str, float] = field(default_factory=dict)  # unit in the name: "kodak_bpp"
    sha256: str = ""  # of the tensors' file, in hexadecimal; `save_matched` fills it in

    @property
    def training(self) -> str:
        """In a few words.

        >>> MatchedCard("mbt2018", (48, 172), 0.01, "photographs", 10, 160, "", "").training
        'N=48, M=172, 10 steps of 160 crops in all: photographs'
        """
        n, m = self.widths
        crops = f"{self.steps} steps of {self.crops} crops in all"
        return f"N={n}, M={m}, {crops}: {self.training_data}"


def verified_card(path: Path) -> MatchedCard:
    """The card of a tensors' file that is whole; raises `Unavailable` for anything else."""
    card = read_record(path, _from_json)
    check_file(path, card.sha256)
    return card


def save_matched(path: Path, network: Any, card: MatchedCard, *, half: bool = False) -> MatchedCard:
    """Write CompressAI's network and its tables to `path`, then the card; returns it with its hash.

    With `half`, parameters are rounded to float16 before the tables are made. The quantiles of the
    factorised prior are solved for, not taken from training. The network itself stays as it is.
    Raises `ValueError` for parameters that are not finite and a card of another network.
    """
    import torch
    from safetensors.torch import save

    if (int(network.N), int(network.M)) != card.widths:
        raise ValueError(f"the card tells of N, M = {card.widths}, the network has others")
    kept = deepcopy(network).to("cpu", torch.float32).eval()
    with torch.no_grad():
        _refuse_infinite(kept)
        kept.update(force=True, update_quantiles=True)
        if half:
            for parameter in kept.parameters():
                parameter.copy_(parameter.half())
            _refuse_infinite(kept)
        kept.update(force=True)
    stored = torch.float16 if half else torch.float32
    names = dict(kept.named_parameters())
    tensors = {
        name: (value.detach().to(stored) if name in names else value.detach()).clone(
            memory_format=torch.contiguous_format
        )
        for name, value in kept.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(save(tensors))  # not save_file, which lets nobody else read the file
    os.replace(draft, path)
    written = replace(card, sha256=file_sha256(path))
    write_record(
        path, {"format": FORMAT, **asdict(written)}
    )  # last: a card that is there has its tensors
    return written


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """CompressAI's state dict, parameters in float32; raises `Unavailable`.

    The file is compared with its card's sizes before a network is made of it.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    n, m = read_record(path, _from_json).widths
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise Unavailable(f"{path} cannot be read as safetensors: {error}") from error
    for name, shape in ((FIRST, [n, 3, 5, 5]), (LAST, [m, n, 5, 5])):
        if name not in tensors or list(tensors[name].shape) != shape:
            raise Unavailable(f"{path} does not hold its card's network: {name} differs")
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise Unavailable(f"{path} cannot be used: {name} is not finite")
    return {
        name: value.to(torch.float32) if value.is_floating_point() else value
        for name, value in tensors.items()
    }


def _refuse_infinite(network: Any) -> None:
    broken = [name for name, one in network.named_parameters() if not bool(one.isfinite().all())]
    if broken:
        raise ValueError(f"not finite: {', '.join(broken[:4])}")


def _from_json(record: Any) -> MatchedCard:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    for name in TEXTS:
        if not isinstance(record.get(name), str):
            raise ValueError(f"{name} is {record.get(name)!r}")
    for name in COUNTS:
        if type(record.get(name)) is not int or record[name] < 0:
            raise ValueError(f"{name} is {record.get(name)!r}")
    widths, lmbda, measured = (record.get(name) for name in ("widths", "lmbda", "measured"))
    if not (isinstance(widths, list) and [type(one) for one in widths] == [int, int]):
        raise ValueError(f"widths is {widths!r}, not CompressAI's N and M")
    if lmbda is None or not _is_finite(lmbda):
        raise ValueError(f"lmbda is {lmbda!r}")
    if not isinstance(measured, dict) or not all(map(_is_finite, measured.values())):
        raise ValueError("measured is not a number by each name")
    n, m = widths
    numbers = {name: record[name] for name in COUNTS}
    texts = {name: record[name] for name in TEXTS}
    return MatchedCard(widths=(n, m), lmbda=lmbda, measured=measured, **numbers, **texts)


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
