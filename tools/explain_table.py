"""Print how often `bench explain` names the right cause, over pictures and five codecs.

python -m tools.explain_table path/to/kodak
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.review.causes import verdicts

STATES = ("right", "undecided", "wrong")


def main(folder: Path) -> None:
    """Print a line for each cause, and one for all."""
    pictures = [
        np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))
    ]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for cause, _, verdict in verdicts(pictures):
        counts[cause][verdict] += 1
        counts["all"][verdict] += 1
    print("| what was done | right | undecided | wrong |\n|---|--:|--:|--:|")
    for cause in [*(name for name in counts if name != "all"), "all"]:
        print(f"| {cause} | {' | '.join(str(counts[cause][state]) for state in STATES)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
