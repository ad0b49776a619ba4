"""`bench check` of checkpoints: one saved again, and one slightly spoilt."""

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.neural.checkpoint import load_checkpoint, save_checkpoint
from baselines.neural.network_codec import BUNDLED as SHIPPED
from support.bench.command import output_of, verdict_line


@pytest.fixture(scope="module")
def photographs(coffee, tmp_path_factory):
    """Six photographs of 64 x 64, one block of the codec each."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(6):
        crop = coffee[100:164, 100 + 70 * number : 164 + 70 * number]
        Image.fromarray(np.ascontiguousarray(crop)).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
def test_a_checkpoint_saved_again_is_equivalent_and_one_slightly_spoilt_has_regressed(
    photographs, tmp_path
):
    """The bundled network; one without training has no curve: its rate does not move."""
    shipped = load_checkpoint(SHIPPED / "ours.safetensors.xz")
    again, spoilt = tmp_path / "again.safetensors", tmp_path / "spoilt.safetensors"
    save_checkpoint(again, shipped.network, shipped.card, shipped.tables)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in shipped.network.named_parameters():
            if name.startswith("synthesis"):
                weights.mul_(1 + 0.03 * torch.randn(weights.shape, generator=random))
    save_checkpoint(spoilt, shipped.network, shipped.card, shipped.tables)
    run = ("--dataset", photographs, "--metrics", "psnr", "--jobs", 1)
    output_of(
        "run", "--codecs", "ours:beta=0", "--points", "ours.q=0,1,2,3", "--results",
        tmp_path / "old", *run,
    )  # fmt: skip
    words = ("check", "--codec", "ours", "--against", tmp_path / "old", *run)
    equal = output_of(*words, "--checkpoint", again, "--results", tmp_path / "new")
    assert verdict_line(equal).startswith("PASS (equivalent): ")
    worse = output_of(*words, "--checkpoint", spoilt, "--results", tmp_path / "new", code=1)
    assert verdict_line(worse).startswith("FAIL (regressed): ")
    assert "worst images" in worse
