"""`python -m baselines.neural.training`: the trainer alone, for machines without the harness."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from baselines.neural.training.how import How
from benchmark.errors import BenchError
from benchmark.option import declared, kind_of

# Words of argparse for options by their types; the others are numbers or None.
KINDS: dict[Any, dict[str, Any]] = {bool: {"action": "store_true"}, int: {"type": int}}


def main() -> int:
    """Train; return 0 when the run is finished or its minutes are over, 1 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--data", required=True, type=Path, nargs="+")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--start", type=Path, help="checkpoint to begin with")
    parser.add_argument("--validation", nargs="*", default=[], help="photographs")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    for name, (parameter, option) in declared(How).items():
        flag = f"--{name.replace('_', '-')}"
        kind = KINDS.get(kind_of(parameter), {"type": float})
        parser.add_argument(flag, default=parameter.default, help=option.help, **kind)
    options = parser.parse_args()
    how = How(**{name: getattr(options, name) for name in declared(How)})
    from baselines.neural.training.photographs import validation_pictures
    from baselines.neural.training.recipe import load_recipe
    from baselines.neural.training.run import Run
    from baselines.neural.training.trainer import train

    try:
        run = Run(options.out, options.out, load_recipe(options.recipe))
        pictures = validation_pictures(options.validation)
        how = replace(how, data=tuple(options.data), validation=pictures, device=options.device)
        train(run if options.start is None else run.begun_with(options.start), how)
    except BenchError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
