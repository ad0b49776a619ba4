"""The command `bench`: one sub-command per verb. Imports nothing heavy, so that help is instant."""

import ast
import os
import sys
import warnings
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import Abort, TyperException

from benchmark.commands.verb import QuickValues, Verb
from benchmark.errors import (
    BenchError,
    DamagedResults,
    Unavailable,
    UsageError,
    memory_sentence,
    refused_path,
)
from benchmark.registry import COMMANDS, VERBS, load_command
from benchmark.system.text import visible

# Python does not notice that the disk is full while it keeps the compiled form of a file.
INCOMPLETE_CODE = (
    "a file that Python compiled earlier is incomplete, as a full disk leaves it: delete the "
    "folders __pycache__ of the project and of its .venv, and run the command again"
)


class Unloaded(TyperCommand):
    """A verb whose module is not imported; its help is read from the source when it is shown."""

    def _first_paragraph(self) -> str:
        """Return the first paragraph of the docstring of a function or `Verbs`."""
        module, _, verb = COMMANDS[self.name or ""].partition(":")
        source = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
        for node in ast.parse(source.read_bytes()).body:
            text = None
            if isinstance(node, ast.FunctionDef) and node.name == verb:
                text = ast.get_docstring(node)
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == verb:
                text = ast.literal_eval(node.value.args[0])  # type: ignore[attr-defined]
            if text:
                return " ".join(text.partition("\n\n")[0].split())
        return ""

    help = property(_first_paragraph, lambda self, text: None)


class BenchGroup(QuickValues, TyperGroup):
    """The sub-commands of `registry.COMMANDS`, each imported when it runs."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the verbs in the order of their table."""
        return [*COMMANDS]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of the first argument, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            holder, verb = typer.Typer(), load_command(name)
            if isinstance(verb, typer.Typer):
                holder.add_typer(verb, name=name)
            else:
                holder.command(name, cls=Verb)(verb)
            command = typer.main.get_group(holder).commands[name]
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run a sub-command; typer would end it silently at Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("bench: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="bench",
    cls=BenchGroup,
    help="Rate, distortion and realism of image codecs, measured from real bitstreams.",
    epilog="`bench VERB --help` has the options of a verb, and examples.",
    context_settings={"help_option_names": ["--help", "-h"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from benchmark.system.machine import commit

        here = commit()
        print(f"rdrbench {version('rdrbench')}" + (f", commit {here}" if here else ""))
        raise typer.Exit


@app.callback()
def _bench(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            metavar="",
            help="Print the version, and the commit of a checkout.",
        ),
    ] = False,
) -> None: ...


for _panel, _parts in VERBS.items():  # `BenchGroup` imports what is behind a name
    for _name in " ".join(verbs for _, verbs in _parts).split():
        app.command(_name.rstrip("_"), cls=Unloaded, rich_help_panel=_panel)(lambda: None)


def _show_warning(
    message: Warning | str, category: type[Warning], *place: Any, **more: Any
) -> None:
    """Print a warning on results as one sentence, once; others as Python does."""
    if not issubclass(category, DamagedResults):
        _python_shows(message, category, *place, **more)
    elif str(message) not in _shown:
        print(f"bench: {message}", file=sys.stderr)
        _shown.add(str(message))


_python_shows = warnings.showwarning
_shown: set[str] = set()  # sentences on results; a run reads some of them more than once


def main() -> None:
    """Run the command line; an explained failure is printed as one sentence, without traceback."""
    warnings.showwarning = _show_warning
    try:
        sys.exit(app(sys.argv[1:], prog_name="bench", standalone_mode=False))
    except BrokenPipeError:  # `bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        sentence, code = _explained(error)
        if sentence:
            print(f"bench: {visible(sentence)}", file=sys.stderr)
        elif not isinstance(error, TyperException):  # which printed help
            raise
        sys.exit(code)


def _explained(error: Exception) -> tuple[str, int]:
    """Return a sentence on a failure, empty for none, and the exit code."""
    if isinstance(error, TyperException):
        return usage_sentence(error), 2
    if isinstance(error, BenchError):
        return str(error), 2 if isinstance(error, (UsageError, Unavailable)) else 1
    if sentence := refused_path(error):  # that the user gave, looked up where it is needed
        return sentence, 2
    if isinstance(error, Abort) and "marshal" in str(error.__cause__):  # an EOFError
        return INCOMPLETE_CODE, 1
    return memory_sentence(error), 1


def usage_sentence(error: TyperException) -> str:
    """Return a mistake on the command line as one sentence; empty where help was printed instead.

    It is typer's message with the nearest name, and the help to read.
    """
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:
        return ""
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", "")
    if option and hasattr(error, "possibilities"):  # the command has no such option
        parameters = context.command.params if context else ()
        names = [name for parameter in parameters for name in parameter.opts]
        known = [name.lstrip("-") for name in names if name.startswith("-")]
        bare = option.lstrip("-")
        hint = ""
        if bare in names:
            hint = "; that is an argument, given without its name"
        elif near := get_close_matches(bare, known, 1, 0.7):
            hint = f". Did you mean '--{near[0]}'?"
        elif "points" in known:
            hint = "; a codec's settings are given by --points, as in jpeg.quality=10,30"
        message = f"no such option: {option}{hint}"
    command = context.command_path if context is not None else "bench"
    see = " See" if message.endswith("?") else "; see"
    return f"{message[0].lower()}{message[1:]}{see} `{command} --help`"
