"""Checkpoints of CRDR's authors, at a small size of the same structure: read whole or refused."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from baselines.neural.architecture import CrdrSizes
from baselines.neural.crdr.authors import read_author_weights
from baselines.neural.crdr.model import CRDRNetwork
from benchmark.errors import Unavailable
from support.files.hostile_files import MakesFolder
from support.networks.authors_weights import DERIVED_SHAPES, authors_state, old_spelling
from support.networks.tiny_checkpoint import FULL, TINY

# The published widths over 16.
SHRUNKEN = replace(
    FULL, encoder=(12, 12, 12), decoder=(16, 16, 16), latent=20, hyper_latent=12, support=20,
    hyper_encoder=(20, 16), hyper_decoder=(12, 16), slices=(2,) * 10, context=(14, 8), condition=32,
)  # fmt: skip
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state():
    return authors_state(SHRUNKEN)


def saved(folder: Path, content: object) -> Path:
    path = folder / "crdr.pth.tar"
    torch.save(content, path)
    return path


def imported(folder: Path, content: object, sizes: CrdrSizes = SHRUNKEN) -> State:
    return read_author_weights(saved(folder, content), sizes)


@pytest.mark.parametrize("sizes", [SHRUNKEN, TINY, replace(TINY, support_slices=3)])
def test_every_parameter_of_the_named_sizes_is_filled(tmp_path, sizes):
    theirs = authors_state(sizes)
    ours = imported(tmp_path, theirs, sizes)
    CRDRNetwork(sizes).load_state_dict(ours, strict=True)
    assert all(value.dtype == torch.float32 and value.is_contiguous() for value in ours.values())
    total = sum(value.numel() for key, value in theirs.items() if key not in DERIVED_SHAPES)
    assert sum(value.numel() for value in ours.values()) == total


def test_wrappers_prefixes_and_both_spellings_give_the_same_network(tmp_path, state):
    plain = imported(tmp_path, state)
    old = {old_spelling(key): value for key, value in state.items()}
    assert sum(key.startswith("entropy_model_z._matrix") for key in old) == 5
    for content in (
        {"comp_model": state, "iteration": 7},
        {"comp_model": {f"module.{key}": value for key, value in state.items()}},
        {"state_dict": old}, old,
        {key: value for key, value in state.items() if key not in DERIVED_SHAPES},
        {key: value.double() for key, value in state.items()},
    ):  # fmt: skip
        torch.testing.assert_close(imported(tmp_path, content), plain, rtol=0, atol=0)
    network = CRDRNetwork(SHRUNKEN)
    network.load_state_dict(plain)
    # Their last hyper layer, a transposed convolution of stride 1, is the same function as ours.
    features = torch.randn(1, 16, 5, 7)
    kernel, bias = (state[f"hyperdecoder.hd_std.conv3.{part}"] for part in ("weight", "bias"))
    theirs = functional.conv_transpose2d(features, kernel, bias, padding=1)
    torch.testing.assert_close(network.hyper_synthesis.scale[4](features), theirs)


@pytest.mark.parametrize(("change", "reason"), [
    ({"encoder.conv9.weight": torch.zeros(1)}, r"encoder\.conv9\.weight$"),
    ({f"spare.{i}": torch.zeros(1) for i in range(9)}, r"spare\.0.* 5 more$"),
    ({"decoder.conv4.bias": None}, r"decoder\.conv4\.bias$"),
    ({"encoder.conv4.weight": None}, r"encoder\.conv4\.weight$"),
    ({"entropy_model_z.matrices.0": None}, r"entropy_model_z\.matrices\.0$"),
    ({"entropy_model_z.biases.2": torch.zeros(12, 4, 1)}, r"biases\.2 \(12, 4, 1\)"),
    ({"decoder.block2.block1.proj_2.bias": torch.zeros(9)}, r"proj_2\.bias \(9,\)$"),
    ({"encoder.conv1.bias": torch.zeros(12, dtype=torch.int64)}, r"conv1\.bias \(12,\)"),
    ({"hyperdecoder.hd_std.conv3.weight": torch.zeros(320)}, r"conv3\.weight \(320,\)"),
    ({"encoder.conv1.weight": torch.zeros(12, 3, 4, 4)}, r"conv1\.weight \(12, 3, 4, 4\)"),
    ({"decoder.mlp.2.bias": torch.full((32,), torch.nan)}, r"finite.* decoder\.mlp\.2\.bias$"),
    ({"spare": torch.zeros(1).expand(10**9)}, "1000000000 elements"),
    ({"entropy_model_z._matrix0": torch.zeros(12, 3, 1)}, r"two .*_z\.matrices\.0$"),
])  # fmt: skip
def test_a_key_that_does_not_fit_is_one_error(tmp_path, state, change, reason):
    changed = {key: value for key, value in (state | change).items() if value is not None}
    with pytest.raises(Unavailable, match=reason):
        imported(tmp_path, changed)


def test_foreign_and_hostile_files_end_in_one_error(tmp_path, monkeypatch, state):
    monkeypatch.chdir(tmp_path)
    whole, hostile = saved(tmp_path, state).read_bytes(), MakesFolder(Path("was_executed"))
    path = tmp_path / "foreign"
    for content in (b"", b"not weights", whole[: len(whole) // 2], pickle.dumps(hostile)):
        path.write_bytes(content)
        with pytest.raises(Unavailable, match="/foreign "):
            read_author_weights(path)
    with pytest.raises(Unavailable, match="weights"):
        imported(tmp_path, {"comp_model": state, "more": hostile})
    assert not (tmp_path / "was_executed").exists()
    for content in ([1, 2], {"comp_model": {1: torch.zeros(1)}}, {"a": "b"}, torch.zeros(3)):
        with pytest.raises(Unavailable, match="state dict"):
            imported(tmp_path, content)
    with pytest.raises(Unavailable, match=r"missing\.pth\.tar"):
        read_author_weights(tmp_path / "missing.pth.tar")
    with pytest.raises(Unavailable, match=f"{tmp_path} "):
        read_author_weights(tmp_path)
