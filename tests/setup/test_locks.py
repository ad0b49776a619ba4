"""The locks: versions, hashes, and everything that the project needs."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement

from support.checkout import EXTRA_LOCKS, LOCKS, ROOT, pins

NAMES = {"ray": "Ray", "docs": "mkdocs"}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_versions_and_hashes_and_no_addresses(lock):
    text = re.sub(r"^\s*#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    requirements = text.replace("\\\n", " ").splitlines()
    assert requirements
    for line in requirements:
        assert re.fullmatch(r"[a-z0-9._-]+==\S+(\s+--hash=sha256:[0-9a-f]{64})+\s*", line)


def test_every_dependency_is_locked_at_a_version_that_it_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    requirements = project["project"]["dependencies"] + [
        text for extra in ("formats", "neural", "compressai", "dev") for text in extras[extra]
    ]
    locked = pins("requirements.lock")
    for requirement in map(Requirement, [*requirements, *project["build-system"]["requires"]]):
        if requirement.name == "rdrbench":  # an extra that another one includes
            continue
        if requirement.marker and not requirement.marker.evaluate({"python_version": "3.11"}):
            continue
        assert locked[requirement.name] in requirement.specifier, requirement


@pytest.mark.parametrize(("extra", "package"), [("ray", "ray"), ("docs", "mkdocs-material")])
def test_an_extra_finds_what_it_needs_in_two_locks_together_and_nothing_is_pinned_twice(
    extra, package
):
    """Its requirements as its wheel states them, without those of its own extras."""
    extra_pins = pins(f"requirements-{extra}.lock")
    assert not set(extra_pins) & set(pins("requirements.lock"))
    together = extra_pins | pins("requirements.lock")
    try:
        installed_package = distribution(package)
    except PackageNotFoundError:
        pytest.skip(f"{NAMES[extra]} is not installed")
    assert installed_package.version == extra_pins[package]
    for requirement in map(Requirement, installed_package.requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            assert together[requirement.name.lower()] in requirement.specifier, requirement


def test_extras_that_are_installed_together_agree():
    ray, docs = map(pins, EXTRA_LOCKS)
    assert {name: ray[name] for name in ray.keys() & docs} == {
        name: docs[name] for name in ray.keys() & docs
    }


def test_torch_and_torchvision_for_the_cpu_are_the_locked_ones():
    locked = pins("requirements.lock")
    assert pins("requirements-cpu.lock") == {
        name: f"{locked[name]}+cpu" for name in ("torch", "torchvision")
    }
