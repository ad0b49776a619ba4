"""The command line: contenders' sub-commands come as text, and earlier spellings still work."""

import subprocess
import sys

import pytest
import typer

from benchmark.cli import RENAMED, app, with_new_names
from benchmark.commands.verb import SPELLINGS
from benchmark.registry import COMMANDS
from support.bench.verbs import every_verb


def bench(*words):
    command = [sys.executable, "-m", "benchmark", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def words_of(command):
    """Options and sub-commands of a command and of its sub-commands."""
    words = {option for parameter in command.params for option in parameter.opts}
    for name, one in getattr(command, "commands", {}).items():
        words |= {name, *words_of(one)}
    return words


def test_help_names_what_contenders_bring_and_imports_none_of_them():
    script = (
        "import sys, atexit; from benchmark.cli import main; sys.argv = ['bench', '--help'];"
        "atexit.register(lambda: print(sorted(m for m in sys.modules if m[:9] == 'baselines')));"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    for name in COMMANDS:
        assert f" {name} " in done.stdout
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("loading", ["benchmark.cli", "benchmark.commands.exchange"])
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
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "bench: interrupted\n")


def test_an_earlier_spelling_is_said_once_and_taken_as_the_present_one(capsys):
    assert with_new_names(["run", "--attest", "--jobs", "2"]) == ["run", "--verify", "--jobs", "2"]
    assert capsys.readouterr().err == "bench: --attest is now called --verify\n"
    assert with_new_names(["audit", "ceiling"]) == ["audit", "colour-round-trip"]
    assert with_new_names(["report", "--attested-only"]) == ["report", "--verified-only"]
    capsys.readouterr()
    assert with_new_names(["plan", "--attest"]) == ["plan", "--attest"], "no option of that command"
    assert with_new_names([]) == []
    assert capsys.readouterr().err == ""


def test_every_earlier_spelling_leads_to_one_that_is_there():
    commands = typer.main.get_group(app).commands
    for name, spellings in RENAMED.items():
        assert set(spellings.values()) <= words_of(commands[name])
        assert not spellings.keys() & words_of(commands[name])


def test_singular_and_plural_of_an_option_are_the_same():
    for path, command in every_verb():
        options = {name for parameter in command.params for name in parameter.opts}
        for known, other in (*SPELLINGS, *(pair[::-1] for pair in SPELLINGS)):
            if known in options and other not in options:
                given = parsed(command, path, known, "sample")
                assert given == parsed(command, path, other, "sample"), path
                assert given == parsed(command, path, f"{other}=sample"), path


def parsed(command, path, *words):
    """Values of a verb's options after these words; arguments and required options may lack."""
    with command.make_context(f"bench {path}", list(words), resilient_parsing=True) as context:
        assert "sample" in str(context.params)
        return context.params


def test_words_after_two_dashes_are_no_options():
    _, match = next(one for one in every_verb() if one[0] == "match")
    with match.make_context("match", ["--metrics", "ssim", "--", "--metrics", "raw"]) as context:
        given = context.params
    assert (given["metric"], given["codec"], given["against"]) == ("ssim", "--metrics", "raw")


def test_an_earlier_sub_command_runs(tmp_path):
    done = bench("audit", "ceiling", "--codecs", "raw")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "bench: ceiling is now called colour-round-trip",
        "bench: raw has no colour conversion of its own to measure",
    ]
