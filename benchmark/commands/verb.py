"""A verb of `bench`: options from declarations, help with examples and panels, groups of verbs."""

import inspect
import re
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import Field
from functools import partial, wraps
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, TextIO, cast, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException
from typer.models import CommandFunctionType

from benchmark.commands.options import opt
from benchmark.option import PANELS, Option, declared
from benchmark.system.imports import help_formatter
from benchmark.system.settings import isolated
from benchmark.system.text import visible

# Both spellings are accepted wherever one of them is an option.
SPELLINGS = (
    ("--codec", "--codecs"),
    ("--metric", "--metrics"),
    ("--dataset", "--datasets"),
    ("--point", "--points"),
)
EXAMPLES = "Examples:\n"


def takes(
    made: type[Any], names: str = "", **changed: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that replaces a verb's parameter of a type by command-line options.

    made: the type, a dataclass whose fields are options (`benchmark.option`); its class method
    `of`, if any, takes their values. names: the options to take, else all. changed: other defaults,
    or whole declarations in place of the field's.
    """
    known = declared(made)
    chosen = names.split() or list(known)

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        own = dict(inspect.signature(verb).parameters)
        (slot,) = (name for name, parameter in own.items() if parameter.annotation is made)
        del own[slot]

        @wraps(verb)
        def command(**values: Any) -> None:
            picked = {name: values.pop(name) for name in chosen}
            verb(**values, **{slot: getattr(made, "of", made)(**picked)})

        options = [_parameter(*known[name], changed.get(name)) for name in chosen]
        others = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own.values()]
        parameters = [*options, *others]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def _parameter(field: Field[Any], option: Option, changed: Any) -> Parameter:
    """Return the parameter of a typer command for a declared option."""
    kind: Any = field.type
    default: Any = field.default if changed is None else changed
    if isinstance(changed, Field):
        default, option = changed.default, changed.metadata["option"]
    if option.many == "listed":
        kind, default = str, default if isinstance(default, str) else ",".join(default)
    elif option.many == "repeated":
        kind, default = list[get_args(kind)[0]] | None, None  # type: ignore[misc]
    flags = option.flags or (f"--{field.name.replace('_', '-')}",)
    limits: Any = {"min": option.least, "max": option.most, "metavar": option.value}
    checks = {"completes": option.completes, "refuses": option.refuses}
    kind = Annotated[kind, opt(option.panel, option.help, *flags, **checks, **limits)]
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def command_line(context: typer.Context, without: Collection[str] = ()) -> str:
    """Return a command as a shell takes it, without the options that were left out.

    without: names of more parameters to leave out.
    """
    words: list[str] = []
    for option in context.command.params:
        name, source = option.name or "", context.get_parameter_source(option.name or "")
        if source is not None and source.name == "COMMANDLINE" and name not in without:
            value = context.params[name]
            values = map(str, value if isinstance(value, list | tuple) else [value])
            if isinstance(option, TyperArgument):
                words += values
            elif isinstance(option, TyperOption) and option.is_flag:
                words += (option.opts if value else option.secondary_opts)[:1]
            else:
                words += [word for text in values for word in (option.opts[0], text)]
    return shlex.join(["bench", *context.command_path.split()[1:], *words])


class PlainStream:
    """A stream of text that writes control characters as escapes, but line feeds and tabs.

    Names of files, caveats of rows and the errors of programs may hold sequences that move the
    cursor, change the title or colour what follows.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text and return its length."""
        self.stream.write(visible(text, keep_lines=True))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def plain_terminal() -> Iterator[None]:
    """Have this process print through `PlainStream` on both of its streams."""
    streams = PlainStream(sys.stdout), PlainStream(sys.stderr)
    with redirect_stdout(cast(TextIO, streams[0])), redirect_stderr(cast(TextIO, streams[1])):
        yield


class QuickValue:
    """Conversion of a parameter's value: defaults, texts, paths and counts without pydantic.

    Typer loads pydantic for any value, a third of the time that a short command takes.
    """

    def __init__(self, by_typer: Callable[[], Any]) -> None:
        self._by_typer = by_typer

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value that the verb takes for one of the command line or a default."""
        kind = param.type_descriptor.annotation
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if kind in (list[str], list[Path]) and not isinstance(value, str):
            return [*map(get_args(kind)[0], value)]
        if kind in (str, Path) and not several:
            return kind(value)
        if kind is int and isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
            limits = param.type_descriptor.parameter_info
            if (limits.min or 0) <= int(value) and (limits.max is None or int(value) <= limits.max):
                return int(value)
        if type(value) is kind:  # a default
            return value
        return self._by_typer().coerce(value, param=param, ctx=ctx)


class QuickValues:
    """Part of a command whose parameters convert their values by `QuickValue`; quick help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        help_formatter()
        super().format_help(ctx, formatter)  # type: ignore[misc]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with those that typer adds itself."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if not isinstance(parameter.get_runtime_param, partial):
                parameter.get_runtime_param = partial(QuickValue, parameter.get_runtime_param)
        return parameters


class WithExamples(QuickValues):
    """Part of a command whose docstring ends with a paragraph `Examples:`, shown last."""

    help: str | None
    epilog: str | None

    def __init__(self, name: str | None = None, **settings: Any) -> None:
        super().__init__(name=name, **settings)  # type: ignore[call-arg]
        self.help, self.epilog = _prose_and_examples(self.help or "")

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help, which only the help of `bench` itself lists."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.hidden = True
        return option


class Verb(WithExamples, TyperCommand):
    """A command whose options are sorted by their panels, and known by two spellings."""

    def __init__(self, name: str | None = None, **settings: Any) -> None:
        super().__init__(name, **settings)
        options = [parameter for parameter in self.params if isinstance(parameter, TyperOption)]
        for option in options:
            if option.metavar is None:
                option.metavar = _value_name(option)
            if option.default is False:  # no option `--no-...` that changes nothing
                option.secondary_opts = []
        arguments = [parameter for parameter in self.params if parameter not in options]
        panels = [*PANELS, *(option.rich_help_panel for option in options)]
        options.sort(key=lambda option: panels.index(option.rich_help_panel))
        self.params = [*arguments, *options]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the command line, options in either of their spellings."""
        known = {name for parameter in self.params for name in parameter.opts}
        try:
            return super().parse_args(ctx, _respelled(args, known))
        except TyperException as error:
            if getattr(error, "ctx", None) is None:  # typer forgets it where a value is missing
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; its settings end with it, and what it prints cannot steer the terminal."""
        with plain_terminal():
            return isolated(super().invoke)(ctx)


class VerbGroup(WithExamples, TyperGroup):
    """A verb that has verbs of its own: `bench pack export`."""


class Verbs(typer.Typer):
    """A group of verbs; `help` is its sentence, with examples of its verbs."""

    def __init__(self, help: str) -> None:  # noqa: A002 - typer's word
        super().__init__(
            cls=VerbGroup, help=help, no_args_is_help=True, pretty_exceptions_enable=False
        )
        self.callback()(lambda: None)  # a group also where it has one verb alone

    def command(
        self, name: str | None = None, **settings: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Return a decorator that makes a function a verb of the group."""
        return super().command(name, cls=Verb, **settings)


def _prose_and_examples(text: str) -> tuple[str, str | None]:
    """Split a docstring; unwrap the lines of its paragraphs, and keep those of the examples.

    >>> _prose_and_examples("Do it.\\n\\nA long\\nstory.\\n\\nExamples:\\n  bench do")
    ('Do it.\\n\\nA long story.', '\\nExamples:\\n  bench do')
    """
    prose, result, examples = inspect.cleandoc(text).partition(EXAMPLES)
    paragraphs = (" ".join(part.split()) for part in prose.strip().split("\n\n"))
    # The empty line keeps typer from removing the indentation of the examples.
    return "\n\n".join(paragraphs), f"\n{EXAMPLES}{examples.rstrip()}" if result else None


def _value_name(option: TyperOption) -> str:
    """Return a short word for an option's value, which leaves room for its help."""
    kind = option.type_descriptor.annotation
    names = {Path: "PATH", int: "N", float: "X"}
    known = (name for named, name in names.items() if named in (kind, *get_args(kind)))
    return "" if option.is_flag else next(known, "TEXT")


def _respelled(words: Sequence[str], known: set[str]) -> list[str]:
    """Replace options that a command lacks by the other spelling, where it has that one.

    >>> _respelled(["--codec", "jpeg", "--metric=psnr"], {"--codecs", "--metrics"})
    ['--codecs', 'jpeg', '--metrics=psnr']
    """
    pairs = (*SPELLINGS, *(pair[::-1] for pair in SPELLINGS))
    other = {name: own for name, own in pairs if own in known and name not in known}
    end = words.index("--") if "--" in words else len(words)
    parts = [word.partition("=") for word in words[:end]]
    return [*("".join((other.get(name, name), *rest)) for name, *rest in parts), *words[end:]]
