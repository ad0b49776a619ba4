"""Other systems, processors, Pythons and versions: what is installed, from where, and types."""

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
from support.processes import ran
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
UV = Path(sys.executable).with_name("uv")


def locked(machine: str, python: str) -> dict[str, str]:
    """Return the versions that the lock has for a machine."""
    system, processor = MACHINES[machine]
    environment = {
        "sys_platform": system, "platform_machine": processor, "python_version": python,
        "python_full_version": f"{python}.9", "implementation_name": "cpython",
    }  # fmt: skip
    lines = re.findall(r"^([\w.-]+)==(\S+)(?: ; (.*))?$", LOCK.read_text(), re.MULTILINE)
    here = [line for line in lines if not line[2] or Marker(line[2]).evaluate(environment)]
    return {name: version for name, version, _ in here}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_lock_has_what_is_asked_for_on_each_machine(machine, python):
    extras = PROJECT["optional-dependencies"]
    extra_lines = extras["formats"] + extras["neural"] + extras["compressai"]
    requirements = PROJECT["dependencies"] + extra_lines
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
@pytest.mark.parametrize(("machine", "extra"), [
    *((machine, "core") for machine in MACHINES),
    *((m, "all") for m in MACHINES if m != "x86_64-apple-darwin"),  # no torch since 2.3
])  # fmt: skip
def test_wheels_of_the_locked_versions_are_published(machine, python, extra):
    listed = ran(sys.executable, "-m", "pip", "config", "list")
    command = [
        *(UV, "pip", "compile", "pyproject.toml", "--constraint", LOCK, "--quiet", "--no-header"),
        *("--python-version", python, "--python-platform", machine, "--no-annotate"),
        *("--only-binary", ":all:", "--no-binary", "pyvips"),
        *("--index-strategy", "unsafe-best-match"),
    ]
    command += ["--extra", "all"] if extra == "all" else []
    # The deployment target is that of torch's wheels.
    variables = settings(listed.stdout.splitlines()) | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    result = ran(*command, folder=ROOT, **variables)
    assert result.returncode == 0, result.stderr
    pins = locked(machine, python)
    for name, version in re.findall(r"^([\w.-]+)==([^\s+]+)", result.stdout, re.MULTILINE):
        assert pins[name] == version


@pytest.mark.slow
@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_types_are_right_on_other_systems(system, tmp_path):
    """The default suite checks them on Linux; early returns make code unreachable elsewhere."""
    options = ["--platform", system, "--no-warn-unreachable", "--cache-dir", tmp_path]
    result = ran(sys.executable, "-m", "mypy", *options, folder=ROOT)
    assert result.returncode == 0, result.stdout


def test_uv_looks_where_pip_is_configured_to_look(tmp_path):
    """As pip itself reads its files and variables; what uv is told already stays."""
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://a/simple\nfind-links =\n  /one\n  /two\ntimeout = 7\n"
        "[install]\nextra-index-url = https://b/simple https://c/simple\n"
        "[download]\nindex-url = https://d/simple\n"
    )
    variables = {k: value for k, value in os.environ.items() if k[:3] not in ("PIP", "UV_")}
    variables |= {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_TRUSTED_HOST": "b"}
    command, env = [sys.executable, ROOT / "tools" / "pip_settings.py"], {"UV_HTTP_TIMEOUT": "9"}
    env |= variables  # nothing else of pip's or uv's
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert "UV_DEFAULT_INDEX=https://a/simple" in lines
    assert "UV_INDEX=https://b/simple https://c/simple" in lines
    assert "UV_FIND_LINKS=/one,/two" in lines
    assert "UV_INSECURE_HOST=b" in lines
    assert not any(line.startswith("UV_HTTP_TIMEOUT") for line in lines)


@pytest.mark.parametrize("order", [1, -1])
def test_a_variable_of_pip_replaces_what_its_files_say(order):
    listed = [":env:.index-url='https://v'", "global.index-url='https://g'"][::order]
    assert settings(listed) == {"UV_DEFAULT_INDEX": "https://v"}


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


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_the_command_line_is_the_same_at_both_ends_of_what_is_allowed(end, tmp_path):
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path)
    if ran(*install, *ENDS[end]).returncode:
        pytest.skip("no package index")
    tests = ["tests/commands/test_help.py", "tests/commands/test_mistakes.py"]
    words = (sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests)
    result = ran(*words, folder=ROOT, PYTHONPATH=tmp_path)
    assert result.returncode == 0, result.stdout
