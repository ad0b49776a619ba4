"""`python -m baselines.neural.training`: the trainer alone, for machines without the harness."""

import argparse
import logging
from pathlib import Path
from time import monotonic


def main() -> int:
    """Train; return 0 when the run is finished or its minutes are over, 1 for a user's mistake."""
    begun = monotonic()  # importing torch is part of the time
    from baselines.neural.training.loop import Conditions
    from baselines.neural.training.photographs import validation_pictures
    from baselines.neural.training.recipe import load_recipe
    from baselines.neural.training.run import Subject, train
    from benchmark.errors import BenchError
    from benchmark.system.processes import passed_on

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--data", required=True, type=Path, nargs="+")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--start", type=Path, help="checkpoint to begin with")
    parser.add_argument("--validation", nargs="*", default=[], help="photographs")
    parser.add_argument("--max-minutes", type=float)
    parser.add_argument("--milestone-steps", type=int, default=0)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--no-graph", action="store_true", help="record no steps of a GPU")
    options = parser.parse_args()
    try:
        recipe = load_recipe(options.recipe)
        subject = Subject(recipe.architecture)
        if options.start is not None:
            subject = subject.begun_with(options.start, recipe.sizes)
        conditions = Conditions(
            validation_pictures(options.validation),
            options.device,
            None if options.max_minutes is None else begun + 60 * options.max_minutes,
            options.deterministic,
            graph=not options.no_graph,
            milestone_steps=options.milestone_steps,
        )
        with passed_on():
            train(subject, recipe, options.data, options.out, conditions)
    except BenchError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
