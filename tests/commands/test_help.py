"""Help is whole, grouped and true: panels, examples that parse or run, versions, completion."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import VERBS
from benchmark.option import PANELS
from benchmark.registry import COMMANDS
from support.bench.command import bench
from support.bench.verbs import every_command, every_verb

COMMANDS_OF_HELP = every_command()
each_command = pytest.mark.parametrize(
    "path", [path for path, _ in COMMANDS_OF_HELP], ids=lambda path: path or "bench"
)
# Examples that take seconds and need nothing but `sample` and what the project bundles; the others
# are parsed.
RUN = (
    "bench list",
    "bench list --published --json",
    "bench doctor",
    "bench plan --codecs jpeg,avif --dataset sample",
    "bench plan --codecs vtm --dataset clic2020 --nodes 64 --json",
    "bench run --codecs jpeg,webp --dataset sample",
    "bench run --codecs jpeg --points jpeg.quality=10,30 --metrics psnr,ms_ssim",
    "bench rescore --dataset sample --metrics ssim",
    "bench report --dataset sample --metrics psnr,ms_ssim",
    "bench match ours jpeg",
    "bench match vtm avif --metric ms_ssim --tolerance 1% --csv matched.csv",
    "bench tradeoff ours vtm --realism fd_squeeze",
    "bench published check --dataset kodak --json",
    "bench check results/kodak other/kodak --codec jpeg --markdown verdict.md",
    "bench baseline save v1 --codecs ours,jpeg --dataset kodak",
    "bench baseline list",
    "bench pack export jpeg.tar --codecs jpeg,webp --dataset sample",
    "bench audit pack webp.tar --metrics psnr --jobs 2 --json",
    "bench pack import vtm.tar",
    "bench audit decode results --dataset sample --levels 0 --json",
    "bench export codec-compare --dataset kodak --to batches",
    "bench merge results-a results-b --into results",
    "bench audit colour-round-trip --codecs avif,x265 --dataset sample --limit 1",
    "bench encode in.png out.crdr --q 2.5 --beta 3.84",
    "bench encode in.png out.crdr --q-map importance.png",
    "bench decode out.crdr out.png",
    "bench decode out.crdr out.png --beta 5.12 --exact",
)
# They end otherwise than with 0, by what they find in the bundled rows.
OTHER_CODES = {"bench published check --dataset kodak --json": {0, 1}}


def in_a_terminal(*words, **variables):
    """`bench` as a process whose terminal has 80 columns."""
    command = [sys.executable, "-m", "benchmark", *words]
    environment = {**os.environ, "COLUMNS": "80", **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def examples_of(command):
    _, found, text = (command.epilog or "").partition("Examples:\n")
    return [line.strip() for line in text.splitlines()] if found else []


ALL_EXAMPLES = [
    (path, example) for path, command in COMMANDS_OF_HELP for example in examples_of(command)
]


@each_command
def test_help_of_80_columns_cuts_nothing(path):
    done = in_a_terminal(*path.split(), "-h")
    assert done.returncode == 0, done.stderr
    assert f"Usage: bench {path}".rstrip() in done.stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]
    command = dict(COMMANDS_OF_HELP)[path]
    words = " ".join(done.stdout.replace("│", " ").split())
    for one in command.params:
        if one.param_type_name == "option":
            assert all(f" {name} " in words for name in one.opts)
        default = one.default if isinstance(one.default, str | int | float | Path) else None
        if default not in (None, "", True, False):
            assert f"[default: {default}]" in words
    for example in examples_of(command):
        assert f"   {example} " in done.stdout, "an example stands in one line"


def test_short_and_long_help_are_the_same():
    for words in ((), ("run",), ("pack", "export"), ("train",)):
        assert bench(*words, "-h").stdout == bench(*words, "--help").stdout != ""


def test_verbs_stand_in_panels_in_the_order_in_which_they_are_needed():
    shown = bench("--help").stdout
    panels = {**VERBS, "Learned codec": COMMANDS}
    places = [shown.index(f"─ {panel} ─") for panel in panels]
    assert places == sorted(places)
    verbs = [name for verbs in panels.values() for name in verbs]
    lines = [shown.index(f"│ {name} ") for name in verbs]
    assert lines == sorted(lines)
    for (start, end), verbs in zip(
        zip(places, [*places[1:], len(shown)], strict=True), panels.values(), strict=True
    ):
        assert all(start < shown.index(f"│ {name} ") < end for name in verbs)


@pytest.mark.parametrize(("path", "command"), every_verb(), ids=[path for path, _ in every_verb()])
def test_every_option_stands_in_a_panel_and_panels_have_one_order(path, command):
    panels = [one.rich_help_panel for one in command.params if one.param_type_name == "option"]
    assert set(panels) <= set(PANELS)
    assert panels == sorted(panels, key=PANELS.index)


# Options whose meaning is another one in these verbs.
OWN_MEANING = {
    "--beta", "--bpp", "--checkpoint", "--codec", "--codecs", "--common", "--data-dir", "--dataset",
    "--metrics", "--out", "--points", "--published", "--results", "--to",
}  # fmt: skip


def test_an_option_has_one_help_text():
    texts = {}
    for _, command in every_verb():
        for one in command.params:
            if one.param_type_name == "option":
                texts.setdefault(one.opts[0], set()).add(one.help)
    assert {name for name, said in texts.items() if len(said) > 1} <= OWN_MEANING


@pytest.mark.parametrize("path", [path for path, _ in COMMANDS_OF_HELP if path])
def test_every_verb_has_an_example_of_its_own(path):
    command = dict(COMMANDS_OF_HELP)[path]
    own = [one for one in examples_of(command) if one.startswith(f"bench {path}")]
    assert own


@pytest.mark.parametrize(("path", "example"), ALL_EXAMPLES)
def test_an_example_parses(path, example):
    words = shlex.split(example)[1:]
    verbs = dict(every_verb())
    verb = next(
        name for name in sorted(verbs, key=len, reverse=True) if example[6:].startswith(name)
    )
    command = verbs[verb]
    with command.make_context(f"bench {verb}", words[len(verb.split()) :]) as context:
        assert context.params


def test_examples_that_are_run_are_examples():
    assert set(RUN) <= {example for _, example in ALL_EXAMPLES}


@pytest.mark.parametrize("example", RUN)
def test_an_example_runs(place, monkeypatch, example):
    monkeypatch.chdir(place)
    done = bench(*shlex.split(example)[1:])
    assert done.returncode in OTHER_CODES.get(example, {0}), done.stderr
    assert done.stdout


def test_version_is_that_of_run_records():
    from benchmark.rows.runs import run_record

    done = bench("--version")
    record = run_record([])
    assert done.returncode == 0
    assert done.stdout == f"rdrbench {record['packages']['rdrbench']}, commit {record['commit']}\n"


def completed(*words):
    """Names that bash would show after these words."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmark"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_BENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(["bench", *words]),
            "COMP_CWORD": str(len(words)),
        },
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_verbs_codecs_metrics_and_datasets():
    assert completed("re") == ["rescore", "report"]
    assert completed("pack", "im") == ["import"]
    assert completed("run", "--codecs", "jpeg,we") == ["jpeg,webp"]
    assert completed("report", "--metrics", "lpips_") == ["lpips_squeeze", "lpips_vgg"]
    assert completed("run", "--dataset", "tec") == ["tecnick"]
    assert completed("fetch", "squ") == ["squeezenet"]
    assert "--codecs" in completed("run", "--co")


def test_a_shell_completes_the_datasets_that_have_results(place):
    words = ("report", "--results", str(place / "results"), "--dataset", "ko")
    assert completed(*words) == ["kodak"]


def test_completion_can_be_shown_and_installed():
    shown = in_a_terminal(
        "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert "_BENCH_COMPLETE=complete_bash" in shown.stdout
    assert "--install-completion" in bench("--help").stdout
