"""`bench worker setup`: what it installs, and what it says before it does."""

from types import SimpleNamespace

import pytest

from baselines.commands import worker
from benchmark.errors import ProgramFailed


@pytest.fixture
def installed(tmp_path, monkeypatch, capsys):
    """Makes an environment; returns the words of the installation and what was printed."""

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
def test_without_a_gpu_torch_is_that_for_the_processor_and_sizes_are_said(
    installed, with_uv, words
):
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


def test_a_python_that_cannot_be_had_names_the_way_out(tmp_path, monkeypatch):
    def fail(words, **options):
        raise ProgramFailed("uv ended with exit code 2")

    monkeypatch.setattr(worker, "run_program", fail)
    words = {"folder": tmp_path, "python": ".venv/bin/python", "python_version": "3.5"}
    with pytest.raises(ProgramFailed, match=r"Python 3\.5 .* to the path of a Python"):
        worker._make_environment(SimpleNamespace(**words, packages=("x",), file="a.toml"))


@pytest.mark.parametrize("package", ["torchac", "open-clip-torch==2.22.0", "numpy"])
def test_packages_without_torch_are_taken_as_they_are(installed, package):
    command, message = installed([package], (), True)
    assert (command[-1], "--torch-backend" in command) == (package, False)
    assert message.endswith(".venv\n")
