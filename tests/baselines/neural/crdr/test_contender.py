"""Our codec as the harness finds it: its description, checkpoints and settings."""

import math
import subprocess
import sys
from pathlib import Path
from shutil import copyfile

import pytest

from baselines.crdr import CRDR
from baselines.neural.checkpoint.card import card_path, load_card
from baselines.neural.checkpoint.checkpoint import load_checkpoint
from baselines.neural.checkpoint_codec import BUNDLED
from benchmark.codec import Setting
from benchmark.errors import BadOption, Unavailable
from support.networks.tiny_checkpoint import noise

ROOT = Path(__file__).parents[4]


def test_a_description_needs_no_torch_and_calls_an_untrained_network_so(checkpoint, tmp_path):
    (tmp_path / "torch.py").write_text("raise AssertionError('torch was imported')\n")
    script = f"from baselines.crdr import CRDR; CRDR(beta=0, checkpoint={str(checkpoint)!r})"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}.describe()"],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert CRDR(beta=0, checkpoint=str(checkpoint)).describe().caveat == "untrained"


def test_without_a_checkpoint_it_is_unavailable_never_random(monkeypatch, tmp_path):
    monkeypatch.setattr("baselines.neural.checkpoint_codec.BUNDLED", tmp_path)
    with pytest.raises(Unavailable, match=r"no weight file ours\.safetensors"):
        CRDR(beta=0)
    with pytest.raises(Unavailable, match="no checkpoint nowhere"):
        CRDR(beta=0, checkpoint="nowhere")


def test_the_shipped_checkpoint_is_taken_where_there_is_no_other(monkeypatch, checkpoint, tmp_path):
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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("size", "huge"), ("beta", 6), ("effort", 4), ("search_seed", -1)),
        *(("search_for", "speed"), ("bpp", -1), ("psnr", math.inf), ("exact", 2)),
    ],
)
def test_options_that_make_no_sense_are_refused(option, value):
    with pytest.raises(BadOption, match=f"{option}={value}"):
        CRDR(**{"beta": 0, option: value})


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
