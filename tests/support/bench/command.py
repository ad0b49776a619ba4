"""The command `bench` in this process, as a terminal would show it."""

import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest.mock import patch

from benchmark.cli import main


def bench(*words: object, mixed: bool = False) -> subprocess.CompletedProcess[str]:
    """Return its exit code and output; its workers load what they need once for all calls.

    mixed: both streams are one, as in a terminal.
    """
    out, code = StringIO(), 0
    err = out if mixed else StringIO()
    argv = patch.object(sys, "argv", ["bench", *map(str, words)])
    with argv, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
