"""Crops made on the GPU equal those of the processor, up to one level."""

import numpy as np
import pytest
import torch

from baselines.neural.training.photographs import CropSampler, DeviceCrops, draw_crops, reflect
from support.networks.stand_in_gpu import stand_in_gpu
from support.training.fixtures import CPU, photographs


@pytest.mark.parametrize("side_px", [40, 64, 128])  # the last are reflected
@pytest.mark.parametrize("reduced_share", [0.0, 0.5])
def test_crops_are_those_of_the_processor(side_px, reduced_share):
    """Exactly, unless crops are reduced; the filter's weights differ in the 22nd bit."""
    drawing = CropSampler(photographs(), side_px, 1, reduced_share)
    crops = DeviceCrops(drawing, lambda step: range(12 * step, 12 * step + 12), CPU).take(2)
    expected = draw_crops(photographs(), side_px, range(24, 36), 1, reduced_share)
    assert (crops.dtype, crops.shape) == (torch.uint8, expected.shape)
    difference = (crops.int() - expected.int()).abs()
    assert int(difference.max()) <= (1 if reduced_share else 0)
    assert float((difference > 0).float().mean()) < 1e-3


def test_places_beyond_a_photograph_are_reflected_as_numpy_does():
    expected = np.pad(np.arange(5), (0, 9), mode="reflect")
    assert reflect(torch.arange(14), torch.tensor(5)).tolist() == expected.tolist()
    assert reflect(torch.arange(3), torch.tensor(1)).tolist() == [0, 0, 0]


def test_a_gpu_takes_photographs_that_leave_it_most_of_its_memory(monkeypatch):
    drawing = CropSampler(photographs(), 64, 1)
    size_bytes = drawing.photographs.pixels.nbytes
    with stand_in_gpu():
        for total, fits in ((4 * size_bytes, True), (4 * size_bytes - 4, False)):
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, size=total: (0, size))
            assert DeviceCrops.can_hold(drawing, torch.device("cuda")) is fits
    assert not DeviceCrops.can_hold(drawing, CPU)
