"""Features of patches against pytorch-fid and torchvision with the same weights in them."""

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics import feature_spaces
from benchmark.metrics.distribution_metric import Features
from benchmark.metrics.feature_spaces import Alex256, Inception256, Squeeze256, cut_patches
from benchmark.registry import FEATURE_SPACES, metric_class
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
        seen: Tensor = torchvision.transforms.functional.to_tensor(image)[None]
    return seen


def of_torchvision(layers: torch.nn.Module) -> Callable[[list[Path]], Features]:
    def peer(paths: list[Path]) -> Features:
        seen = torch.cat([as_torch_sees(path) for path in paths])
        mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        with torch.inference_mode():
            normal = torchvision.transforms.functional.normalize(seen, mean, deviation)
            found: Features = layers(normal).mean((2, 3)).numpy()
        return found

    return peer


@pytest.fixture(
    params=[
        *("inception256", "alex256", "squeeze256"),
        *(pytest.param(name, marks=needs_weights) for name in ("alex-real", "squeeze-real")),
    ]
)
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    if request.param == "inception256":
        return inception_case(request, monkeypatch)
    alex = request.param.startswith("alex")
    with torch.device("meta"):  # no numbers are drawn for weights that are replaced
        if alex:
            space, backbone, file = Alex256, ALEXNET, "alexnet_features.pth"
            layers = torchvision.models.alexnet().features[:12]  # 12 is a maximum
        else:
            space, backbone, file = Squeeze256, SQUEEZENET, "squeezenet1_1_features.pth"
            layers = torchvision.models.squeezenet1_1().features
    if request.param.endswith("real"):
        folder = WEIGHTS
        state = torch.load(WEIGHTS / file, weights_only=True)
    else:
        folder = tmp_path
        state = drawn_like({f"features.{key}": one for key, one in layers.state_dict().items()})
        torch.save(state, tmp_path / file)
        content = b"".join(state[name].numpy().tobytes() for name in backbone.tensors)
        digest = hashlib.sha256(content).hexdigest()
        monkeypatch.setattr(space, "backbone", backbone._replace(sha256=digest))
    monkeypatch.setenv("BENCH_WEIGHTS", str(folder))
    layers.to_empty(device="cpu").load_state_dict(
        {key.removeprefix("features."): one for key, one in state.items()}
    )
    return Case(space, 256 if alex else 512, of_torchvision(layers))


def close(found: Features, expected: Features) -> bool:
    return bool(np.abs(found - expected).max() <= RELATIVE * np.abs(expected).max())


def test_an_image_gets_the_features_that_the_peer_has_for_files_of_its_patches(
    case, coffee, tmp_path
):
    patches = cut_patches(coffee)
    found, expected = case.space().features(coffee), case.peer(as_files(patches, tmp_path))
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (3, case.dimensions)
    assert close(found, expected)
    assert np.ptp(expected, axis=0).max() > 100 * RELATIVE * expected.max(), "patches differ"


def test_a_patch_has_its_features_whatever_stands_beside_it(case, coffee, monkeypatch):
    space, patches = case.space(), cut_patches(coffee)
    together = space.features(coffee)
    mirrored = space.features(np.ascontiguousarray(coffee[:, ::-1]))
    for number, patch in enumerate(patches):
        assert close(space.features(patch)[0], together[number])
        assert not close(mirrored[number], together[number])
    monkeypatch.setattr(feature_spaces, "PATCHES_PER_BATCH", 2)
    assert close(space.features(coffee), together)


def test_neither_threads_nor_precision_move_anything_beyond_the_tolerance(case, coffee):
    pixels, before = np.ascontiguousarray(coffee[:256, :256]), torch.get_num_threads()
    expected = case.space("cpu:0").features(pixels)
    assert expected.dtype == np.float32
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert close(case.space().features(pixels), expected)
    finally:
        torch.set_num_threads(before)


def test_an_image_without_a_patch_has_no_features(case, coffee):
    space = case.space()
    with pytest.raises(NotMeasurable, match="of patches of 256 px, this image has 600 x 255"):
        space.features(np.ascontiguousarray(coffee[:255]))


class MakesFolder:
    """Unpickled by anything that trusts it, makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder),)


def contents(trap: Path) -> Iterator[bytes]:
    yield b""
    yield b"text"
    some = BytesIO()
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 3, 3)}, some)
    yield some.getvalue()
    yield pickle.dumps({"Conv2d_1a_3x3.conv.weight": MakesFolder(trap)}, protocol=2)


def test_inception_of_another_file_is_unavailable_and_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    for content in contents(tmp_path / "trap"):
        (tmp_path / INCEPTION_FILE).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()[:8]
        with pytest.raises(
            Unavailable,
            match=f"is not pytorch-fid's .*, its sha256 begins with {digest} instead of 6726825d: ",
        ):
            Inception256()
    assert not (tmp_path / "trap").exists()
    (tmp_path / INCEPTION_FILE).unlink()
    (tmp_path / INCEPTION_FILE).mkdir()
    with pytest.raises(Unavailable, match="cannot be read as pytorch-fid's"):
        Inception256()


def test_the_same_file_by_another_programs_name_gives_the_same_features(
    inception_folder, tmp_path, monkeypatch, coffee
):
    content = (inception_folder / INCEPTION_FILE).read_bytes()
    (tmp_path / f"weights-{INCEPTION_FILE.removeprefix('pt_')}").write_bytes(content)
    monkeypatch.setattr(feature_spaces, "INCEPTION_SHA256", hashlib.sha256(content).hexdigest())
    found = []
    for folder in (inception_folder, tmp_path):
        monkeypatch.setenv("BENCH_WEIGHTS", str(folder))
        found.append(Inception256().features(np.ascontiguousarray(coffee[:256, :256])))
    assert np.array_equal(*found)
    assert found[0].any()


def run(program: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    ).stdout


def test_missing_weights_are_noticed_before_torch_is_imported(tmp_path):
    shown = run(
        """
import sys
from benchmark.errors import Unavailable
from benchmark.metrics.feature_spaces import Inception256
try:
    Inception256()
except Unavailable as reason:
    print("torch" in sys.modules, reason)
""",
        TORCH_HOME=str(tmp_path),
        BENCH_WEIGHTS="",
    )
    assert shown.startswith("False no weight file pt_inception-2015-12-05-6726825d.pth or ")
    assert "run `bench fetch inception`, or put pytorch-fid's pt_inc" in shown


def test_no_random_number_is_drawn_and_nothing_is_downloaded(inception_folder):
    program = """
import hashlib
import socket
import numpy as np
import torch
from benchmark.metrics import feature_spaces
from benchmark.metrics.feature_spaces import Inception256
feature_spaces.INCEPTION_SHA256 = "DIGEST"
socket.socket = None
state = torch.get_rng_state()
found = Inception256().features(np.zeros((256, 256, 3), np.uint8))
print(torch.equal(state, torch.get_rng_state()), found.shape)
"""
    digest = hashlib.sha256((inception_folder / INCEPTION_FILE).read_bytes()).hexdigest()
    shown = run(program.replace("DIGEST", digest), BENCH_WEIGHTS=str(inception_folder))
    assert shown == "True (1, 2048)\n"


@needs_weights
def test_the_other_spaces_do_without_torchvision():
    program = """
import sys
import numpy as np
from benchmark.metrics.feature_spaces import Alex256, Squeeze256
for space in (Alex256(), Squeeze256()):
    space.features(np.zeros((256, 256, 3), np.uint8))
print({"torchvision", "pytorch_fid"} & set(sys.modules))
"""
    assert run(program, BENCH_WEIGHTS=str(WEIGHTS)) == "set()\n"


def test_columns_and_protocols_name_the_space_and_the_weights():
    assert {name: metric_class(name).column for name in FEATURE_SPACES} == {
        name: f"{name}_patches" for name in FEATURE_SPACES
    }
    assert {kind.protocol for kind in (Inception256, Alex256, Squeeze256)} == {
        "inception256/pytorch-fid-0.3.0-6726825d",
        "alex256/1-2b566cc3",
        "squeeze256/1-31a70309",
    }
