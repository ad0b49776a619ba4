"""The program `bench`, also `python -m benchmark`; after Ctrl-C it prints one line."""

import io
import os
import signal
import sys

INTERRUPTED = 130  # exit code that shells give to a program ended by SIGINT


class _Messages(io.FileIO):
    """Standard error that drops what cannot be written: a run outlives its terminal."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _prepare_process() -> None:
    """Make standard streams usable if they are closed, full, or cannot encode `†`."""
    for descriptor in range(3):  # a closed descriptor would be reused by the next opened file
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # workers need it, too
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    messages = io.BufferedWriter(_Messages(2, "w", closefd=False))  # type: ignore[type-var]
    sys.stderr = io.TextIOWrapper(messages, encoding, "backslashreplace", line_buffering=True)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    # Figures are files of the same bytes everywhere: matplotlib reads neither the backend set by
    # a notebook's shell nor the user's settings file, which may not be readable.
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}


def main() -> None:
    """Load the command line and run it."""
    _prepare_process()
    try:
        folder = os.getcwd()
    except OSError:
        print("bench: the current folder was removed: cd to another folder", file=sys.stderr)
        sys.exit(2)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if sys.path[0] == folder != root:  # added by `python -m`: a random.py there would hide Python's
        del sys.path[0]
    try:
        from benchmark.errors import interrupt

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)
        from benchmark.cli import main as command

        command()
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
