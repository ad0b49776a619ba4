"""Verbs of `bench`: their options, made from declarations; help with examples; groups."""

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
from benchmark.option import ARGUMENT, PANELS, SPELLINGS, declaration, flatten, kind_of
from benchmark.system.settings import isolated
from benchmark.system.text import bench_command

Verb = TypeVar("Verb", bound=Callable[..., Answer | list[Answer] | None])
ANSWERS = (Answer, list[Answer])

CONTEXT = {
    "help_option_names": ["--help", "-h"],
    "token_normalize_func": lambda name: SPELLINGS.get(name, name),
}
LIST_OPTIONS = ("codecs", "bundled", "published", "metrics")  # comma-separated names
EXAMPLES = "Examples:\n"
MARKUP = re.compile(r"\[(?=[a-z#/@][^\[]*\])")  # what rich would interpret as markup
PLACEHOLDERS = {bool: "", Path: "PATH", int: "N", float: "X"}  # for values in help


def set_signature(
    command: Callable[..., None],
    parameters: Iterable[Parameter],
    added_parameters: Mapping[str, tuple[Any, Any]] = {},
) -> None:
    """Set a signature for typer. added_parameters: types and defaults of further parameters."""
    keyword_parameters = [
        parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters
    ]
    keyword_parameters += [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in added_parameters.items()
    ]
    command.__signature__ = inspect.Signature(keyword_parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {
        parameter.name: parameter.annotation for parameter in keyword_parameters
    }


def answer_verb(question: Callable[..., Answer | list[Answer]]) -> Callable[..., None]:
    """Make a verb that prints the answers of `question`, one per dataset if it has a `source`."""
    parameters = inspect.signature(question).parameters
    reads_rows = "source" in parameters

    @wraps(question)
    def verb(csv_file: Path | None, as_json: bool, **values: Any) -> None:
        from benchmark.commands import output

        sources: list[dict[str, Any]] = [{}]
        if reads_rows:
            from benchmark.rows.stored import RowSource, requested_datasets

            results, dataset = values.pop("results"), values.pop("dataset")
            sources = [
                {"source": RowSource(results, name)}
                for name in requested_datasets(results, dataset)
            ]
        question_results = [question(**source_argument, **values) for source_argument in sources]
        answers = [
            answer
            for result in question_results
            for answer in (result if isinstance(result, list) else [result])
        ]
        output.print_answers(answers, as_json)
        labels = [name for name in ("dataset", "kind") if reads_rows or len(answers) > 1]
        output.write_csv(
            csv_file,
            [
                {**{name: answer.facts[name] for name in labels if name in answer.facts}, **record}
                for answer in answers
                for record in answer.records
            ],
        )
        if code := max(answer.code for answer in answers):
            raise typer.Exit(code)

    shared_options: dict[str, tuple[Any, Any]]
    shared_options = {"csv_file": (CsvFile, None), "as_json": (AsJson, False)}
    if reads_rows:
        shared_options |= {"dataset": (StoredDatasets, ""), "results": (Results, Path("results"))}
    set_signature(
        verb,
        (parameter for name, parameter in parameters.items() if name != "source"),
        shared_options,
    )
    return verb


def make_verb(function: Callable[..., Any]) -> Callable[..., None]:
    """Make a verb from a function; fields of its dataclass parameters become options."""
    is_question = function.__annotations__.get("return") in ANSWERS
    return answer_verb(flatten(function)) if is_question else flatten(function)


def _print_help(context: typer.Context, is_requested: bool) -> None:
    if is_requested:
        print(context.get_help())
        raise typer.Exit


# Option --help of a verb, listed only in the help of `bench` itself
Help = Annotated[
    bool, typer.Option("--help", "-h", is_eager=True, hidden=True, callback=_print_help)
]


def add_verb(app: typer.Typer, verb: Callable[..., None], name: str, **entry: Any) -> None:
    """Add a function as a verb. entry: `short_help` and `rich_help_panel` of its help."""

    parameters = inspect.signature(verb).parameters

    @wraps(verb)
    def command(context: typer.Context, **values: Any) -> None:
        del values["help"]
        try:
            with plain_terminal():
                values |= _more_values(name, parameters, context)
                isolated(verb)(**values)
        except KeyboardInterrupt:  # typer does not report it
            print("bench: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None

    options = sorted(
        (parameter for parameter in parameters.values() if declaration(parameter)), key=_panel_index
    )
    extra_parameters = {"context": (typer.Context, Parameter.empty), "help": (Help, False)}
    set_signature(command, map(_typer_parameter, options), extra_parameters)
    text = help_and_examples(verb.__doc__ or "")
    settings = {**text, **entry, "context_settings": CONTEXT, "add_help_option": False}
    app.command(name, cls=SingleListsCommand, **settings)(command)


def _more_values(
    name: str, parameters: Mapping[str, Parameter], context: typer.Context
) -> dict[str, Any]:
    """Return values that are not typed: options of a file, `command` and `context`."""
    values: dict[str, Any] = {"command": command_line(context), "context": context}
    values = {key: value for key, value in values.items() if key in parameters}
    for key, parameter in parameters.items():
        if (option := declaration(parameter)) and option.options_file_for:
            default_file = (
                FIGURES_FILE
                if option.options_file_for == "figures" and FIGURES_FILE.is_file()
                else None
            )
            if path := context.params[key] or default_file:
                # Imports drawing libraries, which runs do not need
                from benchmark.commands.experiment import verb_options

                typed_values = {option: context.params[option] for option in typed_options(context)}
                # Older releases of typer leave a path as the text that was typed
                values |= verb_options(Path(path), name, parameters, typed_values)
    return values


class SingleListsCommand(TyperCommand):
    """Command that refuses a list option given twice, as only the last would be used."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse like typer, but raise `UsageError` for a repeated list."""
        option_names = [option.name for option in self.make_parser(ctx).parse_args(args=[*args])[2]]
        for name in LIST_OPTIONS:
            if option_names.count(name) > 1 and not ctx.resilient_parsing:
                raise UsageError(f"--{name} is given twice: separate the names with commas")
        return super().parse_args(ctx, args)


class Verbs(typer.Typer):
    """Group of verbs; `text` is its help with examples."""

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
        """Return a decorator that adds a function as a verb."""

        def add(function: Verb) -> Verb:
            add_verb(self, make_verb(function), name)
            return function

        return add


def help_and_examples(text: str) -> dict[str, Any]:
    """Return typer's `help` and `epilog` from a docstring with `Examples:` at its end.

    Lines of paragraphs are joined; lines of examples are kept.

    >>> help_and_examples("Do it.\\n\\nA long\\nstory.\\n\\nExamples:\\n  bench do")
    {'help': 'Do it.\\n\\nA long story.', 'epilog': '\\nExamples:\\n  bench do'}
    """
    prose, heading, examples = escape_markup(inspect.cleandoc(text)).partition(EXAMPLES)
    paragraphs = (" ".join(part.split()) for part in prose.strip().split("\n\n"))
    # Typer keeps indentation after an empty line
    epilog = f"\n{EXAMPLES}{examples.rstrip()}" if heading else None
    return {"help": "\n\n".join(paragraphs), "epilog": epilog}


def escape_markup(text: str) -> str:
    r"""Escape brackets, which typer's help would interpret as markup.

    >>> print(escape_markup("a [labels] of [0, 1]"))
    a \[labels] of [0, 1]
    """
    return MARKUP.sub(r"\\[", text)


def _panel_index(parameter: Parameter) -> int:
    option = declaration(parameter)
    return PANELS.index(option.panel) if option else -1


def _typer_parameter(parameter: Parameter) -> Parameter:
    option = declaration(parameter)
    if option is None:
        return parameter
    value_type, default = kind_of(parameter), parameter.default
    if option.value_form == "listed":
        value_type = str
        default = ",".join(default) if isinstance(default, tuple) else default
    elif option.value_form == "repeated":  # typer has no tuples of arbitrary length
        value_type = list[get_args(value_type)[0]]  # type: ignore[misc]
        default = [*default] if isinstance(default, tuple) else default
    facts: dict[str, Any] = {
        "help": escape_markup(option.help),
        "metavar": _placeholder(value_type) if option.value is None else option.value,
        "min": option.minimum,
        "max": option.maximum,
        "callback": REFUSALS.get(option.path_check),
    }
    if option.panel == ARGUMENT:
        facts["metavar"] = option.value or parameter.name.upper()
        typer_parameter = typer.Argument(**facts)
    else:
        flags = option.flags
        if not flags and default is not True:  # `--no-...` would change nothing
            flags = (f"--{parameter.name.replace('_', '-')}",)
        typer_parameter = typer.Option(*flags, rich_help_panel=option.panel, **facts)
    return parameter.replace(default=default, annotation=Annotated[value_type, typer_parameter])


def _placeholder(hint: Any) -> str:
    if hint in PLACEHOLDERS:
        return PLACEHOLDERS[hint]
    return next((word for part in get_args(hint) if (word := _placeholder(part)) != "TEXT"), "TEXT")


def typed_options(context: typer.Context) -> set[str]:
    """Return the names of the parameters that were typed on the command line."""
    names = (option.name or "" for option in context.command.params)
    sources = ((name, context.get_parameter_source(name)) for name in names)
    return {name for name, source in sources if source and source.name == "COMMANDLINE"}


def command_line(context: typer.Context, excluded_names: Collection[str] = ()) -> str:
    """Return the command as typed in a shell, without the options `excluded_names`."""
    arguments: list[str] = []
    typed_names = typed_options(context) - {*excluded_names}
    for option in context.command.params:
        if (name := option.name or "") in typed_names:
            value = context.params[name]
            values = map(str, value if isinstance(value, list | tuple) else [value])
            if isinstance(option, TyperArgument):
                arguments += values
            elif isinstance(option, TyperOption) and option.is_flag:
                arguments += (option.opts if value else option.secondary_opts)[:1]
            else:
                arguments += [argument for text in values for argument in (option.opts[0], text)]
    return bench_command("", *context.command_path.split()[1:], *arguments)
