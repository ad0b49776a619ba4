"""Precision and recall by neighbours against torch-fidelity, and against sets known by heart."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import calculate_precision_recall_full

from benchmark.errors import NotMeasurable
from benchmark.metrics import neighbours as module
from benchmark.metrics.neighbours import Precision256, Recall256, coverage


def drawn(seed, images=40, dimensions=8):
    """Features of sources and of decodings that are less varied and moved."""
    generator = np.random.default_rng(seed)
    reference = [generator.normal(size=(4, dimensions)).astype(np.float32) for _ in range(images)]
    decoded = [
        (0.8 * one + generator.normal(0.4, 0.4, one.shape)).astype(np.float32) for one in reference
    ]
    return reference, decoded


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("offset", [0, 1000])
def test_torch_fidelity_gives_the_same_shares(monkeypatch, block, offset):
    monkeypatch.setattr(module, "BLOCK_PATCHES", block)
    reference, decoded = drawn(4)
    expected = calculate_precision_recall_full(
        *(torch.from_numpy(np.concatenate(one)).double() for one in (decoded, reference))
    )
    moved = [[one + np.float32(offset) for one in images] for images in (reference, decoded)]
    found = [kind().reduce(*moved).value for kind in (Precision256, Recall256)]
    # float32 holds features near 1000 to 6e-5, which may move a patch across a border
    assert found == pytest.approx(expected, abs=1e-6 if offset == 0 else 2 / 160)
    assert 0.2 < expected[0] != expected[1] < 1


def test_a_ball_reaches_to_the_third_neighbour_and_its_border_counts():
    centres = np.float32([[0], [1], [3], [7]])  # reach 7, 6, 4, 7
    assert coverage(centres, np.float32([[-7], [14], [-7.5], [14.5]])) == 0.5


def test_a_mode_that_is_lost_costs_recall_and_an_artefact_precision():
    generator = np.random.default_rng(1)
    near, far = generator.normal(0, 1, (50, 4)), generator.normal(40, 1, (50, 4))
    both, one = np.float32([*near, *far]), np.float32([*near, *near + 0.01])
    assert Recall256().reduce([both], [one]).value == 0.5
    assert Precision256().reduce([both], [one]).value == 1
    assert Precision256().reduce([one], [both]).value == 0.5


def test_three_patches_have_no_third_neighbour():
    with pytest.raises(NotMeasurable, match="at least 4 patches, here are 3"):
        Recall256().reduce([np.eye(3, dtype=np.float32)], [np.eye(3, dtype=np.float32)])
