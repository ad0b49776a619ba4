"""Inception network with drawn weights, as a file and as pytorch-fid computes it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor

from benchmark.metrics import feature_spaces
from benchmark.metrics.feature_spaces import INCEPTION_FILE, Inception256, PatchSpace
from benchmark.metrics.metric import Features


class Case(NamedTuple):
    """Feature space whose weights are in place, and its peer's features of files of patches."""

    space: type[PatchSpace]
    dimensions: int
    peer: Callable[[list[Path]], Features]


def drawn_like(state: dict[str, Tensor]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for name, tensor in state.items():
        if tensor.dim() == 4:
            spread = (2 / tensor[0].numel()) ** 0.5
            tensors[name] = torch.randn(tensor.shape, generator=generator) * spread
        elif name.endswith(("running_var", "bn.weight")):
            tensors[name] = torch.rand(tensor.shape, generator=generator) + 0.5
        elif tensor.is_floating_point():
            tensors[name] = torch.randn(tensor.shape, generator=generator) * 0.1
        else:
            tensors[name] = tensor
    return tensors


@pytest.fixture(scope="module")
def inception_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pytorch_fid import inception as module

    shapes: dict[str, Tensor] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(torchvision.models.Inception3, "load_state_dict", lambda *_: None)
        shapes |= module.fid_inception_v3().state_dict()
    folder = tmp_path_factory.mktemp("inception")
    torch.save(drawn_like(shapes), folder / INCEPTION_FILE)
    return folder


@pytest.fixture(scope="module")
def pytorch_fid(inception_folder: Path) -> Callable[[list[Path]], Features]:
    from pytorch_fid import inception as module
    from pytorch_fid.fid_score import get_activations

    state = torch.load(inception_folder / INCEPTION_FILE, weights_only=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: state)
        network = module.InceptionV3()
    return lambda paths: get_activations(paths, network, batch_size=2, num_workers=0)


def inception_case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    folder = request.getfixturevalue("inception_folder")
    digest = hashlib.sha256((folder / INCEPTION_FILE).read_bytes()).hexdigest()
    monkeypatch.setattr(feature_spaces, "INCEPTION_SHA256", digest)
    monkeypatch.setenv("BENCH_WEIGHTS", str(folder))

    def peer(paths: list[Path]) -> Features:
        return request.getfixturevalue("pytorch_fid")(paths)

    return Case(Inception256, 2048, peer)


def as_files(patches: list[np.ndarray], folder: Path) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(patches))]
    for path, patch in zip(paths, patches, strict=True):
        Image.fromarray(patch).save(path)
    return paths
