"""Other systems, processors, Pythons and versions: what is installed there, and types."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from support.checkout import ROOT
from tools.pip_settings import settings

LOCK = ROOT / "platforms.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MACHINES = {  # as uv and as Python name them
    "x86_64-manylinux_2_34": ("linux", "x86_64"),
    "aarch64-manylinux_2_34": ("linux", "aarch64"),
    "aarch64-apple-darwin": ("darwin", "arm64"),
    "x86_64-apple-darwin": ("darwin", "x86_64"),
    "x86_64-pc-windows-msvc": ("win32", "AMD64"),
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
NO_TORCH = "x86_64-apple-darwin"  # since torch 2.3
UV = Path(sys.executable).with_name("uv")


def locked(machine: str, python: str) -> dict[str, str]:
    """Return the versions that the lock has for a machine."""
    system, processor = MACHINES[machine]
    environment = {
        "sys_platform": system,
        "platform_machine": processor,
        "python_version": python,
        "python_full_version": f"{python}.9",
        "implementation_name": "cpython",
    }
    lines = re.findall(r"^([\w.-]+)==(\S+)(?: ; (.*))?$", LOCK.read_text(), re.MULTILINE)
    return {
        name: version
        for name, version, when in lines
        if not when or Marker(when).evaluate(environment)
    }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_lock_has_what_is_asked_for_on_each_machine(machine, python):
    extras = PROJECT["optional-dependencies"]
    requirements = (
        PROJECT["dependencies"] + extras["formats"] + extras["neural"] + extras["compressai"]
    )
    system, processor = MACHINES[machine]
    environment = {"sys_platform": system, "platform_machine": processor, "python_version": python}
    pins = locked(machine, python)
    for requirement in map(Requirement, requirements):
        if requirement.name != "rdrbench" and (
            requirement.marker is None or requirement.marker.evaluate(environment)
        ):
            assert pins[requirement.name] in requirement.specifier, requirement


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("machine", "extra"),
    [
        *((machine, "core") for machine in MACHINES),
        *((m, "all") for m in MACHINES if m != NO_TORCH),
    ],
)
def test_wheels_of_the_locked_versions_are_published(machine, python, extra):
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, check=True, capture_output=True, text=True)
    command = [
        *(UV, "pip", "compile", "pyproject.toml", "--constraint", LOCK, "--quiet", "--no-header"),
        *("--python-version", python, "--python-platform", machine, "--no-annotate"),
        *("--only-binary", ":all:", "--no-binary", "pyvips"),
        *("--index-strategy", "unsafe-best-match"),
    ]
    result = subprocess.run(
        [*command, *(["--extra", "all"] if extra == "all" else [])],
        env=os.environ
        | settings(listed.stdout.splitlines())
        | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},  # of torch's wheels
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    pins = locked(machine, python)
    for name, version in re.findall(r"^([\w.-]+)==([^\s+]+)", result.stdout, re.MULTILINE):
        assert pins[name] == version


@pytest.mark.slow
@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_types_are_right_on_other_systems(system, tmp_path):
    """The default suite checks them on Linux; early returns make code unreachable elsewhere."""
    options = ["--platform", system, "--no-warn-unreachable", "--cache-dir", tmp_path]
    command = [sys.executable, "-m", "mypy", *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


ALLOWED = [
    dependency
    for dependency in map(Requirement, PROJECT["dependencies"])
    if dependency.name in ("typer", "rich")
]
ENDS = {
    "oldest": [
        f"{dependency.name}=={bound.version}"
        for dependency in ALLOWED for bound in dependency.specifier if bound.operator == ">="
    ],
    "newest": [*map(str, ALLOWED)],
}  # fmt: skip
TESTS = ["tests/commands/test_help.py", "tests/commands/test_mistakes.py"]


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_the_command_line_is_the_same_at_both_ends_of_what_is_allowed(end, tmp_path):
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path)
    if subprocess.run([*install, *ENDS[end]], check=False).returncode:
        pytest.skip("no package index")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
