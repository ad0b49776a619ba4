"""Our codec as the harness finds it: its description, checkpoints and settings."""

import math
from shutil import copyfile

import pytest

from baselines.crdr import CRDR
from baselines.neural.checkpoint.card import card_path, load_card
from baselines.neural.checkpoint.checkpoint import load_checkpoint
from baselines.neural.checkpoint_codec import BUNDLED
from benchmark.codec import Setting
from benchmark.errors import BadOption, Unavailable
from support.networks.tiny_checkpoint import noise


def test_the_bundled_checkpoint_is_taken_and_without_one_it_is_unavailable(
    monkeypatch, tmp_path, checkpoint
):
    monkeypatch.setattr("baselines.neural.checkpoint_codec.BUNDLED", tmp_path)
    with pytest.raises(Unavailable, match=r"no weight file ours\.safetensors"):
        CRDR(beta=0)
    with pytest.raises(Unavailable, match="no checkpoint nowhere"):
        CRDR(beta=0, checkpoint="nowhere")
    for path in (checkpoint, card_path(checkpoint)):
        copyfile(path, tmp_path / f"ours{path.suffix}")
        copyfile(path, tmp_path / f"hyperprior-1{path.suffix}")
    monkeypatch.setattr("baselines.neural.checkpoint_codec.BUNDLED", tmp_path)
    assert CRDR(beta=0).describe().fingerprint == load_checkpoint(checkpoint).card.sha256


def test_a_size_has_a_file_of_its_own_which_has_its_dimensions(monkeypatch, checkpoint, tmp_path):
    bundled = load_card(BUNDLED / "ours-micro.safetensors")
    assert CRDR(beta=0, size="micro").describe().fingerprint == bundled.sha256
    monkeypatch.setattr("baselines.neural.checkpoint_codec.BUNDLED", tmp_path)
    with pytest.raises(Unavailable, match=r"no weight file ours-micro\.safetensors"):
        CRDR(beta=0, size="micro")
    for path in (checkpoint, card_path(checkpoint)):
        copyfile(path, tmp_path / f"ours-tiny{path.suffix}")
        copyfile(path, tmp_path / f"ours-micro{path.suffix}")
    assert CRDR(beta=0, size="tiny").describe().fingerprint == load_card(checkpoint).sha256
    with pytest.raises(Unavailable, match="other dimensions than those of size=micro"):
        CRDR(beta=0, size="micro")


def test_options_and_settings_that_exclude_each_other_are_refused(checkpoint):
    codec = CRDR(beta=0, checkpoint=str(checkpoint))
    for options in ({"size": "micro", "checkpoint": str(checkpoint)}, {"bpp": 0.2, "psnr": 30}):
        with pytest.raises(BadOption, match="one of them"):
            CRDR(beta=0, **options)
    for setting in (Setting("quality", 2), Setting("q", 4.1), Setting("q", math.nan)):
        with pytest.raises(BadOption, match=setting.name):
            codec.encode(noise(8, 8), setting)
    with pytest.raises(BadOption, match="beta is -1"):
        codec.decode(b"", beta=-1)
