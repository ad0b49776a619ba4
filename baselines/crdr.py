"""CRDR, the codec of this project: pixels <-> streams that decode to the same latents everywhere.

    ours                      beta=0, which is closest to the pixels, and beta=3.84, most realistic
    ours:beta=2.56
    ours:beta=0:checkpoint=trained/small.safetensors

One network for every rate q in [0, 4] and every realism weight beta in [0, 5.12] (Iwai et al.,
"Controlling Rate, Distortion, and Realism", WACV 2024). The checkpoint is the option's, else
`ours.safetensors` where weights are looked for, else the one that comes along, if any. torch is
imported with the first image, not before.
"""

import os
from copy import copy
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.neural.checkpoint.card import load_card
from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import BadOption, Unavailable
from benchmark.system.device import chosen_device
from benchmark.system.weights import find_weights

if TYPE_CHECKING:
    from baselines.neural.crdr.codec import PictureCodec

REVISION = 1
FILE = "ours.safetensors"
SHIPPED = Path(__file__).parent / "checkpoints"
HIGHEST_Q, HIGHEST_BETA = 4.0, 5.12
REMEDY = (
    f"train one, or make it from the authors' with `bench checkpoint import crdr.pth.tar`, or name "
    f"another than {FILE} with checkpoint=..."
)


class CRDR:
    """One checkpoint at one beta.

    beta: for the header, 0 to 5.12, rounded to multiples of .04; the bytes do not depend on it
    otherwise. checkpoint: a safetensors file with its card beside it.
    """

    name = "ours"
    sweep = tuple(Setting("q", q) for q in range(5))
    variants = ({"beta": "0"}, {"beta": "3.84"})

    def __init__(self, *, beta: float, checkpoint: str = "") -> None:
        if not 0 <= beta <= HIGHEST_BETA:
            raise BadOption(f"beta={beta:g}: it is 0 to {HIGHEST_BETA:g}")
        self._beta = beta
        self._path = _find(checkpoint)
        self._card = load_card(self._path)
        self._device = chosen_device()
        self._tiled = False

    def describe(self) -> CodecInfo:
        """The checkpoint as its card tells it, MIT, sha256 of the tensors."""
        card = self._card
        return CodecInfo(
            version=f"checkpoint {card.sha256[:8]}: {card.steps} steps, {card.training_data}; "
            f"torch {version('torch')}, constriction {version('constriction')}",
            command=f"CRDR at q={{q}}, beta={self._beta:g}, entropy path in integers",
            licence="MIT",
            fingerprint=card.sha256,
            revision=REVISION,
            timed="one call in this process: padding, transforms, entropy coding",
            device=self._device,
            caveat=card.caveat if card.steps else "untrained",
        )

    def encode(
        self,
        pixels: Pixels,
        setting: Setting,
        *,
        q_map: Pixels | None = None,
        beta_map: Pixels | None = None,
    ) -> bytes:
        """The stream; grey pictures, laid over the image, may say q and beta block by block."""
        if setting.name != "q" or not 0 <= setting.value <= HIGHEST_Q:
            raise BadOption(f"ours has no {setting}: its setting is q, 0 to {HIGHEST_Q:g}")
        from baselines.neural.bitstream.level_picture import levels_of
        from baselines.neural.bitstream.windows import SMALL

        height, width, _ = pixels.shape
        q = setting.value if q_map is None else levels_of(q_map, width, height)
        beta = self._beta if beta_map is None else levels_of(beta_map, width, height)
        return self._codec().encode(pixels, q, beta, SMALL if self._tiled else None)

    def decode(self, data: bytes, *, beta: float | None = None) -> Pixels:
        """The image; `beta` instead of the one that the stream says. Raises `CorruptStream`."""
        if beta is not None and not 0 <= beta <= HIGHEST_BETA:
            raise BadOption(f"beta is {beta:g}, not 0 to {HIGHEST_BETA:g}")
        return self._codec().decode(data, beta)

    def in_tiles(self) -> "CRDR":
        """The same checkpoint at the same beta, cutting every image into small tiles."""
        other = copy(self)
        other._tiled = True
        return other

    def _codec(self) -> "PictureCodec":
        return _loaded(self._path, self._card.sha256, self._device)


@cache
def _loaded(path: Path, _sha256: str, device: str) -> "PictureCodec":
    """Once a process for all instances; the sha256 tells a file from the one before it."""
    # OpenMP reads it when torch is imported. By default its threads wait by spinning, which takes
    # ten times as long where they do not have a core each: the entropy path waits often.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from baselines.neural.checkpoint.checkpoint import load_checkpoint
    from baselines.neural.crdr.codec import PictureCodec

    return PictureCodec(load_checkpoint(path), device)


def _find(asked: str) -> Path:
    if asked:
        if not Path(asked).is_file():
            raise Unavailable(f"no checkpoint {asked}")
        return Path(asked)
    try:
        return find_weights([FILE], REMEDY)
    except Unavailable:
        if (SHIPPED / FILE).exists():
            return SHIPPED / FILE
        raise
