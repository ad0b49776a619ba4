"""Decode one stream of each codec variant a second time: a decoder has to be deterministic."""

from collections.abc import Callable, Iterable

import numpy as np

from benchmark.codec import Codec, Setting
from benchmark.codec_spec import CodecSpec
from benchmark.measure.execute import Coded, Enter, Failed, decode_again, untold
from benchmark.plan.cells import Cell


def cells_to_decode_twice(cells: Iterable[Cell]) -> frozenset[str]:
    """Return the key of one cell of each codec variant: its first setting on the smallest image."""
    chosen: dict[CodecSpec, Cell] = {}
    for cell in cells:
        other = chosen.setdefault(cell.codec, cell)
        if _pixels(cell) < _pixels(other):
            chosen[cell.codec] = cell
    return frozenset(cell.key for cell in chosen.values())


def differs_again(
    decoder: Codec,
    second: Callable[[], Codec],
    image: str,
    setting: Setting,
    coded: Coded,
    enter: Enter = untold,
) -> Failed | None:
    """Decode a stream once more, untimed, with a new instance; return how the pixels differ.

    second: makes the instance; where that fails, or a GPU's memory does not hold another one, the
    same `decoder` decodes again. None if the pixels are the same, to the last bit.
    """
    enter("load")
    try:
        other = second()
    except Exception:  # foreign code, which has once succeeded for `decoder`
        other = decoder
    enter("decode")
    again = decode_again(other, image, setting, coded.stream)
    if isinstance(again, Failed) and again.lacked == "device":
        again = decode_again(decoder, image, setting, coded.stream)
    if isinstance(again, Failed):
        return again._replace(reason=f"the second decode of the same bytes failed: {again.reason}")
    if not isinstance(again, np.ndarray) or again.shape != coded.decoded.shape:
        shape = getattr(again, "shape", type(again).__name__)
        told = f"two decodes of the same bytes give {coded.decoded.shape} and {shape}"
        return Failed("decode", f"not deterministic: {told}")
    differing, most = 0, 0.0
    for one, other_one in zip(again, coded.decoded, strict=True):  # rows: float64 takes 8 bytes
        levels = np.abs(one.astype(np.float64) - other_one)
        differing += int(np.count_nonzero(levels))
        most = max(most, float(levels.max()))
    if not differing and again.dtype == coded.decoded.dtype:
        return None
    return Failed(
        "decode",
        "not deterministic: two decodes of the same bytes differ in "
        f"{differing} of {again.size} samples by up to {most:g} levels",
    )


def _pixels(cell: Cell) -> int:
    return cell.source.width_px * cell.source.height_px
