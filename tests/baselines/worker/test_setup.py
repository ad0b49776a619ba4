"""`bench worker setup`: what it installs and prints."""

from types import SimpleNamespace

import pytest

from baselines.commands import worker
from benchmark.errors import ProgramFailed


@pytest.fixture
def installed(tmp_path, monkeypatch, capsys):
    """Make an environment; return the installation's command and what was printed."""

    def make(packages, gpus, with_uv):
        commands = []
        monkeypatch.setattr(worker, "run_program", lambda words, **_: commands.append([*words]))
        monkeypatch.setattr(worker, "gpus", lambda: gpus)
        monkeypatch.setattr(worker, "find_spec", lambda name: with_uv or None)
        monkeypatch.setattr(worker, "which", lambda name: None)
        fields = {"folder": tmp_path, "python": ".venv/bin/python", "python_version": ""}
        worker._make_environment(
            SimpleNamespace(**fields, packages=packages, file=tmp_path / "a.toml")
        )
        return commands[-1], capsys.readouterr().out

    return make


@pytest.mark.parametrize(("with_uv", "words"), [
    (True, ["--torch-backend", "cpu"]),
    (False, ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]),
])  # fmt: skip
def test_without_a_gpu_torch_is_the_cpu_version_and_sizes_are_printed(installed, with_uv, words):
    packages = ["torch==2.6.0", "numpy"]
    command, message = installed(packages, (), with_uv)
    assert command[-4:] == [*words, *packages]
    assert message.endswith(".venv: about 1 GB, torch for the CPU\n")
    command, message = installed(packages, ("GPU-a",), with_uv)
    assert not {*words} & {*command}
    assert message.endswith(".venv: about 6 GB\n")


def test_a_list_of_requirements_may_be_one_entry(installed):
    command, _ = installed(["-r requirements.txt", "-c a.txt", "x y"], (), True)
    assert command[-5:] == ["-r", "requirements.txt", "-c", "a.txt", "x y"]


def test_an_unavailable_python_is_named_with_a_remedy(tmp_path, monkeypatch):
    def fail(words, **options):
        raise ProgramFailed("uv ended with exit code 2")

    monkeypatch.setattr(worker, "run_program", fail)
    words = {"folder": tmp_path, "python": ".venv/bin/python", "python_version": "3.5"}
    with pytest.raises(ProgramFailed, match=r"Python 3\.5 .*python_version in a\.toml"):
        worker._make_environment(SimpleNamespace(**words, packages=("x",), file="a.toml"))


@pytest.mark.parametrize("package", ["torchac", "open-clip-torch==2.22.0", "numpy"])
def test_packages_without_torch_are_taken_as_they_are(installed, package):
    command, message = installed([package], (), True)
    assert (command[-1], "--torch-backend" in command) == (package, False)
    assert message.endswith(".venv\n")
