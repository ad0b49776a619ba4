"""The command `bench`: one sub-command a verb. Imports nothing heavy, so that help is instant."""

import os
import sys

import typer

from baselines.commands.ablation import ablation
from baselines.commands.checkpoint import checkpoint
from baselines.commands.decode import decode
from baselines.commands.encode import encode
from baselines.commands.train import train
from benchmark.commands.audit import audit
from benchmark.commands.baseline import baseline
from benchmark.commands.check import check
from benchmark.commands.doctor import doctor
from benchmark.commands.fetch import fetch
from benchmark.commands.figures import figures
from benchmark.commands.list import list_names
from benchmark.commands.merge import merge
from benchmark.commands.pack import pack
from benchmark.commands.plan import plan
from benchmark.commands.published import published
from benchmark.commands.report import report
from benchmark.commands.rescore import rescore
from benchmark.commands.run import run
from benchmark.commands.tradeoff import tradeoff
from benchmark.errors import BenchError, Unavailable, UsageError

app = typer.Typer(
    name="bench",
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
app.command("check")(check)
app.command("encode")(encode)
app.command("decode")(decode)
app.command("train")(train)
app.command("ablation")(ablation)
app.add_typer(baseline, name="baseline")
app.add_typer(checkpoint, name="checkpoint")
app.add_typer(published, name="published")
app.add_typer(pack, name="pack")
app.add_typer(audit, name="audit")
app.add_typer(figures, name="figures")


def main() -> None:
    """Entry point; an explained failure is printed as its one sentence, without traceback."""
    try:
        app()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, (UsageError, Unavailable)) else 1)
    except BrokenPipeError:  # `bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
