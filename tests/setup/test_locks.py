"""The locks, with everything that the project needs, and a release, with one version everywhere."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement

from support.checkout import EXTRA_LOCKS, LOCKS, ROOT, pins

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_versions_and_hashes_and_no_addresses(lock):
    text = re.sub(r"^\s*#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    requirements = text.replace("\\\n", " ").splitlines()
    assert requirements
    for line in requirements:
        assert re.fullmatch(r"[a-z0-9._-]+==\S+(\s+--hash=sha256:[0-9a-f]{64})+\s*", line)


def test_every_dependency_is_locked_at_a_version_that_it_allows():
    extras = PROJECT["project"]["optional-dependencies"]
    names = ("formats", "neural", "compressai", "dev")
    requirements = [*PROJECT["project"]["dependencies"], *(t for n in names for t in extras[n])]
    locked = pins("requirements.lock")
    for requirement in map(Requirement, [*requirements, *PROJECT["build-system"]["requires"]]):
        if requirement.name == "rdrbench":  # an extra that another one includes
            continue
        if requirement.marker and not requirement.marker.evaluate({"python_version": "3.11"}):
            continue
        assert locked[requirement.name] in requirement.specifier, requirement


@pytest.mark.parametrize(("extra", "package"), [("ray", "ray"), ("docs", "mkdocs-material")])
def test_an_extra_finds_what_it_needs_in_two_locks_and_none_pins_twice(extra, package):
    """Its requirements as its wheel states them, without those of its own extras."""
    extra_pins = pins(f"requirements-{extra}.lock")
    assert not set(extra_pins) & set(pins("requirements.lock"))
    together = extra_pins | pins("requirements.lock")
    try:
        installed_package = distribution(package)
    except PackageNotFoundError:
        pytest.skip(f"{ {'ray': 'Ray', 'docs': 'mkdocs'}[extra] } is not installed")
    assert installed_package.version == extra_pins[package]
    for requirement in map(Requirement, installed_package.requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            assert together[requirement.name.lower()] in requirement.specifier, requirement


def test_extras_that_are_installed_together_agree():
    ray, docs = map(pins, EXTRA_LOCKS)
    shared_names = ray.keys() & docs
    assert {name: ray[name] for name in shared_names} == {name: docs[name] for name in shared_names}


def test_torch_and_torchvision_for_the_cpu_are_the_locked_ones():
    locked = pins("requirements.lock")
    expected = {name: f"{locked[name]}+cpu" for name in ("torch", "torchvision")}
    assert pins("requirements-cpu.lock") == expected


def test_changelog_and_citation_have_the_version_and_its_day():
    version, text = PROJECT["project"]["version"], (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## (\d+\.\d+\.\d+), (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    days = [day for _, day in sections]
    assert sections[0][0] == version
    assert days == sorted(days, reverse=True)
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {version}\n" in citation
    assert f"\ndate-released: {days[0]}\n" in citation
    latest = next(part for part in text.split("\n## ") if part.startswith(version))
    for line in re.findall(r"^- .*(?:\n  .*)*", latest, re.MULTILINE):
        assert line.count("\n") <= 1, line
