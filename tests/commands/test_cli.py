"""The command line: sub-commands come as text; Ctrl-C; spellings of options."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import NAMES
from benchmark.commands.verb import SPELLINGS
from conftest import ROOT
from support.bench.verbs import every_verb
from support.processes import ran
from support.quick import quick


def test_help_names_every_verb_and_imports_none_of_them():
    script = (
        "import sys, atexit; from benchmark.cli import main; sys.argv = ['bench', '--help'];"
        "atexit.register(lambda: print(sorted(m for m in sys.modules if m.startswith("
        "('baselines', 'benchmark.commands.')))));"
        "main()"
    )
    result = ran(sys.executable, "-c", script)
    for name in NAMES:
        assert f" {name} " in result.stdout
    modules = [f"benchmark.commands.{name}" for name in ("options", "terminal", "verb")]
    assert result.stdout.endswith(f"\n{modules}\n")


@pytest.mark.parametrize("loading", ["benchmark.cli", "benchmark.commands.inventory"])
def test_ctrl_c_while_the_program_is_loading_is_one_line(loading):
    script = f"""
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {loading!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it is ignored
from benchmark.__main__ import main
sys.meta_path.insert(0, Interrupts())
sys.argv = ["bench", "list"]
main()
"""
    result = ran(sys.executable, "-c", script)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "bench: interrupted\n")


def test_singular_and_plural_of_an_option_are_the_same():
    for path, command in every_verb():
        options = {name for parameter in command.params for name in parameter.opts}
        pairs = [(f"--{name}", f"--{other_spelling}") for name, other_spelling in SPELLINGS.items()]
        for spelling, other_spelling in (*pairs, *(pair[::-1] for pair in pairs)):
            if spelling in options and other_spelling not in options:
                values = parse(command, path, spelling, "sample")
                assert values == parse(command, path, other_spelling, "sample"), path
                assert values == parse(command, path, f"{other_spelling}=sample"), path


def parse(command, path, *words):
    with command.make_context(f"bench {path}", list(words), resilient_parsing=True) as context:
        assert "sample" in str(context.params)
        return context.params


def test_words_after_two_dashes_are_no_options():
    _, match = next(entry for entry in every_verb() if entry[0] == "match")
    with match.make_context("match", ["--metrics", "ssim", "--", "--metrics", "raw"]) as context:
        values = context.params
    assert (values["metric"], values["codec"], values["against"]) == ("ssim", "--metrics", "raw")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", quick(["list", "--version", "--help"], "--version", "--help"))
def test_a_full_disk_behind_standard_output_is_a_sentence(verb):
    command = [sys.executable, "-m", "benchmark", verb]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert re.fullmatch("bench: .*: No space left on device\n", ended.stderr)


def test_a_current_folder_that_is_gone_is_a_sentence(tmp_path):
    lost = tmp_path / "lost"
    lost.mkdir()
    shell = f'rmdir {lost}; exec "{sys.executable}" -P -m benchmark list'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = {"cwd": lost, "env": environment, "text": True, "stderr": subprocess.PIPE}
    result = subprocess.run(["sh", "-c", shell], check=False, **options)
    assert result.returncode == 2
    assert re.fullmatch("bench: .*: cd .*\n", result.stderr)
