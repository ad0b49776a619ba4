"""CRDR, this project's codec; its streams decode to the same latents on every machine.

    ours:beta=2.56                             by default beta=0 and beta=3.84
    ours:beta=0:checkpoint=trained/small.safetensors
    ours:beta=0:size=micro
    ours:beta=2.56:effort=2

One network for every rate q in [0, 4] and every realism weight beta in [0, 5.12] (Iwai et al.,
"Controlling Rate, Distortion, and Realism", WACV 2024). torch is imported with the first image.
"""

from copy import copy
from typing import TYPE_CHECKING

from baselines.neural.architecture import ARCHITECTURES
from baselines.neural.network_codec import NetworkCodec, load_picture_codec
from benchmark.codec import (
    Between,
    OneOf,
    Pixels,
    Setting,
    require_accepted,
    require_options,
)
from benchmark.errors import BadOption, Unavailable

if TYPE_CHECKING:
    from baselines.neural.picture_codec import PictureCodec

MAX_BETA = 5.12
SEARCH_STEPS = (0, 25, 200, 600)  # for effort 0 to 3
Q_RANGE = Between("q", 0, 4)
SIZES = ARCHITECTURES["crdr"].sizes


class CRDR(NetworkCodec):
    """CRDR with the weights of a checkpoint, at one realism weight beta.

    `beta`, 0 to 5.12, is rounded to a multiple of .04 and changes only the header. `checkpoint` is
    a safetensors file with its card in the same folder; by default `ours.safetensors` (for a `size`
    in `SIZES`, `ours-SIZE.safetensors`) in a weight folder, or else the bundled file. `exact=1`
    makes the decoder sum without rounding, so that even pixels are the same on every machine.
    `effort` 1 to 3 makes the encoder search for better latents of each image by gradient descent.
    `check_latents=1` adds two bytes that let a decoder on any machine detect wrong latents.
    """

    name, architecture = "ours", "crdr"
    trained_by = "bench checkpoint import crdr.pth.tar"
    sweep = tuple(Setting("q", q) for q in range(5))
    accepts: Between | OneOf = Q_RANGE
    variants = ({"beta": "0"}, {"beta": "3.84"})

    def __init__(
        self,
        *,
        beta: float,
        checkpoint: str = "",
        size: str = "",
        exact: int = 0,
        effort: int = 0,
        check_latents: int = 0,
    ) -> None:
        if not 0 <= beta <= MAX_BETA:
            raise BadOption(f"beta must be from 0 to {MAX_BETA:g}, not {beta:g}")
        require_options(
            self.name,
            size=(size, ("", *SIZES)),
            exact=(exact, (0, 1)),
            check_latents=(check_latents, (0, 1)),
            effort=(effort, range(len(SEARCH_STEPS))),
        )
        if size and checkpoint:
            raise BadOption("size and checkpoint exclude each other: leave out one of the two")
        self._size, self._exact, self._beta = size, bool(exact), beta
        self._steps = SEARCH_STEPS[effort]
        super().__init__(checkpoint=checkpoint)
        if size and self._cards[0].config != SIZES[size]:
            raise Unavailable(f"{self._paths[0]} does not have the dimensions of size={size}")
        self.sweep, self.accepts = type(self).sweep, Q_RANGE
        self.tuned_for = "PSNR" if beta == 0 else "perceptual quality"
        self.method = f"CRDR at q={{q}}, beta={beta:g}"
        self.coding += ", exact synthesis" if exact else ""
        self.coding += f", latents searched for in {self._steps} steps" if effort else ""
        self._tiled, self._check_latents = False, bool(check_latents)

    def encode(
        self,
        pixels: Pixels,
        setting: Setting,
        *,
        q_map: Pixels | None = None,
        beta_map: Pixels | None = None,
    ) -> bytes:
        """Return the stream; q_map, beta_map: grey pictures that set q and beta by block."""
        # maps are stretched over the image
        require_accepted(self, setting)
        from baselines.neural.bitstream.container import SMALL_TILING
        from baselines.neural.bitstream.control_grid import levels_from_picture
        from baselines.neural.crdr.encode import encode
        from baselines.neural.crdr.model import HeaderControls

        height, width, _ = pixels.shape
        q = setting.value if q_map is None else levels_from_picture(q_map, width, height)
        beta = self._beta if beta_map is None else levels_from_picture(beta_map, width, height)
        codec, tiling = self._load(), SMALL_TILING if self._tiled else None
        controls = HeaderControls.nearest(q, beta)
        data = self._remember(codec, encode(codec, pixels, controls, tiling, self._steps))
        return codec.add_checksum(data) if self._check_latents else data

    def decode(self, data: bytes, *, beta: float | None = None) -> Pixels:
        """Return the image, with `beta` in place of the stream's value; raises `CorruptStream`."""
        if beta is None:
            return self._load().decode(data)
        if not 0 <= beta <= MAX_BETA:
            raise BadOption(f"beta must be from 0 to {MAX_BETA:g}, not {beta:g}")
        from baselines.neural.crdr.model import BETA_GRID

        step = BETA_GRID.step(beta)
        return self._load().decode(data, lambda controls: controls._replace(beta=step))

    def make_tiled(self) -> "CRDR":
        """Return a copy that cuts every image into small tiles."""
        tiled_codec = copy(self)
        tiled_codec._tiled = True
        return tiled_codec

    def _file_name(self, _level: int) -> str:
        return f"ours-{self._size}.safetensors" if self._size else "ours.safetensors"

    def _load(self) -> "PictureCodec":
        return load_picture_codec(self._paths[0], self._cards[0].sha256, self._device, self._exact)
