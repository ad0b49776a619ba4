"""The command `bench`: one sub-command per verb. Imports nothing heavy, so that help is instant."""

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from benchmark.commands.audit import audit
from benchmark.commands.check import check
from benchmark.commands.exchange import export_images, merge, pack, tools
from benchmark.commands.fetch import fetch
from benchmark.commands.figures import figures
from benchmark.commands.inventory import doctor, list_names
from benchmark.commands.match import match
from benchmark.commands.references import baseline, published
from benchmark.commands.report import report
from benchmark.commands.run import plan, rescore, run
from benchmark.commands.tradeoff import tradeoff
from benchmark.commands.verb import Verb
from benchmark.errors import (
    BenchError,
    DamagedResults,
    Unavailable,
    UsageError,
    memory_sentence,
    refused_path,
)
from benchmark.registry import COMMANDS, load_command
from benchmark.system.text import visible

# The harness's verbs by their panel of `bench --help`, in the order in which a user needs them.
VERBS: Mapping[str, Mapping[str, Callable[..., None] | typer.Typer]] = {
    "Measure": {
        "run": run,
        "plan": plan,
        "list": list_names,
        "doctor": doctor,
        "fetch": fetch,
        "rescore": rescore,
    },
    "Analyse": {
        "report": report,
        "figures": figures,
        "tradeoff": tradeoff,
        "match": match,
        "check": check,
        "baseline": baseline,
        "published": published,
    },
    "Exchange": {"pack": pack, "export": tools, "merge": merge, "audit": audit},
}
# Python does not notice that the disk is full while it keeps the compiled form of a file.
INCOMPLETE_CODE = (
    "a file that Python compiled earlier is incomplete, as a full disk leaves it: delete the "
    "folders __pycache__ of the project and of its .venv, and run the command again"
)


class BenchGroup(TyperGroup):
    """The sub-commands of the harness, and those of `registry.COMMANDS`, imported when they run."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the verbs in the order of their tables."""
        return [name for verbs in (*VERBS.values(), COMMANDS) for name in verbs]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of the first argument; a command of contenders is imported here."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            holder = typer.Typer()
            _add(holder, name, load_command(name), COMMANDS[name].panel)
            command = typer.main.get_group(holder).commands[name]
        return name, command, rest


def _add(
    group: typer.Typer, name: str, verb: Callable[..., None] | typer.Typer, panel: str
) -> None:
    if isinstance(verb, typer.Typer):
        group.add_typer(verb, name=name, rich_help_panel=panel)
    else:
        group.command(name, cls=Verb, rich_help_panel=panel)(verb)


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


for _panel, _verbs in VERBS.items():
    for _name, _verb in _verbs.items():
        _add(app, _name, _verb, _panel)
for _name, _brought in COMMANDS.items():  # help alone; `BenchGroup` imports what is behind it
    app.command(_name, help=_brought.help, rich_help_panel=_brought.panel)(lambda: None)
tools.command("images")(export_images)
app.command("export-images", cls=Verb, hidden=True)(export_images)  # as it is often typed


def _show_warning(
    message: Warning | str, category: type[Warning], *place: Any, **more: Any
) -> None:
    """Print a warning on results as one sentence, once; others as Python does."""
    if issubclass(category, DamagedResults):
        if str(message) not in _shown:
            print(f"bench: {message}", file=sys.stderr)
        _shown.add(str(message))
    else:
        _python_shows(message, category, *place, **more)


_python_shows = warnings.showwarning
_shown: set[str] = set()  # sentences on results; a run reads some of them more than once


def main() -> None:
    """Run the command line; an explained failure is printed as one sentence, without traceback."""
    warnings.showwarning = _show_warning
    try:
        sys.exit(app(sys.argv[1:], prog_name="bench", standalone_mode=False))
    except TyperException as error:
        if sentence := usage_sentence(error):
            print(f"bench: {visible(sentence)}", file=sys.stderr)
        sys.exit(2)
    except BenchError as error:
        print(f"bench: {visible(str(error))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, (UsageError, Unavailable)) else 1)
    except Abort as error:  # typer's name for an EOFError
        if "marshal" not in str(error.__cause__):
            raise
        print(f"bench: {INCOMPLETE_CODE}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if sentence := refused_path(error):  # that the user gave, looked up where it is needed
            print(f"bench: {visible(sentence)}", file=sys.stderr)
            sys.exit(2)
        if sentence := memory_sentence(error):
            print(f"bench: {sentence}", file=sys.stderr)
            sys.exit(1)
        raise


def usage_sentence(error: TyperException) -> str:
    """Return a mistake on the command line as one sentence; empty where help was printed instead.

    It is typer's message with the nearest name, and the help to read.
    """
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:
        return ""
    if near := getattr(error, "possibilities", None):
        message = f"{error.message}. Did you mean {near[0]!r}?"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "bench"
    see = " See" if message.endswith("?") else "; see"
    return f"{message[0].lower()}{message[1:]}{see} `{command} --help`"
