"""A verb of `bench`: options from declarations, help with examples and panels, groups of verbs."""

import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from benchmark.answer import Answer
from benchmark.commands.options import (
    FIGURES_FILE,
    REFUSALS,
    AsJson,
    CsvFile,
    Results,
    StoredDatasets,
)
from benchmark.commands.terminal import plain_terminal
from benchmark.errors import UsageError
from benchmark.option import ARGUMENT, PANELS, SPELLINGS, declaration, flat, kind_of
from benchmark.system.settings import isolated
from benchmark.system.text import bench_command

Verb = TypeVar("Verb", bound=Callable[..., Answer | list[Answer] | None])
ANSWERS = (Answer, list[Answer])

CONTEXT = {
    "help_option_names": ["--help", "-h"],
    "token_normalize_func": lambda name: SPELLINGS.get(name, name),
}
LISTS = ("codecs", "bundled", "published", "metrics")  # options of comma-separated names
EXAMPLES = "Examples:\n"
TAG = re.compile(r"\[(?=[a-z#/@][^\[]*\])")  # that rich takes for one of its own
VALUES = {bool: "", Path: "PATH", int: "N", float: "X"}  # words for options' values in help


def sign(
    command: Callable[..., None],
    parameters: Iterable[Parameter],
    more: Mapping[str, tuple[Any, Any]] = {},
) -> None:
    """Give a function the parameters that typer makes options and arguments of.

    more: types and defaults of further ones, by name.
    """
    named = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    named += [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in more.items()
    ]
    command.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in named}


def as_verb(question: Callable[..., Answer | list[Answer]]) -> Callable[..., None]:
    """Return the verb of a question: its answer as a table or JSON, its records as csv.

    A question with a first parameter `source` is asked about each dataset of `--dataset`.
    """
    own = inspect.signature(question).parameters
    of_rows = "source" in own

    @wraps(question)
    def verb(csv_file: Path | None, as_json: bool, **values: Any) -> None:
        from benchmark.commands import output

        asked: list[dict[str, Any]] = [{}]
        if of_rows:
            from benchmark.rows.stored import Source, asked_datasets

            results, named = values.pop("results"), values.pop("dataset")
            asked = [{"source": Source(results, name)} for name in asked_datasets(results, named)]
        made = [question(**of, **values) for of in asked]
        answers = [of for each in made for of in (each if isinstance(each, list) else [each])]
        output.print_answers(answers, as_json)
        which = [name for name in ("dataset", "kind") if of_rows or len(answers) > 1]
        output.write_csv(
            csv_file,
            [
                {**{name: of.facts[name] for name in which if name in of.facts}, **record}
                for of in answers
                for record in of.records
            ],
        )
        if code := max(answer.code for answer in answers):
            raise typer.Exit(code)

    shared: dict[str, tuple[Any, Any]]
    shared = {"csv_file": (CsvFile, None), "as_json": (AsJson, False)}
    if of_rows:
        shared |= {"dataset": (StoredDatasets, ""), "results": (Results, Path("results"))}
    sign(verb, (of for name, of in own.items() if name != "source"), shared)
    return verb


def verb_of(function: Callable[..., Any]) -> Callable[..., None]:
    """Return a verb: that of a question, or the function itself, with options for dataclasses."""
    of_answer = function.__annotations__.get("return") in ANSWERS
    return as_verb(flat(function)) if of_answer else flat(function)


def _print_help(context: typer.Context, asked: bool) -> None:
    if asked:
        print(context.get_help())
        raise typer.Exit


# The option --help of a verb, which only the help of `bench` itself lists.
Help = Annotated[
    bool, typer.Option("--help", "-h", is_eager=True, hidden=True, callback=_print_help)
]


def add_verb(app: typer.Typer, verb: Callable[..., None], name: str, **listed: Any) -> None:
    """Add a function as a sub-command: its options sorted by panels, its docstring as help.

    Its settings end with it, and what it prints cannot steer the terminal. listed: `short_help` and
    `rich_help_panel` in the list of verbs.
    """

    known = inspect.signature(verb).parameters

    @wraps(verb)
    def command(context: typer.Context, **values: Any) -> None:
        del values["help"]
        try:
            with plain_terminal():
                values |= _more_values(name, known, context)
                isolated(verb)(**values)
        except KeyboardInterrupt:  # typer would end silently
            print("bench: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None

    shown = sorted((of for of in known.values() if declaration(of)), key=_panel)
    more = {"context": (typer.Context, Parameter.empty), "help": (Help, False)}
    sign(command, map(_for_typer, shown), more)
    text = help_and_examples(verb.__doc__ or "")
    settings = {**text, **listed, "context_settings": CONTEXT, "add_help_option": False}
    app.command(name, cls=Once, **settings)(command)


def _more_values(
    name: str, known: Mapping[str, Parameter], context: typer.Context
) -> dict[str, Any]:
    """Return what a verb is passed beside the options of the command line: those of a file.

    A parameter `command` gets the command as a shell takes it, `context` that of typer.
    """
    values: dict[str, Any] = {"command": command_line(context), "context": context}
    values = {key: of for key, of in values.items() if key in known}
    for key, of in known.items():
        if (option := declaration(of)) and option.fills:
            usual = FIGURES_FILE if option.fills == "figures" and FIGURES_FILE.is_file() else None
            if path := context.params[key] or usual:
                # Brings what draws figures, which measuring does without.
                from benchmark.commands.experiment import options_in

                typed = {of: context.params[of] for of in typed_options(context)}
                values |= options_in(path, name, known, typed)
    return values


class Once(TyperCommand):
    """A command that refuses a list given twice, of which the last would silently count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does; raises `UsageError` for a list that is given again."""
        order = [option.name for option in self.make_parser(ctx).parse_args(args=[*args])[2]]
        for name in LISTS:
            if order.count(name) > 1 and not ctx.resilient_parsing:
                raise UsageError(f"--{name} is given twice: name all in one, with commas")
        return super().parse_args(ctx, args)


class Verbs(typer.Typer):
    """A verb that has verbs of its own; `text` is its help, with examples of its verbs."""

    def __init__(self, text: str) -> None:
        super().__init__(
            **help_and_examples(text),
            no_args_is_help=True,
            pretty_exceptions_enable=False,
            context_settings=CONTEXT,
            add_help_option=False,
        )

        @self.callback()
        def group(help: Help = False) -> None: ...  # noqa: A002 - the option's name

    def verb(self, name: str) -> Callable[[Verb], Verb]:
        """Return a decorator that makes a function a verb of this name."""

        def add(function: Verb) -> Verb:
            add_verb(self, verb_of(function), name)
            return function

        return add


def help_and_examples(text: str) -> dict[str, Any]:
    """Return typer's `help` and `epilog` of a docstring that ends with a paragraph `Examples:`.

    The lines of its paragraphs are joined, and those of the examples kept.

    >>> help_and_examples("Do it.\\n\\nA long\\nstory.\\n\\nExamples:\\n  bench do")
    {'help': 'Do it.\\n\\nA long story.', 'epilog': '\\nExamples:\\n  bench do'}
    """
    prose, heading, examples = unstyled(inspect.cleandoc(text)).partition(EXAMPLES)
    paragraphs = (" ".join(part.split()) for part in prose.strip().split("\n\n"))
    # The empty line keeps typer from removing the indentation of the examples.
    epilog = f"\n{EXAMPLES}{examples.rstrip()}" if heading else None
    return {"help": "\n\n".join(paragraphs), "epilog": epilog}


def unstyled(text: str) -> str:
    r"""Return a text whose brackets typer's help shows, instead of styling what follows by them.

    >>> print(unstyled("a [labels] of [0, 1]"))
    a \[labels] of [0, 1]
    """
    return TAG.sub(r"\\[", text)


def _panel(parameter: Parameter) -> int:
    """Return the place of a parameter in help: arguments first, then options by their panels."""
    option = declaration(parameter)
    return PANELS.index(option.panel) if option else -1


def _for_typer(parameter: Parameter) -> Parameter:
    """Return a parameter with typer's option or argument in the place of its declaration."""
    option = declaration(parameter)
    if option is None:
        return parameter
    kind, default = kind_of(parameter), parameter.default
    if option.many == "listed":
        kind = str
        default = ",".join(default) if isinstance(default, tuple) else default
    elif option.many == "repeated":  # typer has no tuples of any length
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
        default = [*default] if isinstance(default, tuple) else default
    shared: dict[str, Any] = {
        "help": unstyled(option.help),
        "metavar": _word(kind) if option.value is None else option.value,
        "min": option.least,
        "max": option.most,
        "callback": REFUSALS.get(option.refuses),
    }
    if option.panel == ARGUMENT:
        shared["metavar"] = option.value or parameter.name.upper()
        by_typer = typer.Argument(**shared)
    else:
        flags = option.flags
        if not flags and default is not True:  # no `--no-...` that changes nothing
            flags = (f"--{parameter.name.replace('_', '-')}",)
        by_typer = typer.Option(*flags, rich_help_panel=option.panel, **shared)
    return parameter.replace(default=default, annotation=Annotated[kind, by_typer])


def _word(kind: Any) -> str:
    """Return a short word for values of a type, which leaves room for their help.

    >>> _word(list[Path] | None), _word(str)
    ('PATH', 'TEXT')
    """
    if kind in VALUES:
        return VALUES[kind]
    return next((word for part in get_args(kind) if (word := _word(part)) != "TEXT"), "TEXT")


def typed_options(context: typer.Context) -> set[str]:
    """Return the names of the parameters that the command line has, not a default."""
    names = (option.name or "" for option in context.command.params)
    sources = ((name, context.get_parameter_source(name)) for name in names)
    return {name for name, source in sources if source and source.name == "COMMANDLINE"}


def command_line(context: typer.Context, without: Collection[str] = ()) -> str:
    """Return a command as a shell takes it, without the options that were left out.

    without: names of more parameters to leave out.
    """
    words: list[str] = []
    typed = typed_options(context) - {*without}
    for option in context.command.params:
        if (name := option.name or "") in typed:
            value = context.params[name]
            values = map(str, value if isinstance(value, list | tuple) else [value])
            if isinstance(option, TyperArgument):
                words += values
            elif isinstance(option, TyperOption) and option.is_flag:
                words += (option.opts if value else option.secondary_opts)[:1]
            else:
                words += [word for text in values for word in (option.opts[0], text)]
    return bench_command("", *context.command_path.split()[1:], *words)
