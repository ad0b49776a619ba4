"""MUSIQ, CLIP-IQA and MANIQA: a reason without pyiqa, and pyiqa's own values with it."""

import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.no_reference import CLIPIQA, MANIQA, MUSIQ, VERSION
from benchmark.system.digest import file_sha256
from benchmark.system.settings import NETWORKS

ALL = pytest.mark.parametrize("metric", [MUSIQ, CLIPIQA, MANIQA])


def pretend_pyiqa(monkeypatch, version=VERSION):
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    monkeypatch.setitem(sys.modules, "pyiqa", None)


@ALL
def test_what_is_absent_or_another_is_unavailable_with_what_helps(metric, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.metadata.version", Mock(side_effect=PackageNotFoundError))
    with pytest.raises(Unavailable, match=rf"{metric.label} .*pyiqa==0\.1\.16"):
        metric()
    pretend_pyiqa(monkeypatch, "0.1.10")
    with pytest.raises(Unavailable, match=r"0\.1\.16.*0\.1\.10"):
        metric()
    pretend_pyiqa(monkeypatch)
    with pytest.raises(Unavailable, match=f"fetch {metric.column}"):
        metric()
    (file,) = NETWORKS[metric.column]
    assert file.name == metric.file
    assert file.sha256[:8] in metric.protocol
    (tmp_path / metric.file).write_bytes(b"other weights")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match=file.sha256[:8]):
        metric()


@ALL
def test_an_image_under_32_pixels_is_refused_before_the_network_sees_it(metric):
    unopened = metric.__new__(metric)
    assert unopened.prepare(np.zeros((32, 40, 3), np.uint8)) == (32, 40, 3)
    with pytest.raises(NotMeasurable, match=r"32 px .* 31$"):
        unopened.prepare(np.zeros((31, 40, 3), np.uint8))
    unopened._device, unopened._network = "cpu", lambda unit: unit.amax()
    assert unopened.compare((32, 40, 3), np.full((32, 40, 3), 51, np.uint8)) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="shapes"):
        unopened.compare((32, 40, 3), np.zeros((32, 41, 3), np.uint8))


def test_a_package_that_pyiqa_misses_is_named(monkeypatch, tmp_path):
    pretend_pyiqa(monkeypatch)
    path = tmp_path / CLIPIQA.file
    path.write_bytes(b"any")
    monkeypatch.setattr(CLIPIQA, "sha256", file_sha256(path))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match=r"CLIP-IQA .*: import of pyiqa"):
        CLIPIQA()


@ALL
def test_pyiqas_network_gets_the_files_weights_and_none_of_timms(metric, monkeypatch, tmp_path):
    import torch

    create_model, state = Mock(), {}
    timm = SimpleNamespace(create_model=create_model)
    network = Mock(side_effect=torch.mean)
    network.net.load_state_dict = state.update

    def create(name, **options):
        timm.create_model("backbone", pretrained=True, depth=4)
        return network

    create_metric = Mock(side_effect=create)
    monkeypatch.setattr("importlib.metadata.version", lambda name: VERSION)
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "pyiqa", SimpleNamespace(create_metric=create_metric))
    path = tmp_path / metric.file
    torch.save({"module.one": torch.ones(1), "two": torch.ones(2)}, path)
    monkeypatch.setattr(metric, "sha256", file_sha256(path))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    result = metric("cpu")
    pixels = np.full((40, 32, 3), 51, np.uint8)
    assert result.compare(result.prepare(pixels), pixels) == pytest.approx(0.2)
    if metric is CLIPIQA:
        create_model.assert_called_once_with("backbone", pretrained=True, depth=4)
        create_metric.assert_called_once_with("clipiqa", device="cpu", backbone=str(path))
    else:
        create_model.assert_called_once_with("backbone", pretrained=False, depth=4)
        create_metric.assert_called_once_with(metric.column, device="cpu", pretrained=False)
        assert {key: len(tensor) for key, tensor in state.items()} == {"one": 1, "two": 2}
    assert timm.create_model is create_model
    result._network = Mock(side_effect=torch.OutOfMemoryError("no memory"))
    with pytest.raises(NotMeasurable, match=f"{metric.label} .*memory"):
        result.compare(pixels.shape, pixels)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of pyiqa's many dependencies
def test_musiq_of_drawn_weights_is_pyiqas(monkeypatch, tmp_path, coffee):
    if find_spec("pyiqa") is None:
        pytest.skip("pyiqa is not installed")
    import torch
    from pyiqa import create_metric

    theirs = create_metric("musiq", device="cpu", pretrained=False)
    path = tmp_path / MUSIQ.file
    torch.save(theirs.net.state_dict(), path)
    monkeypatch.setattr(MUSIQ, "sha256", file_sha256(path))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    metric = MUSIQ()
    unit = torch.from_numpy(coffee.copy()).permute(2, 0, 1)[None] / 255
    result = metric.compare(metric.prepare(coffee), coffee)
    assert result == pytest.approx(float(theirs(unit)), rel=1e-5)
