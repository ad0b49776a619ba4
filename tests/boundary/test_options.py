"""An option is declared once: field of a request, option of a verb and argument in Python."""

import inspect
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import typer

import benchmark
from benchmark.commands.verb import add_verb, takes
from benchmark.measure.request import Request
from benchmark.option import MANNER, arguments, declared, option
from benchmark.show.report.request import ReportRequest
from support.bench.verbs import every_verb

SHARED = {  # also of verbs that have no request, from `commands/options.py`
    "Folder of results.",
    "Comma-separated metrics, each a name or path.py:Class, or 'all'.",
    "Comma-separated codecs to keep, or 'all' that have results.",
    "Datasets that have results, or 'all' of them.",
    "Only rows that an independent decode has verified (`bench run --verify`).",
    "Compute FID and KID of fewer than 50 images too, marked as such.",
}


@dataclass(frozen=True, kw_only=True)
class Shaded(Request):
    """A request with one more option."""

    shade: float = option(0.5, MANNER, "Shade of each image.", "--dark", least=0.1, most=1)


def _draw(codecs, **options):
    """{parameters}"""


def verb_of(made, names="", **changed):
    """Return the command of a verb that takes options, and the requests that it was given."""
    given = []
    app = typer.Typer(add_completion=False)

    @takes(made, names, **changed)
    def verb(request: made) -> None:
        given.append(request)

    add_verb(app, verb, "verb")
    return typer.main.get_command(app), given


def test_a_field_of_a_request_is_option_and_argument_without_another_declaration():
    command, given = verb_of(Shaded)
    command.main(["--dark", "0.7", "--codecs", "jpeg,webp", "--pack", "a"], standalone_mode=False)
    assert given == [Shaded(shade=0.7, codecs=("jpeg", "webp"), packs=(Path("a"),))]
    (shown,) = (param for param in command.params if param.name == "shade")
    assert (shown.help, shown.rich_help_panel, shown.default) == (
        "Shade of each image.",
        MANNER,
        0.5,
    )
    made = arguments(Shaded)(_draw)
    known = inspect.signature(made).parameters
    assert (known["shade"].default, known["codecs"].default) == (0.5, inspect.Parameter.empty)
    assert "shade : float, default 0.5\n        Shade of each image." in made.__doc__
    with pytest.raises(typer.BadParameter):
        command.main(["--dark", "2"], standalone_mode=False)


def test_a_verb_takes_some_options_with_defaults_of_its_own():
    other = option(Path("again"), MANNER, "Another folder.")
    command, given = verb_of(Request, "limit results metrics", metrics="all", results=other)
    command.main([], standalone_mode=False)
    assert {param.name for param in command.params} == {"limit", "results", "metrics", "help"}
    assert (given[0].results, len(given[0].metrics) > 20) == (Path("again"), True)


def test_every_field_of_a_request_is_declared_and_in_run_and_in_python():
    names = {field.name for field in fields(Request)}
    assert declared(Request).keys() == names
    run = dict(every_verb())["run"]
    assert names <= {param.name for param in run.params}
    arguments = inspect.signature(benchmark.run).parameters
    assert arguments.keys() == names | {"progress"}
    for field in fields(Request):
        assert field.metadata["option"].help in benchmark.run.__doc__
        assert field.name == "codecs" or arguments[field.name].default == field.default
    with pytest.raises(TypeError, match="shade"):
        benchmark.run("jpeg", shade=1)


@pytest.mark.parametrize(
    "points", [{"jpeg.quality": [10, 30]}, "jpeg.quality=10,30", ["jpeg.quality=10,30"]]
)
def test_values_of_python_and_of_the_command_line_become_one_request(points):
    request = Request.of(codecs="jpeg,webp", points=points, results="r", packs=["a"], vtm_dir=None)
    expected = Request(
        codecs=("jpeg", "webp"), points=("jpeg.quality=10,30",), results=Path("r"),
        packs=(Path("a"),),
    )  # fmt: skip
    assert request == expected
    assert Request.of(codecs=["jpeg"], metrics="psnr, lpips").metrics == ("psnr", "lpips")


@pytest.mark.parametrize("made", [Request, ReportRequest])
def test_verbs_repeat_no_declaration_of_a_request(made):
    helps = {told.help for _, told in declared(made).values()} - SHARED
    for path in (Path(benchmark.__file__).parent / "commands").rglob("*.py"):
        assert not [one for one in helps if one in path.read_text()], path
