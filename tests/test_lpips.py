"""LPIPS against the forward pass of the lpips package, and which weights it accepts."""

import os
import pickle
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics import lpips as module
from benchmark.metrics.lpips import ALEXNET_SHA256, LPIPSAlex
from benchmark.torchvision_import import import_torchvision

WEIGHTS = Path(__file__).parent.parent.parent / "shared" / "data" / "weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ../shared/data/weights")
TOLERANCE = 1e-6  # as stated in the docstring
NAMES = [f"features.{n}.{part}" for n in (0, 3, 6, 8, 10) for part in ("weight", "bias")]


@pytest.fixture(scope="module")
def loaded() -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = torch.load(
        WEIGHTS / "alexnet_features.pth", weights_only=True
    )
    return tensors


@pytest.fixture
def weights(
    loaded: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> dict[str, torch.Tensor]:
    """AlexNet's, where the metric finds them, and to change."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(WEIGHTS))
    return {name: tensor.clone() for name, tensor in loaded.items()}


@pytest.fixture(scope="module")
def peer(loaded: dict[str, torch.Tensor]) -> Any:
    """The network of the lpips package with AlexNet's weights in it."""
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision the old way
        from lpips import LPIPS

        network = LPIPS(net="alex", pnet_rand=True, verbose=False)
    for name, parameter in network.net.named_parameters():  # slice2.3.weight
        _, number, part = name.split(".")
        parameter.data.copy_(loaded[f"features.{number}.{part}"])
    return network


def forward(network: Any, *images: Pixels) -> float:
    scaled = (
        torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)) / 127.5 - 1
        for image in images
    )
    with torch.inference_mode():
        return float(network(*scaled))


def lpips(reference: Pixels, decoded: Pixels, device: str = "cpu") -> float:
    metric = LPIPSAlex(device)
    return metric.compare(metric.prepare(reference), decoded)


def through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


@needs_weights
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize(
    ("height", "width"), [(31, 31), (31, 77), (64, 64), (181, 203), (400, 600)]
)
def test_an_image_gets_the_value_of_the_lpips_package(peer, weights, coffee, device, height, width):
    source = np.ascontiguousarray(coffee[-height:, -width:])
    decoded = through_jpeg(source, 20)
    expected = forward(peer, source, decoded)
    assert lpips(source, decoded, device) == pytest.approx(expected, abs=TOLERANCE)


@needs_weights
def test_a_source_is_prepared_once_for_many_images(weights, photo):
    metric = LPIPSAlex()
    prepared = metric.prepare(photo)
    for quality in (10, 60, 10):
        decoded = through_jpeg(photo, quality)
        assert metric.compare(prepared, decoded) == lpips(photo, decoded)


@needs_weights
def test_identical_images_are_at_no_distance(weights, photo):
    assert lpips(photo, photo.copy()) == 0


@needs_weights
def test_the_number_of_threads_moves_nothing_beyond_the_tolerance(weights, photo):
    decoded, before = through_jpeg(photo, 10), torch.get_num_threads()
    values = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            values.append(lpips(photo, decoded))
    finally:
        torch.set_num_threads(before)
    assert values[0] == pytest.approx(values[1], abs=TOLERANCE)


@needs_weights
def test_below_31_px_neither_the_package_nor_we_have_a_value(peer, weights, coffee):
    small = np.ascontiguousarray(coffee[:30, :80])
    with pytest.raises(RuntimeError, match="too small"):
        forward(peer, small, small)
    with pytest.raises(
        NotMeasurable, match="at least 31 px on the shorter side, this image has 30"
    ):
        LPIPSAlex().prepare(small)


@needs_weights
def test_a_reconstruction_cropped_by_one_pixel_is_refused(weights, photo):
    with pytest.raises(ValueError, match="shapes differ"):
        lpips(photo, photo[:, :-1])


@needs_weights
def test_a_whole_checkpoint_is_the_same_as_its_features_alone(
    weights, photo, tmp_path, monkeypatch
):
    expected = lpips(photo, through_jpeg(photo, 10))
    whole = {"classifier.1.weight": torch.ones(3), **dict(reversed(weights.items()))}
    torch.save(whole, tmp_path / "alexnet-owt-7be5be79.pth")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    assert lpips(photo, through_jpeg(photo, 10)) == expected


@needs_weights
def test_one_changed_weight_is_another_network(weights, tmp_path, monkeypatch):
    weights["features.10.bias"][255] += 1e-3
    torch.save(weights, tmp_path / "alexnet_features.pth")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match="is not the AlexNet that LPIPS is defined with"):
        LPIPSAlex()


class MakesFolder:
    """Unpickled by anything that trusts it, makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder),)


def test_a_file_of_something_else_is_unavailable_and_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    file, trap = tmp_path / "alexnet_features.pth", tmp_path / "trap"
    tensors, listed, counted = BytesIO(), BytesIO(), BytesIO()
    torch.save({"features.0.weight": torch.zeros(3)}, tensors)
    torch.save([1, 2, 3], listed)
    torch.save(dict.fromkeys(NAMES, 1), counted)
    contents = [b"", b"text", tensors.getvalue(), tensors.getvalue()[:-40], listed.getvalue()]
    contents += [counted.getvalue(), pickle.dumps({NAMES[0]: MakesFolder(trap)}, protocol=2)]
    for content in contents:
        file.write_bytes(content)
        with pytest.raises(Unavailable, match=r"features\.pth cannot be read as torchvision's"):
            LPIPSAlex()
    assert not trap.exists()


def test_a_folder_in_place_of_the_file_is_unavailable(tmp_path, monkeypatch):
    (tmp_path / "alexnet_features.pth").mkdir()
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match=r"features\.pth cannot be read as torchvision's"):
        LPIPSAlex()


def test_tensors_of_the_right_shapes_and_other_values_are_refused(tmp_path, monkeypatch):
    torch.save({name: torch.zeros(4) for name in NAMES}, tmp_path / "alexnet_features.pth")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match="is not the AlexNet that LPIPS is defined with"):
        LPIPSAlex()


def test_another_release_of_lpips_is_refused(tmp_path, monkeypatch):
    (tmp_path / "alexnet_features.pth").write_bytes(b"")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(module, "distribution", lambda name: SimpleNamespace(version="0.1.5"))
    with pytest.raises(Unavailable, match=r"defined with lpips 0\.1\.4, and 0\.1\.5 is"):
        LPIPSAlex()


def test_without_the_package_of_the_heads_it_is_unavailable(tmp_path, monkeypatch):
    def nothing(name: str) -> None:
        raise PackageNotFoundError(name)

    (tmp_path / "alexnet_features.pth").write_bytes(b"")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(module, "distribution", nothing)
    with pytest.raises(Unavailable, match="'lpips' is not installed"):
        LPIPSAlex()


def test_missing_weights_are_noticed_before_torch_is_imported(tmp_path):
    program = """
import sys
from benchmark.errors import Unavailable
from benchmark.metrics.lpips import LPIPSAlex
try:
    LPIPSAlex()
except Unavailable as reason:
    print("torch" in sys.modules, reason)
"""
    environment = {**os.environ, "TORCH_HOME": str(tmp_path), "BENCH_WEIGHTS": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith("False no weight file alexnet-owt-*.pth or alexnet_features.pth")


@needs_weights
def test_nothing_but_torch_is_imported_and_no_random_number_drawn():
    program = """
import sys
import numpy as np
import torch
from benchmark.metrics.lpips import LPIPSAlex
state = torch.get_rng_state()
metric = LPIPSAlex()
metric.compare(metric.prepare(np.zeros((64, 64, 3), np.uint8)), np.ones((64, 64, 3), np.uint8))
print(torch.equal(state, torch.get_rng_state()), {"torchvision", "lpips"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "BENCH_WEIGHTS": str(WEIGHTS)},
    )
    assert done.stdout == "True set()\n"


def test_the_protocol_names_the_release_and_the_weights():
    assert LPIPSAlex.protocol == "lpips-alex/0.1.4-2b566cc3"
    assert ALEXNET_SHA256.startswith("2b566cc3")
