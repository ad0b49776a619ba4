"""An image that a GPU's memory does not hold: coded once more in tiles, and the row says so."""

import numpy as np
import pytest
from PIL import Image

from baselines.crdr import CRDR
from benchmark.codec import CodesInTiles, Setting
from benchmark.errors import OutOfDeviceMemory
from benchmark.measure.cells import Failed
from benchmark.measure.execute import Coded, execute_within_memory
from benchmark.measure.workbench import IN_TILES, Workbench
from support.codecs import fake_on_cluster as fakes
from support.codecs.files import CODECS, cells, conditions, sources_in

STEP = Setting("step", 16)
SMALL, LARGE = (np.zeros((height, 30, 3), np.uint8) for height in (40, 41))


def code(codec, pixels):
    return execute_within_memory(codec, codec, "photo.png", pixels, STEP)


@pytest.mark.parametrize(("pixels", "in_tiles"), [(SMALL, False), (LARGE, True)])
def test_what_does_not_fit_is_coded_once_more_in_tiles(pixels, in_tiles):
    coded, tiled = code(fakes.ShortOfMemory(), pixels)
    assert isinstance(coded, Coded)
    assert (tiled, coded.stream[-4:] == b"tile") == (in_tiles, in_tiles)


class NeverFits(fakes.ShortOfMemory):
    calls = 0

    def encode(self, pixels, setting):
        type(self).calls += 1
        raise OutOfDeviceMemory("CUDA out of memory")


def test_it_is_tried_twice_and_no_more_and_the_failure_says_both():
    failed, tiled = code(NeverFits(), LARGE)
    assert NeverFits.calls == 2
    assert (failed.stage, tiled) == ("encode", False)
    assert failed.reason == "CUDA out of memory; once more in tiles, encode: CUDA out of memory"


class NoTiles(fakes.Traced):
    def encode(self, pixels, setting):
        raise OutOfDeviceMemory("CUDA out of memory")


class Misguided(fakes.ShortOfMemory):
    def encode(self, pixels, setting):
        raise ValueError("out of memory of the word")


@pytest.mark.parametrize("codec", [NoTiles(), Misguided()])
def test_without_tiles_or_for_another_reason_it_fails_at_once(codec):
    failed, tiled = code(codec, LARGE)
    assert isinstance(failed, Failed)
    assert not tiled
    assert "once more" not in failed.reason


def test_the_row_of_an_image_in_tiles_says_so_beside_what_else_is_to_say(tmp_path):
    for pixels in (SMALL, LARGE):
        Image.fromarray(pixels + np.uint8(len(pixels))).save(tmp_path / f"{len(pixels)}.png")
    todo = cells(f"{CODECS}:ShortOfMemory", sources_in(tmp_path))
    bench = Workbench(conditions())
    caveats = {cell.source.height_px: bench.carry_out(cell).row["caveat"] for cell in todo}
    assert caveats == {40: "", 41: IN_TILES}


def test_ours_can_do_with_tiles_and_its_decoder_reads_them(photo):
    codec = CRDR(beta=0)
    assert isinstance(codec, CodesInTiles)
    crop = np.ascontiguousarray(photo[:150, :203])
    crop = np.concatenate([crop, crop[:, ::-1]], axis=1)  # 406 px: two tiles of 256
    whole, tiled = (one.encode(crop, Setting("q", 0)) for one in (codec, codec.in_tiles()))
    assert whole != tiled
    decoded = codec.decode(tiled)
    assert decoded.shape == crop.shape
    error = np.abs(decoded.astype(int) - codec.decode(whole).astype(int))
    assert error.mean() < 2, "tiles show the same picture"
    assert codec.encode(crop, Setting("q", 0)) == whole, "the codec itself still codes whole"
