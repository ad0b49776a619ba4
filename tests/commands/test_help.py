"""Help is complete, grouped and correct: panels, examples, versions, completion."""

import os
import shlex
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import pytest

from benchmark.cli import NAMES, VERBS
from benchmark.option import PANELS
from support.bench.command import bench
from support.bench.verbs import every_command, every_verb

COMMANDS_OF_HELP = dict(every_command())
# Options whose meaning depends on the verb.
SEVERAL_MEANINGS = {
    "--against", "--at", "--beta", "--bpp", "--checkpoint", "--codec", "--codecs", "--common",
    "--data-dir", "--dataset", "--images", "--metrics", "--mix-protocols", "--out", "--points",
    "--published", "--results", "--seed", "--to", "--up-to-bpp",
}  # fmt: skip


def options_of(command):
    options = (param for param in command.params if param.param_type_name == "option")
    return [option for option in options if not option.hidden]


def examples_of(command):
    _, heading, text = (command.epilog or "").partition("Examples:\n")
    return [line.strip() for line in text.splitlines()] if heading else []


@pytest.mark.parametrize("path", COMMANDS_OF_HELP)
def test_help_of_80_columns_cuts_nothing_and_has_an_example(path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result, command = bench(*path.split(), "-h"), COMMANDS_OF_HELP[path]
    assert result.returncode == 0, result.stderr
    assert f"Usage: bench {path}".rstrip() in result.stdout
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]
    words = " ".join(result.stdout.replace("│", " ").split())
    for option in options_of(command):
        assert all(f" {name} " in words for name in option.opts)
        default = option.default if isinstance(option.default, str | int | float | Path) else None
        if default not in (None, "", True, False):
            assert f"[default: {default}]" in words
    for example in examples_of(command):
        assert f"   {example} " in result.stdout, "an example is one line"
    assert not path or any(sample.startswith(f"bench {path}") for sample in examples_of(command))


@pytest.mark.parametrize(("path", "text"), [
    ("figures rd", "[labels]"), ("review", "ANCHOR [in METRIC]"),
    ("doctor", "bench doctor [OPTIONS] [RESULTS]"),
])  # fmt: skip
def test_help_shows_what_is_in_brackets(path, text):
    assert text in " ".join(bench(*path.split(), "-h").stdout.replace("│", " ").split())


def test_short_and_long_help_are_the_same():
    for words in ((), ("run",), ("pack", "export")):
        assert bench(*words, "-h").stdout == bench(*words, "--help").stdout != ""


def test_verbs_are_in_panels_in_the_order_of_their_use():
    output = bench("--help").stdout
    for marks in ([f"─ {panel} ─" for panel in VERBS], [f"│ {name} " for name in NAMES]):
        places = [output.index(mark) for mark in marks]
        assert places == sorted(places)


def test_every_option_is_in_a_panel_and_has_one_help_text():
    texts = {}
    for path, command in every_verb():
        panels = [option.rich_help_panel for option in options_of(command)]
        assert set(panels) <= set(PANELS), path
        assert panels == sorted(panels, key=PANELS.index), path
        for option in options_of(command):
            texts.setdefault(option.opts[0], set()).add(option.help)
    assert {name for name, wordings in texts.items() if len(wordings) > 1} <= SEVERAL_MEANINGS


def test_every_example_parses():
    verbs = dict(every_verb())
    for example in chain.from_iterable(map(examples_of, COMMANDS_OF_HELP.values())):
        words = shlex.split(example)[1:]
        verb = max((name for name in verbs if example[6:].startswith(name)), key=len)
        with verbs[verb].make_context(f"bench {verb}", words[len(verb.split()) :]) as context:
            assert context.params, example


def test_version_is_that_of_run_records():
    from benchmark.rows.codecs import run_record

    record = run_record([])
    output = bench("--version").stdout
    assert output == f"rdrbench {record['packages']['rdrbench']}, commit {record['commit']}\n"


def complete(*words):
    variables = {"COMP_WORDS": "\n".join(["bench", *words]), "COMP_CWORD": str(len(words))}
    with patch.dict(os.environ, {"_BENCH_COMPLETE": "complete_bash", **variables}):
        result = bench()
    assert result.stderr == ""
    return result.stdout.split()


def test_a_shell_completes_verbs_and_options():
    assert complete("re") == ["rescore", "report", "review"]
    assert complete("pack", "im") == ["import"]
    assert "--codecs" in complete("run", "--co")
    assert "--install-completion" in bench("--help").stdout
