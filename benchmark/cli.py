"""The command `bench`: a table of verbs, of which only one is imported; error handling."""

import errno
import os
import sys
import tomllib
import warnings
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.verb import CONTEXT, add_verb, make_verb
from benchmark.errors import (
    BenchError,
    Notice,
    describe_refused_path,
    memory_sentence,
)
from benchmark.system.text import visible

VERBS: Mapping[str, Mapping[str, tuple[str, str]]] = tomllib.loads(
    Path(__file__).with_name("verbs.toml").read_text(encoding="utf-8")
)
NAMES = tuple(name for verbs in VERBS.values() for name in verbs)
COMPLETION_VARIABLE = "_BENCH_COMPLETE"  # a shell sets it to get completions
# When Python caches a compiled file, it ignores a full disk
INCOMPLETE_CODE = (
    "a compiled Python file is incomplete, probably because the disk was full: delete the "
    "folders __pycache__ of the project and of its .venv, and run the command again"
)


def program(verb_names: Collection[str]) -> typer.Typer:
    """Return the command line; only `verb_names` are imported, since imports take time."""
    app = typer.Typer(
        name="bench",
        help="Rate, distortion and realism of image codecs, measured from real bitstreams.",
        epilog="`bench VERB --help` shows the options of a verb, and examples.",
        context_settings=CONTEXT,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_bench)
    for panel, verbs in VERBS.items():
        for name, (import_path, summary) in verbs.items():
            entry: Any = {"short_help": summary, "rich_help_panel": panel}
            verb = load(name, import_path) if name in verb_names else lambda: None
            if isinstance(verb, typer.Typer):
                app.add_typer(verb, name=name, **entry)
            else:
                add_verb(app, verb, name, **entry)
    return app


def load(name: str, import_path: str) -> Any:
    """Import the implementation of a verb, a function or `Verbs`; return what typer takes."""
    module, _, attribute = import_path.partition(":")
    verb = getattr(import_module(module), attribute or name)
    return verb if isinstance(verb, typer.Typer) else make_verb(verb)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        from benchmark.system.machine import commit

        commit_id = commit()
        print(f"rdrbench {version('rdrbench')}" + (f", commit {commit_id}" if commit_id else ""))
        raise typer.Exit


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


def _show_warning(
    message: Warning | str, category: type[Warning], *location: Any, **details: Any
) -> None:
    """Print a notice as one sentence, once; other warnings as Python does."""
    if not issubclass(category, Notice):
        _show_python_warning(message, category, *location, **details)
    elif str(message) not in _shown_notices:
        print(f"bench: {message}", file=sys.stderr)
        _shown_notices.add(str(message))


_show_python_warning = warnings.showwarning
_shown_notices: set[str] = set()  # a run reads some results more than once


def main() -> None:
    """Run the command line; print an expected failure as one sentence, without traceback."""
    warnings.showwarning = _show_warning
    arguments = sys.argv[1:]
    try:
        app = program(NAMES if COMPLETION_VARIABLE in os.environ else arguments[:1])
        code = app(arguments, prog_name="bench", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:  # `bench list | head`
        _forget_output()
        sys.exit(1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _forget_output()
        verb = " ".join(["bench", *(name for name in arguments[:1] if name in NAMES)])
        sentence, code = _explain(error, verb)
        if sentence:
            print(f"bench: {visible(sentence)}", file=sys.stderr)
        elif not isinstance(error, typer.TyperException):  # help was printed
            raise
        sys.exit(code)


def _forget_output() -> None:
    """Discard pending output, so that flushing it at exit cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception, verb: str) -> tuple[str, int]:
    """Return a sentence on a failure of `verb` (empty if unexpected), and the exit code."""
    if isinstance(error, typer.TyperException):
        return usage_sentence(error, verb), 2
    if isinstance(error, BenchError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or 'the output'} cannot be written: {error.strerror}", 1
    if sentence := describe_refused_path(error):  # a path from the user that could not be opened
        return sentence, 2
    if isinstance(error, typer.Abort) and "marshal" in str(error.__cause__):  # an EOFError
        return INCOMPLETE_CODE, 1
    return memory_sentence(error), 1


def usage_sentence(error: typer.TyperException, verb: str) -> str:
    """Return a usage error as a sentence with the nearest name and help; "" if help was printed."""
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:
        return ""
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", "")
    if option and hasattr(error, "possibilities"):  # the command has no such option
        parameters = context.command.params if context else ()
        names = [name for parameter in parameters for name in parameter.opts]
        flags = [name.lstrip("-") for name in names if name.startswith("-")]
        flag_name = option.lstrip("-")
        hint = ""
        if flag_name in names:
            hint = f"; {flag_name} is an argument, not an option: give only its value"
        elif close_flags := get_close_matches(flag_name, flags, 1, 0.7):
            hint = f". Did you mean '--{close_flags[0]}'?"
        elif "points" in flags:
            hint = "; give a codec's settings with --points, as in jpeg.quality=10,30"
        message = f"no such option: {option}{hint}"
    command = context.command_path if context is not None else verb
    pointer = " See" if message.endswith("?") else "; see"
    return f"{message[0].lower()}{message[1:]}{pointer} `{command} --help`"
