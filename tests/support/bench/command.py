"""The command `bench` in this process: as a terminal would show it, or with its error raised."""

import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from subprocess import CompletedProcess
from unittest.mock import patch

from typer.testing import CliRunner

from benchmark.cli import main, program
from support.bench.verbs import BENCH


def bench(*words: object, code: int | None = None, mixed: bool = False) -> CompletedProcess[str]:
    """Return its exit code and output; its workers load what they need once for all calls.

    code: the exit code that it has to have. mixed: both streams are one, as in a terminal.
    """
    out, ended = StringIO(), 0
    err = out if mixed else StringIO()
    argv = patch.object(sys, "argv", ["bench", *map(str, words)])
    with argv, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            ended = int(end.code or 0)
    assert code in (None, ended), err.getvalue()
    if not {"-h", "--help"} & {*words}:  # which also name options without their values
        parse_commands(out.getvalue() + err.getvalue())
    return CompletedProcess(words, ended, out.getvalue(), err.getvalue())


def parse_commands(text):
    """Parse every command in back quotes with the shell's rules and the program's own parser."""
    for line in re.findall(r"`(bench [a-z][^`]+)`", text):
        command, path = BENCH, shlex.split(line.removesuffix(" --help"))[1:]
        while path and hasattr(command, "commands"):
            command = command.commands[path.pop(0)]
        if path:  # else the name of a verb
            command.make_context(line, path)


def invoked(*words, **options):
    """Return the result that typer gives a test, with the error if there is one."""
    arguments = [*map(str, words)]
    return CliRunner().invoke(program(arguments[:1]), arguments, **options)


def output_of(*words, code=0):
    """What the command prints, which has to end with this exit code; its error is raised."""
    result = invoked(*words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def verdict_line(text):
    """The line of `bench check` with its verdict, the first that it prints on standard output."""
    words = ("PASS (", "FAIL (", "UNDECIDED: ", "NO VERDICT (")
    return next(line for line in text.splitlines() if line.startswith(words))
