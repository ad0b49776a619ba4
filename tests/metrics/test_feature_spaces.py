"""Features of patches against pytorch-fid, torch-fidelity and torchvision with equal weights."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from benchmark.metrics import feature_spaces
from benchmark.metrics.metric import Features
from benchmark.system.backbone import ALEXNET, SQUEEZENET
from conftest import SHARED
from support.networks.inception_files import (
    INCEPTION_FILE,
    Case,
    as_files,
    drawn_like,
    inception_case,
    torchvision,
)

WEIGHTS = SHARED / "data" / "weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ../shared/data/weights")
RELATIVE = 1e-5  # to the largest feature, as the docstring has it


def as_torch_sees(path: Path) -> Tensor:
    with Image.open(path) as image:
        tensor: Tensor = torchvision.transforms.functional.to_tensor(image)[None]
    return tensor


def of_torchvision(layers: torch.nn.Module) -> Callable[[list[Path]], Features]:
    def peer(paths: list[Path]) -> Features:
        images = torch.cat([as_torch_sees(path) for path in paths])
        mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        with torch.inference_mode():
            normal = torchvision.transforms.functional.normalize(images, mean, deviation)
            result: Features = layers(normal).mean((2, 3)).numpy()
        return result

    return peer


@pytest.fixture(
    params=[
        *("inception256", "alex256", "squeeze256"),
        *(pytest.param(name, marks=needs_weights) for name in ("alex-real", "squeeze-real")),
    ]
)
def case(request, tmp_path, monkeypatch):
    if request.param == "inception256":
        return inception_case(request, monkeypatch)
    alex = request.param.startswith("alex")
    with torch.device("meta"):  # no numbers are drawn for weights that are replaced
        if alex:
            space, backbone, file = feature_spaces.Alex256, ALEXNET, "alexnet_features.pth"
            layers = torchvision.models.alexnet().features[:12]  # 12 is a maximum
        else:
            space, backbone = feature_spaces.Squeeze256, SQUEEZENET
            file = "squeezenet1_1_features.pth"
            layers = torchvision.models.squeezenet1_1().features
    if request.param.endswith("real"):
        folder = WEIGHTS
        state = torch.load(WEIGHTS / file, weights_only=True)
    else:
        folder = tmp_path
        state = drawn_like({f"features.{key}": part for key, part in layers.state_dict().items()})
        torch.save(state, tmp_path / file)
        content = b"".join(state[name].numpy().tobytes() for name in backbone.tensor_keys)
        digest = hashlib.sha256(content).hexdigest()
        monkeypatch.setattr(space, "backbone", backbone._replace(sha256=digest))
    monkeypatch.setenv("BENCH_WEIGHTS", str(folder))
    layers.to_empty(device="cpu").load_state_dict(
        {key.removeprefix("features."): tensor for key, tensor in state.items()}
    )
    return Case(space, 256 if alex else 512, of_torchvision(layers))


def close(features: Features, expected: Features) -> bool:
    return bool(np.abs(features - expected).max() <= RELATIVE * np.abs(expected).max())


def test_an_image_gets_the_peers_features_of_files_of_its_patches(case, coffee, tmp_path):
    patches = feature_spaces.cut_patches(coffee)
    result, expected = case.space().features(coffee), case.peer(as_files(patches, tmp_path))
    assert result.dtype == np.float32
    assert result.shape == expected.shape == (3, case.dimensions)
    assert close(result, expected)
    assert np.ptp(expected, axis=0).max() > 100 * RELATIVE * expected.max(), "patches differ"


def test_the_tf_space_is_that_of_torch_fidelity(request, inception_folder, monkeypatch, coffee):
    inception_case(request, monkeypatch)
    peer = FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_internal_dtype="float64",
        feature_extractor_weights_path=str(inception_folder / INCEPTION_FILE),
    )  # fmt: skip
    patch = np.ascontiguousarray(coffee[:256, :256])
    expected = peer(torch.from_numpy(patch.transpose(2, 0, 1)[None].copy()))[0].numpy()
    assert close(feature_spaces.InceptionTF256().features(patch), expected)
    difference = np.abs(feature_spaces.Inception256().features(patch) - expected)
    assert difference.max() > 100 * RELATIVE * np.abs(expected).max()


def test_a_patch_has_its_features_whatever_stands_beside_it(case, coffee, monkeypatch):
    space, patches = case.space(), feature_spaces.cut_patches(coffee)
    together = space.features(coffee)
    mirrored = space.features(np.ascontiguousarray(coffee[:, ::-1]))
    for number, patch in enumerate(patches):
        assert close(space.features(patch)[0], together[number])
        assert not close(mirrored[number], together[number])
    monkeypatch.setattr(feature_spaces, "PATCHES_PER_BATCH", 2)
    assert close(space.features(coffee), together)


def test_another_programs_name_of_the_file_will_do(inception_folder, tmp_path, monkeypatch, coffee):
    content = (inception_folder / INCEPTION_FILE).read_bytes()
    (tmp_path / f"weights-{INCEPTION_FILE.removeprefix('pt_')}").write_bytes(content)
    monkeypatch.setattr(feature_spaces, "INCEPTION_SHA256", hashlib.sha256(content).hexdigest())
    result, patch = [], np.ascontiguousarray(coffee[:256, :256])
    for folder in (inception_folder, tmp_path):
        monkeypatch.setenv("BENCH_WEIGHTS", str(folder))
        result.append(feature_spaces.Inception256().features(patch))
    assert np.array_equal(*result)
    assert result[0].any()


@pytest.mark.parametrize(("height", "width"), [
    *((256, 256), (255, 256), (384, 383), (384, 384), (512, 768), (768, 512), (639, 640)),
    *((640, 640), (1365, 2048), (3000, 300), (1, 1)),
])  # fmt: skip
def test_patches_are_the_images_own_pixels_row_by_row_the_shifted_grid_last(height, width):
    numbers = np.arange(height * width, dtype="<u4")
    pixels = numbers.view(np.uint8).reshape(height, width, 4)[:, :, :3]  # which all differ
    expected = []
    for shifted in (pixels, pixels[128:, 128:]):
        rows, columns = shifted.shape[0] // 256, shifted.shape[1] // 256
        grid = shifted[: rows * 256, : columns * 256]
        if rows and columns:
            split = grid.reshape(rows, 256, columns, 256, 3).swapaxes(1, 2)
            expected += list(split.reshape(-1, 256, 256, 3))
    patches = feature_spaces.cut_patches(pixels)
    assert len(patches) == len(expected) == feature_spaces.PatchSpace.patch_count(height, width)
    assert all(np.array_equal(*pair) for pair in zip(patches, expected, strict=True))
