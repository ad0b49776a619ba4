"""The command `bench`: one sub-command per verb. Imports nothing heavy, so that help is instant."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from benchmark.commands.analysing.baseline import baseline
from benchmark.commands.analysing.check import check
from benchmark.commands.analysing.figures import figures
from benchmark.commands.analysing.match import match
from benchmark.commands.analysing.published import published
from benchmark.commands.analysing.report import report
from benchmark.commands.analysing.tradeoff import tradeoff
from benchmark.commands.exchanging.audit import audit
from benchmark.commands.exchanging.merge import merge
from benchmark.commands.exchanging.pack import pack, tools
from benchmark.commands.exchanging.pictures import export_images
from benchmark.commands.measuring.fetch import fetch
from benchmark.commands.measuring.inventory import doctor, list_names
from benchmark.commands.measuring.plan import plan
from benchmark.commands.measuring.run import rescore, run
from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.registry import COMMANDS, load_command

# Earlier spellings of sub-commands and options, by command; they work, with a line that says so.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "run": {"--attest": "--verify"},
    "report": {"--attested-only": "--verified-only"},
    "figures": {"--attested-only": "--verified-only"},
    "audit": {"ceiling": "colour-round-trip"},
}


class BenchGroup(TyperGroup):
    """The sub-commands of the harness, and those of `registry.COMMANDS`, imported when they run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of the first argument; a command of contenders is imported here."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            brought, holder = load_command(name), typer.Typer()
            if isinstance(brought, typer.Typer):
                holder.add_typer(brought, name=name)
            else:
                holder.command(name)(brought)
            command = typer.main.get_group(holder).commands[name]
        return name, command, rest


app = typer.Typer(
    name="bench",
    cls=BenchGroup,
    help="Rate, distortion and realism of image codecs, measured from real bitstreams.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run)
app.command("plan")(plan)
app.command("list")(list_names)
app.command("doctor")(doctor)
app.command("fetch")(fetch)
app.command("rescore")(rescore)
app.command("report")(report)
app.command("merge")(merge)
app.command("tradeoff")(tradeoff)
app.command("match")(match)
app.command("check")(check)
for _name, _brought in COMMANDS.items():  # help alone; `BenchGroup` imports what is behind it
    app.command(_name, help=_brought.help)(lambda: None)
app.add_typer(baseline, name="baseline")
app.add_typer(published, name="published")
app.add_typer(pack, name="pack")
tools.command("images")(export_images)
app.add_typer(tools, name="export")
app.command("export-images", hidden=True)(export_images)  # as it is often typed
app.add_typer(audit, name="audit")
app.add_typer(figures, name="figures")


def with_new_names(words: Sequence[str]) -> list[str]:
    """Return command-line words in their present spelling; print a line for each earlier one."""
    renamed = RENAMED.get(words[0], {}) if words else {}
    present = []
    for word in words:
        name, equals, value = word.partition("=")
        if name in renamed:
            print(f"bench: {name} is now called {renamed[name]}", file=sys.stderr)
            name = renamed[name]
        present.append(name + equals + value)
    return present


def main() -> None:
    """Run the command line; an explained failure is printed as one sentence, without traceback."""
    try:
        app(with_new_names(sys.argv[1:]))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, (UsageError, Unavailable)) else 1)
    except BrokenPipeError:  # `bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
