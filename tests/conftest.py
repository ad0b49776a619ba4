"""Photographs for the tests, and caches of its own for each test, so that none sees another's."""

import os
import random
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from benchmark.codec import Pixels
from benchmark.system import settings as system_settings
from benchmark.system.machine import package_folder
from support.page.opened import CHROMIUM

# Read when torch is imported. On a busy machine the threads of OpenMP wait for each other by
# spinning, which has made tests of a second take minutes; some set two threads by themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Hundreds of processes import the project, and pytest rewrites each test: all is compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Every run tries the same examples, however long one takes; fuzzers (tests/faults) try others.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

ROOT = Path(__file__).parents[1]
NO_COMPRESSAI = re.compile("Python package '?compressai|No module named 'compressai")
# What a machine may lack, and what a run of the tests may be told to do without.
WITHOUT = os.environ.get("TESTS_WITHOUT", "").split(",")
# Photographs, weights and golden values beside the checkout.
SHARED = ROOT.parent / ("shared" if "shared" not in WITHOUT else "not-here")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes test together: three for two cores, since tests also wait."""
    return (3 * len(os.sched_getaffinity(0)) + 1) // 2


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Skip what fails since CompressAI is not installed: it has no wheels for Python 3.13."""
    error = call.excinfo.value if call.excinfo and find_spec("compressai") is None else None
    while error is not None and not NO_COMPRESSAI.search(str(error)):
        error = error.__cause__ or error.__context__
    if error is not None:
        call.excinfo = pytest.CallInfo.from_call(_skip_without_compressai, call.when).excinfo


def _skip_without_compressai() -> None:
    pytest.skip("needs the Python package compressai")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return the only browser of this process: playwright cannot start a second one beside it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        if "browser" in WITHOUT or not (CHROMIUM or own.exists()):
            pytest.skip("no Chromium or Chrome")
        # Colours as they are, whatever the screen; the sandbox of a container has no namespaces.
        arguments = ["--no-sandbox", "--force-color-profile=srgb"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def cache_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return paths of folders, one after another.

    pytest numbers those that it makes by listing all that are there: time that grows with the
    square of the number of tests (docs/experiments).
    """
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def own_environment(cache_folders: Iterator[Path]) -> Iterator[None]:
    """Keep tests from the caches, weights and datasets of the user, and from each other's options.

    Options such as --weights-dir are settings of the present context. Tests of a process share
    digests of files: those of all bundled networks take seconds.
    """
    cache = next(cache_folders)
    (cache / "rdrbench").mkdir(parents=True)
    (cache / "rdrbench" / "digests.sqlite").symlink_to(cache.parent / "digests.sqlite")
    with patch.dict(os.environ, {"XDG_CACHE_HOME": str(cache)}):
        for variable in ("BENCH_WEIGHTS", "BENCH_DATA", "TORCH_HOME"):
            os.environ.pop(variable, None)
        before = system_settings._CURRENT.set(None)
        yield
        system_settings._CURRENT.reset(before)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Let no test depend on what those before it in its process have drawn."""
    random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def coffee() -> Pixels:
    """A lossless photograph of 400 x 600 pixels."""
    with Image.open(package_folder("skimage") / "data" / "coffee.png") as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="session")
def photo(coffee: Pixels) -> Pixels:
    """A crop of `coffee` with odd sides: 181 x 203 pixels."""
    return np.ascontiguousarray(coffee[100:281, 200:403])
