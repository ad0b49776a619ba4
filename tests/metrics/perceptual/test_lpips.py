"""LPIPS against the forward pass of the lpips package, and which weights it accepts."""

import hashlib
import pickle
import warnings
from importlib.metadata import PackageNotFoundError
from io import BytesIO
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torchvision

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics import deep_features as module
from benchmark.metrics.deep_features import LPIPS, LPIPSVGG, LPIPSAlex, LPIPSSqueeze
from benchmark.system.backbone import VGG16
from conftest import SHARED
from support.files.hostile_files import MakesFolder
from support.metrics.cases import in_new_python, through_jpeg, value
from support.networks.vgg_files import DrawnVGG

WEIGHTS = SHARED / "data" / "weights"
TOLERANCE = 1e-6  # as stated in the docstring


class Case(NamedTuple):
    metric: type[LPIPS]
    net: str
    file: str
    checkpoint_file: str
    last_bias: str
    min_side_px: int
    other_weights: str  # what is said of them


# Read by torch and refused, or refused before it.
UNREADABLE = r"\.pth .* (weights|torchvision)"
OF_TENSORS = "LPIPS"
ALEX = Case(LPIPSAlex, "alex", "alexnet_features.pth", "alexnet-owt-7be5be79.pth",
            "features.10.bias", 31, OF_TENSORS)  # fmt: skip
SQUEEZE = Case(LPIPSSqueeze, "squeeze", "squeezenet1_1_features.pth", "squeezenet1_1-b8a52dc0.pth",
               "features.12.expand3x3.bias", 17, OF_TENSORS)  # fmt: skip
OF_FILE = r"vgg16-397923af\.pth, .*sha256 .*\w{8} .*\w{8}"
VGG = Case(LPIPSVGG, "vgg", "vgg16-397923af.pth", "vgg16-397923af.pth",
           "features.28.bias", 16, OF_FILE)  # fmt: skip
CASES = (ALEX, SQUEEZE, VGG)
by_tensors = pytest.mark.parametrize("case", [ALEX, SQUEEZE], indirect=True, ids=["alex", "sqz"])


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.net)
def case(request):
    parameter: Case = request.param
    return parameter


@pytest.fixture(scope="module")
def folder(case, tmp_path_factory):
    """Return the folder of the network's published weights, or of drawn ones of VGG-16."""
    if case is VGG:
        return DrawnVGG(tmp_path_factory.mktemp("vgg")).folder
    if not WEIGHTS.exists():
        pytest.skip("needs ../shared/data/weights")
    return WEIGHTS


@pytest.fixture(scope="module")
def loaded(case, folder):
    tensors: dict[str, torch.Tensor] = torch.load(folder / case.file, weights_only=True)
    return tensors


@pytest.fixture
def weights(case, loaded, folder, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(folder))
    if case is VGG:
        digest = hashlib.sha256((folder / case.file).read_bytes()).hexdigest()
        monkeypatch.setattr(LPIPSVGG, "backbone", VGG16._replace(sha256=digest))
    return {name: tensor.clone() for name, tensor in loaded.items()}


@pytest.fixture(scope="module")
def peer(case, loaded):
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision the old way
        layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
        patch.setattr(torchvision.models, "vgg16", lambda **_: SimpleNamespace(features=layers))
        from lpips import LPIPS

        network = LPIPS(net=case.net, pnet_rand=True, verbose=False)
    for name, parameter in network.net.named_parameters():  # slice2.3.weight
        parameter.data.copy_(loaded[f"features.{name.partition('.')[2]}"])
    return network


def forward(network: Any, *images: Pixels) -> float:
    scaled = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for image in images)
    with torch.inference_mode():
        return float(network(*scaled))


def lpips(case: Case, reference: Pixels, decoded: Pixels, device: str = "cpu") -> float:
    return value(case.metric(device), reference, decoded)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize(
    ("case", "height", "width"),
    [
        pytest.param(case, *size, id="-".join(map(str, (case.net, *size))))
        for case in CASES
        for size in ((0, 0), (0, 77), (64, 64), (181, 203))[: 1 if case is VGG else None]
    ],
    indirect=["case"],
)
def test_an_image_gets_the_lpips_packages_value(case, peer, weights, coffee, device, height, width):
    height, width = height or case.min_side_px, width or case.min_side_px  # 0 is the smallest
    source = np.ascontiguousarray(coffee[-height:, -width:])
    decoded = through_jpeg(source, 20)
    expected = forward(peer, source, decoded)
    assert lpips(case, source, decoded, device) == pytest.approx(expected, abs=TOLERANCE)
    kind = torch.float32 if device == "cpu" else torch.float64
    assert {weights.dtype for weights in case.metric(device)._channel_weights} == {kind}


def test_below_a_length_neither_the_package_nor_we_have_a_value(case, peer, weights, coffee):
    small = np.ascontiguousarray(coffee[: case.min_side_px - 1, :80])
    with pytest.raises(RuntimeError, match="too small"):
        forward(peer, small, small)
    with pytest.raises(NotMeasurable, match=f"{case.min_side_px} px .*{case.min_side_px - 1}"):
        case.metric().prepare(small)


@by_tensors
def test_a_checkpoint_counts_like_its_features_alone(case, weights, photo, tmp_path, monkeypatch):
    expected = lpips(case, photo, through_jpeg(photo, 10))
    checkpoint = {"classifier.1.weight": torch.ones(3), **dict(reversed(weights.items()))}
    torch.save(checkpoint, tmp_path / case.checkpoint_file)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    assert lpips(case, photo, through_jpeg(photo, 10)) == expected


def test_one_changed_weight_is_another_network(case, weights, tmp_path, monkeypatch):
    weights[case.last_bias][255] += 1e-3
    torch.save(weights, tmp_path / case.file)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match=case.other_weights):
        case.metric()


def test_a_file_of_something_else_is_unavailable_and_is_not_run(case, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    file, trap = tmp_path / case.file, tmp_path / "trap"
    names = case.metric.backbone.tensor_keys
    tensors, listed, counted = BytesIO(), BytesIO(), BytesIO()
    torch.save({"features.0.weight": torch.zeros(3)}, tensors)
    torch.save([1, 2, 3], listed)
    torch.save(dict.fromkeys(names, 1), counted)
    contents = [b"", b"text", tensors.getvalue(), tensors.getvalue()[:-40], listed.getvalue()]
    contents += [counted.getvalue(), pickle.dumps({names[0]: MakesFolder(trap)}, protocol=2)]
    unreadable = case.other_weights if case is VGG else UNREADABLE  # VGG's is not opened for it
    for content in contents:
        file.write_bytes(content)
        with pytest.raises(Unavailable, match=unreadable):
            case.metric()
    assert not trap.exists()
    torch.save({name: torch.zeros(4) for name in names}, file)
    with pytest.raises(Unavailable, match=case.other_weights):
        case.metric()
    file.unlink()
    file.mkdir()
    with pytest.raises(Unavailable, match=UNREADABLE):
        case.metric()


def test_another_release_of_lpips_or_none_is_refused(case, tmp_path, monkeypatch):
    (tmp_path / case.file).write_bytes(b"")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    release = SimpleNamespace(version="0.1.5")
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: release)
    with pytest.raises(Unavailable, match=r"lpips 0\.1\.4, .*0\.1\.5"):
        case.metric()
    monkeypatch.setattr("importlib.metadata.distribution", Mock(side_effect=PackageNotFoundError))
    with pytest.raises(Unavailable, match="'lpips'"):
        case.metric()


@pytest.mark.parametrize("case", [ALEX, VGG], indirect=True, ids=["alex", "vgg"])
def test_missing_weights_are_noticed_before_torch_is_imported(case, tmp_path):
    program = f"""
import sys
from benchmark.errors import Unavailable
from benchmark.metrics.deep_features import {case.metric.__name__}
try:
    {case.metric.__name__}()
except Unavailable as reason:
    print("torch" in sys.modules, reason)
"""
    output = in_new_python(program, TORCH_HOME=str(tmp_path), BENCH_WEIGHTS="")
    assert output.startswith("False ")
    assert case.file in output
    assert case.checkpoint_file in output


@pytest.mark.parametrize("channels", [3, 64, 131])
def test_a_distance_in_c_and_in_torch_is_that_of_unit_vectors(channels, monkeypatch):
    loops = module.loops or pytest.skip("loops.c is not compiled")
    generator = torch.Generator().manual_seed(channels)
    first, second = torch.randn((2, 1, channels, 9, 14), generator=generator).clamp_(min=0)
    first[..., 0, 0] = second[..., 0, 1] = 0  # of length 0
    importance = torch.rand((1, channels, 1, 1), generator=generator)
    units = [vectors / (np.sqrt((vectors**2).sum(1, keepdims=True)) + 1e-10)
             for vectors in (first.double().numpy(), second.double().numpy())]  # fmt: skip
    expected = (importance.numpy() * (units[0] - units[1]) ** 2).sum(1).mean()
    for layout in (torch.channels_last, torch.contiguous_format):
        maps = [vectors.clone(memory_format=layout) for vectors in (first, second)]
        assert module._mean_distance(*maps, importance) == pytest.approx(expected, rel=1e-6)
        assert module._mean_distance(maps[0], maps[0].clone(), importance) == 0
    monkeypatch.setattr(module, "loops", None)
    in_torch = module._mean_distance(first.clone(), second.clone(), importance)
    assert in_torch == pytest.approx(expected, rel=1e-6)
    values = first.numpy()
    for wrong in ((values, values[..., :-1], values[0, :, 0, 0]), (values, values, values[:0])):
        with pytest.raises(ValueError, match="differ"):
            loops.unlikeness(*map(np.ascontiguousarray, wrong))
