"""A hyperprior that is trained here: its file, whole and damaged, and the codec of it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from baselines.compressai import codec as compressai_codec
from baselines.compressai.codec import unpack
from baselines.compressai.network import ZooNetwork
from baselines.neural.architecture import ZooSizes
from baselines.neural.checkpoint import load_checkpoint, make_checkpoint
from benchmark.codec import Setting
from benchmark.errors import Unavailable
from benchmark.rows.edition import label_of
from benchmark.spec import load_codec, parse_codec, resolve
from support.networks.card_edits import bless, resized
from support.networks.matched_hyperprior import (
    CARD,
    HYPERPRIOR,
    QUALITY,
    WIDTHS,
    as_images,
    matched,
    save,
    wrapped,
)


def test_stored_tables_belong_to_their_parameters_and_quantiles_to_all_but_a_billionth(shipped):
    save(shipped)
    state = load_checkpoint(shipped / "hyperprior-1.safetensors").network.stored_state()
    tables = {name: value.clone() for name, value in state.items() if name.split(".")[-1][0] == "_"}
    tables["gaussian_conditional.scale_table"] = state["gaussian_conditional.scale_table"].clone()
    assert len(tables) == 7
    codec = ZooNetwork(ZooSizes(HYPERPRIOR, WIDTHS)).codec.from_state_dict(state)
    prior = codec.entropy_bottleneck
    logits = prior._logits_cumulative(prior.quantiles, stop_gradient=True)[:, 0]
    outermost = np.log(2e9 - 1)
    for column, expected in enumerate((-outermost, 0, outermost)):
        assert logits[:, column].tolist() == pytest.approx(
            [expected] * WIDTHS[0], rel=1e-2, abs=1e-2
        )
    codec.update(force=True)
    fresh = codec.state_dict()
    assert all(torch.equal(fresh[name], value) for name, value in tables.items())


def test_the_tables_in_the_file_are_the_ones_that_code(shipped, crop):
    network = save(shipped)
    path = shipped / "hyperprior-1.safetensors"
    tensors = load_file(path)
    network.codec.entropy_bottleneck.quantiles.data *= 2  # tables computed anew are wider
    network.codec.update(force=True)
    wider = network.codec.state_dict()
    tables = [name for name in tensors if name.startswith("entropy_bottleneck._")]
    save_file(tensors | {name: wider[name] for name in tables}, path)
    bless(path)
    longer = matched().encode(crop, Setting("quality", 1))
    compressai_codec._networks.clear()
    save(shipped)
    assert unpack(longer, 2).strings[0] == unpack(matched().encode(crop, QUALITY), 2).strings[0]
    assert unpack(longer, 2).strings[1] != unpack(matched().encode(crop, QUALITY), 2).strings[1]


def test_saving_leaves_the_network_as_it_is(tmp_path):
    network = wrapped()
    state_before = {name: value.clone() for name, value in network.state_dict().items()}
    make_checkpoint(tmp_path / "hyperprior-1.safetensors", network, CARD, [])
    state_after = network.state_dict()
    assert all(torch.equal(state_after[name], value) for name, value in state_before.items())
    assert network.training


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (resized(model="mbt2018-mean"), "mbt2018-mean"),
        (resized(model="elic"), "elic"),
        (resized(widths=[8, 12, 3]), r"widths is"),
        (resized(widths=[8, 16]), "network of its card"),
        (resized(lmbda=None), r"lmbda is"),
    ],
)
def test_a_damaged_file_is_one_sentence(shipped, photo, damage, message):
    save(shipped)
    damage(shipped / "hyperprior-1.safetensors")
    with pytest.raises(Unavailable, match=message) as caught:
        matched().encode(photo, QUALITY)
    assert "\n" not in str(caught.value)


def test_a_stream_decodes_to_the_picture_of_the_network_that_was_saved(shipped, crop):
    network = save(shipped)
    stream = matched().encode(crop, Setting("quality", 1))
    compressai_codec._networks.clear()  # the decoder makes its own
    decoded = matched().decode(stream)
    with torch.no_grad():
        network.codec.update(update_quantiles=True)  # as on saving, for the prior's medians
        images = network(as_images(crop), noisy=False).images[0]
    expected = ((images + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0).numpy()
    assert np.abs(decoded - expected).max() <= 1  # a value near .5 rounds either way
    assert np.mean(decoded != expected) < 1e-3
    assert len(np.unique(decoded)) > 10


def test_the_files_that_are_here_make_the_sweep_the_users_own_first(shipped, tmp_path, monkeypatch):
    with pytest.raises(Unavailable, match=r"hyperprior-.* --suite matched"):
        matched()
    for number in (3, 1):
        save(shipped, f"hyperprior-{number}", seed=number)
    assert matched().sweep == (Setting("quality", 1), Setting("quality", 3))
    info = matched().describe()
    assert info.caveat == "reduced, trained by this project"
    assert info.version.endswith("; N=8, M=12, 7 steps of 56 crops in all: no photographs")
    for text in ("hyperprior:weights=matched", f"compressai:weights=matched:model={HYPERPRIOR}"):
        (spec,) = resolve(parse_codec(text))
        assert load_codec(spec).describe() == info
        assert label_of(spec.identity) == "hyperprior:weights=matched"
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "mine"))
    assert matched().describe().fingerprint == info.fingerprint
    save(tmp_path / "mine", "hyperprior-2", seed=2)
    assert matched().sweep == (Setting("quality", 2),)
    assert matched().describe().fingerprint != info.fingerprint
