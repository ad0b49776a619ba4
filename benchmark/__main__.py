"""The program `bench`, which `python -m benchmark` is too; Ctrl-C ends it in one line."""

import sys

INTERRUPTED = 130  # exit code of a program that SIGINT ended, as shells count it


def main() -> None:
    """Load the command line and run it."""
    try:
        from benchmark.cli import main as command

        command()
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
