"""Encoding an image with CRDR: in one pass or by search, at a q or at a wanted rate or PSNR."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from baselines.neural.bitstream.container import Tiling
from baselines.neural.crdr.coder import CRDRCoder
from baselines.neural.crdr.controls import Q_GRID, HeaderControls
from baselines.neural.crdr.encoding.refine import Search, refine
from baselines.neural.crdr.encoding.target import Trial, Try, reached, wanted_psnr, wanted_rate
from baselines.neural.entropy.hyperprior_coder import Chosen
from baselines.neural.picture_codec import PictureCodec, Piece
from benchmark.codec import Pixels, Setting

Choose = Callable[[Piece], Chosen]


def encode(
    codec: PictureCodec,
    pixels: Pixels,
    controls: HeaderControls,
    tiling: Tiling | None = None,
    search: Search | None = None,
) -> bytes:
    """Return the stream of an image; see `PictureCodec.encode`. Without `search`, in one pass."""
    if search is None:
        return codec.encode(pixels, controls, tiling)
    choose, coder = _by_search(codec, search), _coder(codec)
    return codec.encode(pixels, controls, tiling, lambda piece: coder.encode_chosen(choose(piece)))


def encode_to(
    codec: PictureCodec,
    pixels: Pixels,
    controls: HeaderControls,
    target: Setting,
    tiling: Tiling | None = None,
    search: Search | None = None,
) -> bytes:
    """Return the stream of a rate, "bpp", or a PSNR in dB, "psnr", at the q that it takes.

    controls: their q is replaced; the PSNR is that of their beta. Raises `ImageRefused` where no q
    gives what is wanted.
    """
    by_rate = target.name == "bpp"
    wanted = wanted_rate(target.value) if by_rate else wanted_psnr(target.value)

    def measure(data: bytes) -> float:
        return 24 * len(data) / pixels.size if by_rate else _psnr(pixels, codec.decode(data))

    def trials(choose: Choose) -> Try:
        known: dict[tuple[int, int], Chosen] = {}  # by step of q and number of the piece

        def trial(step: int, dead_zone: float) -> Trial:
            def payload(piece: Piece) -> bytes:
                key = step, piece.number
                if key not in known:
                    known[key] = choose(piece)
                return _coder(codec).encode_chosen(known[key], dead_zone)

            data = codec.encode(pixels, controls._replace(q=step), tiling, payload)
            return Trial(data, measure(data))

        return cache(trial)

    searched = None if search is None else trials(_by_search(codec, search))
    return reached(wanted, Q_GRID.highest, trials(_in_one_pass(codec)), searched)


def _in_one_pass(codec: PictureCodec) -> Choose:
    coder = _coder(codec)

    def choose(piece: Piece) -> Chosen:
        latents = coder.analyse(piece.images, piece.controls)[:, :, piece.rows, piece.columns]
        return Chosen(latents, coder.network.hyper_analyse(latents.contiguous()))

    return choose


def _by_search(codec: PictureCodec, search: Search) -> Choose:
    network = _coder(codec).network

    def choose(piece: Piece) -> Chosen:
        rate, beta = piece.controls
        found = refine(network, piece.images, piece.inside, rate, beta, search)
        return found.part(piece.rows, piece.columns)

    return choose


def _coder(codec: PictureCodec) -> CRDRCoder:
    assert isinstance(codec.coder, CRDRCoder)
    return codec.coder


def _psnr(pixels: Pixels, decoded: Pixels) -> float:
    error = float(np.square(np.subtract(pixels, decoded, dtype=np.float64)).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
