"""An option is declared once: field of a request, option of a verb and argument in Python."""

import inspect
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import pytest
import typer

import benchmark
from benchmark.commands.verb import add_verb
from benchmark.compare.experiment import Experiment
from benchmark.compare.rule import Rule
from benchmark.errors import UnknownName
from benchmark.measure.request import Request
from benchmark.option import MANNER, declared_options, flatten, opt, option, subset
from support.bench.verbs import every_verb

POINTS = "jpeg.quality=10,30"


@dataclass(frozen=True, kw_only=True)
class Shaded(Request):
    """A request with one more option."""

    shade: float = option(0.5, MANNER, "Shade of each image.", "--dark", minimum=0.1, maximum=1)


def verb_of(function):
    app = typer.Typer(add_completion=False)
    add_verb(app, flatten(function), "verb")
    return typer.main.get_command(app)


def test_a_field_of_a_request_is_option_and_argument_without_another_declaration():
    requests = []

    def draw(codecs, *, request: Shaded):
        """{parameters}"""
        requests.append(request)

    command = verb_of(draw)
    command.main(["--dark", "0.7", "--codecs", "jpeg,webp", "--pack", "a"], standalone_mode=False)
    assert requests == [Shaded(shade=0.7, codecs=("jpeg", "webp"), packs=(Path("a"),))]
    (parameter,) = (param for param in command.params if param.name == "shade")
    assert (parameter.help, parameter.default) == ("Shade of each image.", 0.5)
    assert parameter.rich_help_panel == MANNER
    called = flatten(draw)
    called(["jpeg", "webp"], packs="a", shade=0.7)
    assert requests[0] == requests[1]
    parameters = inspect.signature(called).parameters
    defaults = [parameters[name].default for name in ("shade", "codecs")]
    assert defaults == [0.5, inspect.Parameter.empty]
    assert "shade : float, default 0.5\n    Shade of each image." in called.__doc__
    with pytest.raises(typer.BadParameter):
        command.main(["--codecs", "jpeg", "--dark", "2"], standalone_mode=False)


def test_a_verb_takes_some_options_with_defaults_and_declarations_of_its_own():
    calls = []

    def draw(
        request: Annotated[Request, subset("limit results metrics", metrics="all")],
        results: Annotated[Path, opt(MANNER, "Another folder.")] = Path("again"),
    ):
        calls.append((request, results))

    command = verb_of(draw)
    command.main([], standalone_mode=False)
    assert {param.name for param in command.params} == {"limit", "results", "metrics", "help"}
    ((request, results),) = calls
    assert (request.results, results, len(request.metrics) > 20) == (results, Path("again"), True)


def test_an_experiment_has_the_options_of_a_rule_and_makes_it_of_them():
    @flatten
    def rule_of(*, experiment: Annotated[Experiment, subset("codecs", Rule)]):
        return experiment.rule

    assert rule_of(codecs="jpeg", bd="pchip") == Rule(bd="pchip")
    assert declared_options(Rule).items() <= declared_options(Experiment).items()
    with pytest.raises(UnknownName, match="spline"):
        rule_of(bd="spline")


def test_every_field_of_a_request_is_declared_and_in_run_and_in_python():
    names = {field.name for field in fields(Request)}
    assert declared_options(Request).keys() == names
    run = dict(every_verb())["run"]
    assert names <= {param.name for param in run.params}
    arguments = inspect.signature(benchmark.run).parameters
    assert arguments.keys() == names | {"progress"}
    for field in fields(Request):
        assert field.metadata["option"].help in benchmark.run.__doc__
        assert field.name == "codecs" or arguments[field.name].default == field.default
    with pytest.raises(TypeError, match="shade"):
        benchmark.run("jpeg", shade=1)


@flatten
def asked_of(*, request: Request):
    return request


@pytest.mark.parametrize("points", [{"jpeg.quality": [10, 30]}, POINTS, [POINTS]])
def test_values_of_python_and_of_the_command_line_become_one_request(points):
    options = {"codecs": "jpeg,webp", "results": "r", "packs": ["a"], "weights_dir": None}
    paths = {"results": Path("r"), "packs": (Path("a"),)}
    expected = Request(codecs=("jpeg", "webp"), points=(POINTS,), **paths)
    assert asked_of(points=points, **options) == expected
    assert asked_of(codecs=["jpeg"], metrics="psnr, lpips").metrics == ("psnr", "lpips")
