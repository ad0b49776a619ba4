"""CRDR, the codec of this project, whose streams decode to the same latents on every machine.

    ours                      beta=0, which is closest to the pixels, and beta=3.84, most realistic
    ours:beta=2.56
    ours:beta=0:checkpoint=trained/small.safetensors
    ours:beta=0:exact=1

One network for every rate q in [0, 4] and every realism weight beta in [0, 5.12] (Iwai et al.,
"Controlling Rate, Distortion, and Realism", WACV 2024). The checkpoint is the option's, else
`ours.safetensors` in the folders of weights, else the bundled one, if any. torch is imported with
the first image, not before.

Pixels may differ between machines by float rounding. With `exact=1` the decoder computes them in
float64 without rounded sums, so that they have the same sha256 everywhere; streams are the same.
"""

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from baselines.neural.checkpoint.recognise import checked_card
from baselines.neural.checkpoint_codec import (
    card_of,
    described,
    exact_codec,
    find_checkpoint,
    loaded_codec,
)
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import BadOption
from benchmark.system.device import chosen_device

if TYPE_CHECKING:
    from baselines.neural.picture_codec import PictureCodec

REVISION = 1
FILE = "ours.safetensors"
HIGHEST_BETA = 5.12
REMEDY = (
    f"train one, or make it from the authors' with `bench checkpoint import crdr.pth.tar`, or name "
    f"another than {FILE} with checkpoint=..."
)


class CRDR:
    """Codec of one checkpoint at one beta.

    `beta`, 0 to 5.12, is rounded to multiples of .04 and only written to the header. `checkpoint`
    is a safetensors file with its card beside it. `exact`, 0 or 1, is how pixels are computed.
    """

    name = "ours"
    sweep = tuple(Setting("q", q) for q in range(5))
    accepts = Between("q", 0, 4)
    variants = ({"beta": "0"}, {"beta": "3.84"})

    def __init__(self, *, beta: float, checkpoint: str = "", exact: int = 0) -> None:
        if not 0 <= beta <= HIGHEST_BETA:
            raise BadOption(f"beta={beta:g}: it is 0 to {HIGHEST_BETA:g}")
        if exact not in (0, 1):
            raise BadOption(f"exact={exact}: it is 0 or 1")
        self._exact = bool(exact)
        self._beta = beta
        self._path = find_checkpoint(checkpoint, FILE, REMEDY)
        self._card = card_of(self._path, "crdr")
        self._device = chosen_device()
        self._tiled = False

    def describe(self) -> CodecInfo:
        """Return the checkpoint as its card describes it, and the sha256 of its tensors.

        Raises `Unavailable` for a card that the tensors do not fit.
        """
        command = f"CRDR at q={{q}}, beta={self._beta:g}, entropy path in integers"
        command += ", exact synthesis" if self._exact else ""
        info = described(checked_card(self._path), command, "MIT", REVISION, self._device)
        return replace(info, tuned_for="PSNR" if self._beta == 0 else "perceptual quality")

    def encode(
        self,
        pixels: Pixels,
        setting: Setting,
        *,
        q_map: Pixels | None = None,
        beta_map: Pixels | None = None,
    ) -> bytes:
        """Return the stream; grey pictures stretched over the image may set q and beta by block."""
        require_accepted(self, setting)
        from baselines.neural.bitstream.level_picture import levels_of
        from baselines.neural.bitstream.windows import SMALL
        from baselines.neural.crdr.controls import HeaderControls

        height, width, _ = pixels.shape
        q = setting.value if q_map is None else levels_of(q_map, width, height)
        beta = self._beta if beta_map is None else levels_of(beta_map, width, height)
        controls = HeaderControls.nearest(q, beta)
        return self._codec().encode(pixels, controls, SMALL if self._tiled else None)

    def decode(self, data: bytes, *, beta: float | None = None) -> Pixels:
        """Return the image, at `beta` instead of the stream's own; raises `CorruptStream`."""
        if beta is not None and not 0 <= beta <= HIGHEST_BETA:
            raise BadOption(f"beta is {beta:g}, not 0 to {HIGHEST_BETA:g}")
        if beta is None:
            return self._codec().decode(data)
        from baselines.neural.crdr.controls import BETA_GRID

        step = BETA_GRID.step(beta)
        return self._codec().decode(data, lambda controls: controls._replace(beta=step))

    def in_tiles(self) -> "CRDR":
        """Return the same codec, cutting every image into small tiles."""
        other = copy(self)
        other._tiled = True
        return other

    def _codec(self) -> "PictureCodec":
        load = exact_codec if self._exact else loaded_codec
        return load(self._path, self._card.sha256, self._device)
