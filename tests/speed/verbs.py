"""Compare short commands over Kodak's bundled rows with those of another checkout.

    python tests/speed/verbs.py --before FOLDER [--rounds 5] [--only WORD]

FOLDER is a checkout that is set up, such as a clone at an earlier commit. Processor time with all
that a command starts; each round runs both, one after the other, and the median of the rounds'
ratios counts, so that other work on the machine affects both alike. Exit code 1 where a target is
missed.
"""

import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from harness import BENCH, ROOT, clock, options, run, verdict

RESULTS = ROOT / "results"
COMMANDS = {  # each with its target: a share of the time at 32e03e32
    "report": (f"report --dataset kodak --results {RESULTS} --out OUT", 0.5),
    "figures rd": (f"figures rd --dataset kodak --results {RESULTS} --out OUT", 0.65),
    "rank": (f"rank --dataset kodak --results {RESULTS}", 0.65),
    "bd": (f"bd VTM:CompressAI tcm --results {RESULTS}", 0.65),
}


def main() -> None:
    """Run each command in both checkouts, in turns."""
    arguments = options(__doc__, before="", rounds=5, only="")
    if not arguments.before:
        sys.exit("name another checkout by --before")
    old_bench = str(Path(arguments.before, ".venv/bin/bench").absolute())
    with TemporaryDirectory() as folder:
        for name, (command, limit) in COMMANDS.items():
            if arguments.only not in name:
                continue
            ratios = []
            for _ in range(arguments.rounds):
                words = command.replace("OUT", f"{folder}/out").split()
                old_seconds = clock([old_bench, *words]).cpu_seconds
                new_seconds = clock([BENCH, *words]).cpu_seconds
                ratios.append(new_seconds / old_seconds)
                print(f"{name}: {old_seconds:.2f} s before, {new_seconds:.2f} s now", flush=True)
            verdict(f"{name}, now / before, processor time", median(ratios), limit)


if __name__ == "__main__":
    run(main)
