"""The command `bench` in this process: words -> what it prints, or the error that it explains."""

from typer.testing import CliRunner

from support.bench.verbs import app


def bench(*words, code=0):
    """What the command prints; it has to end with the exit code `code`."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def verdict_line(text):
    """The line of `bench check` with its verdict, the first that it prints on standard output."""
    words = ("PASS (", "FAIL (", "UNDECIDED: ", "NO VERDICT (")
    return next(line for line in text.splitlines() if line.startswith(words))
