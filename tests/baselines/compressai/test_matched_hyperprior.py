"""CompressAI's hyperprior as it is trained here, as a codec: sweep, streams, label."""

import numpy as np
import pytest
import torch

from baselines.compressai import weights as compressai_weights
from baselines.compressai.codec import CompressAI
from benchmark.analysis.comparable import label_of
from benchmark.codec import Setting
from benchmark.codec_spec import load_codec, parse_codec, resolve
from benchmark.errors import BadOption, Unavailable
from support.networks.matched_hyperprior import HYPERPRIOR, as_images, matched, save

pytestmark = pytest.mark.usefixtures("shipped")


def test_a_stream_decodes_to_the_picture_of_the_network_that_was_saved(shipped, crop):
    network = save(shipped)
    stream = matched().encode(crop, Setting("quality", 1))
    compressai_weights._kept.clear()  # the decoder makes its own
    decoded = matched().decode(stream)
    with torch.no_grad():
        network.codec.update(update_quantiles=True)  # as on saving, for the prior's medians
        images = network(as_images(crop), noisy=False).images[0]
    expected = ((images + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0).numpy()
    assert np.abs(decoded - expected).max() <= 1  # a value beside .5 rounds either way
    assert np.mean(decoded != expected) < 1e-3
    assert len(np.unique(decoded)) > 10


def test_the_files_that_are_here_make_the_sweep_and_say_what_they_are(shipped):
    for number in (3, 1):
        save(shipped, f"hyperprior-{number}", seed=number)
    save(shipped, "hyperprior-whole-3", seed=4)
    few, whole = matched(), matched("matched-whole")
    assert few.sweep == (Setting("quality", 1), Setting("quality", 3))
    assert whole.sweep == (Setting("quality", 3),)
    assert few.describe().caveat == "reduced, trained by this project"
    assert whole.describe().caveat == "reduced, trained by this project at the whole budget"
    told = few.describe().version
    assert told.endswith("; N=8, M=12, 7 steps of 56 crops in all: no photographs")
    assert few.describe().fingerprint != whole.describe().fingerprint


def test_the_users_own_networks_come_before_the_bundled_ones(shipped, tmp_path, monkeypatch):
    save(shipped, "hyperprior-1")
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "mine"))
    theirs = matched().describe().fingerprint
    save(tmp_path / "mine", "hyperprior-2", seed=2)
    assert matched().sweep == (Setting("quality", 2),)
    assert matched().describe().fingerprint != theirs


@pytest.mark.parametrize("weights", ["matched", "matched-whole"])
def test_where_none_is_here_it_says_what_to_do(weights):
    with pytest.raises(Unavailable, match=r"no hyperprior-.*`bench train --suite matched`"):
        matched(weights)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "mbt2018-mean", "weights": "matched"},
        {"model": HYPERPRIOR, "weights": "matched", "metric": "ms-ssim"},
        {"model": HYPERPRIOR, "weights": "matched", "checkpoint": "own.pth"},
    ],
)
def test_matched_weights_of_what_is_not_trained_here_are_refused(options):
    with pytest.raises(BadOption, match="matched"):
        CompressAI(**options)


def test_the_short_name_takes_options_and_labels_the_curve(shipped):
    save(shipped)
    for text in ("hyperprior:weights=matched", f"compressai:weights=matched:model={HYPERPRIOR}"):
        (spec,) = resolve(parse_codec(text))
        assert load_codec(spec).describe().caveat == "reduced, trained by this project"
        assert label_of(spec.name, spec.variant) == "hyperprior:weights=matched"
