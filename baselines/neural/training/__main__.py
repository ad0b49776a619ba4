"""`python -m baselines.neural.training`: the trainer alone, for machines without the harness."""

import argparse
import logging
from pathlib import Path
from time import monotonic

from baselines.neural.training.loop import Conditions
from baselines.neural.training.photograph_files import read_photograph
from baselines.neural.training.recipe import load_recipe
from baselines.neural.training.run import Subject, train
from benchmark.errors import BenchError
from benchmark.system.processes import passed_on


def main() -> int:
    """Train; return 0 when the run is finished or its minutes are over, 1 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--data", required=True, type=Path, nargs="+")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--validation", type=Path, nargs="*", default=[], help="photographs")
    parser.add_argument("--max-minutes", type=float)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--deterministic", action="store_true")
    options = parser.parse_args()
    minutes = options.max_minutes
    deadline = None if minutes is None else monotonic() + 60 * minutes
    try:
        recipe = load_recipe(options.recipe)
        validation = [read_photograph(path) for path in options.validation]
        conditions = Conditions(validation, options.device, deadline, options.deterministic)
        with passed_on():
            train(Subject(recipe.architecture), recipe, options.data, options.out, conditions)
    except BenchError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
