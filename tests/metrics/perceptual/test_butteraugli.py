"""Butteraugli: what is handed to the program, what is read from it, and which one is refused."""

import hashlib
import os
import sys

import numpy as np
import pytest

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics import jpeg_xl as module
from benchmark.metrics.jpeg_xl import Butteraugli, find_butteraugli, reference_pair
from benchmark.system.programs import find_program

# Stands in for butteraugli_main: its 3-norm is a sum that only both images give.
PROGRAM = """#!{python}
import sys
from PIL import Image
import numpy as np
assert sys.argv[1].endswith(".ppm")
one, other = (np.asarray(Image.open(path), float) for path in sys.argv[1:])
value = {factor} * (np.arange(one.size) % 7 + 1) @ np.abs(one - 2 * other).ravel() / one.size
print("12.5\\n3-norm: %.6f" % value)
"""


@pytest.fixture(autouse=True)
def _asked_anew():
    find_butteraugli.cache_clear()
    yield
    find_butteraugli.cache_clear()


def value_of(reference, decoded):
    weights = np.arange(reference.size) % 7 + 1
    return weights @ np.abs(reference.astype(float) - 2.0 * decoded).ravel() / reference.size


@pytest.fixture
def install(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / module.PROGRAM
        path.write_text(text)
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return path

    return write


def test_both_images_reach_the_program_whose_3_norm_is_the_value(install, monkeypatch, coffee):
    install(PROGRAM.format(python=sys.executable, factor=1))
    monkeypatch.setattr(module, "EXPECTED_VALUE", value_of(*reference_pair()))
    metric, decoded = Butteraugli(), np.ascontiguousarray(coffee[:, ::-1])
    result = metric.compare(metric.prepare(coffee), decoded)
    assert result == pytest.approx(value_of(coffee, decoded), abs=1e-6)


def test_the_pair_is_that_of_which_libjxl_gave_the_value():
    pair = reference_pair()
    assert [image.shape for image in pair] == [(48, 64, 3)] * 2
    digest = hashlib.sha256(b"".join(image.tobytes() for image in pair)).hexdigest()
    assert digest[:16] == "4ab3715056b81af4"


def test_a_program_may_differ_by_the_tolerance_and_no_more(install, monkeypatch):
    monkeypatch.setattr(module, "EXPECTED_VALUE", 2.0)
    monkeypatch.setattr(module, "TOLERANCE", 0.25)
    path = install("#!/bin/sh\necho '3-norm: 2.5'\n")
    assert find_butteraugli() == path
    find_butteraugli.cache_clear()
    install("#!/bin/sh\necho '3-norm: 2.500001'\n")
    with pytest.raises(Unavailable, match="version"):
        find_butteraugli()


def test_a_program_that_fails_or_is_silent_is_a_sentence(install, monkeypatch, coffee, tmp_path):
    path = install(PROGRAM.format(python=sys.executable, factor=1))
    monkeypatch.setattr(module, "EXPECTED_VALUE", value_of(*reference_pair()))
    metric = Butteraugli()
    with pytest.raises(NotMeasurable, match=" 8 px"):
        metric.prepare(np.zeros((7, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="shapes"):
        metric.compare(metric.prepare(np.zeros((8, 9, 3), np.uint8)), coffee)
    path.write_text("#!/bin/sh\necho bad image >&2; exit 3\n")
    with pytest.raises(NotMeasurable, match=r"code 3; .*: bad image"):
        metric.compare(metric.prepare(coffee), coffee)
    path.write_text("#!/bin/sh\necho 12.5\n")
    with pytest.raises(NotMeasurable, match="3-norm"):
        metric.compare(metric.prepare(coffee), coffee)
    find_butteraugli.cache_clear()
    with pytest.raises(Unavailable, match="butteraugli_main"):
        Butteraugli()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(Unavailable, match=r"PATH: .*libjxl's tools"):
        Butteraugli()


def test_libjxl_gives_the_value_of_its_release(coffee, photo):
    """butteraugli_main of libjxl 0.7.0 (Debian 0.7.0-10+deb12u1), from PNG files."""
    try:
        find_program(module.PROGRAM, "")
    except Unavailable:
        pytest.skip("butteraugli_main is not on the PATH")
    metric = Butteraugli()
    for source, expected in ((coffee, 3.344335), (photo, 3.249279)):
        decoded = np.minimum(source // 24 * 24 + 12, 255).astype(np.uint8)
        assert metric.compare(metric.prepare(source), decoded) == pytest.approx(expected, rel=1e-3)
