"""How often `bench explain` is right: curves of real pictures with a known cause."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from skimage import data

from support.quick import quick
from support.review.causes import verdicts

SIDE_PX = 160


def crops():
    """Return eight crops of three photographs."""
    for picture in (data.astronaut(), data.coffee(), data.cat()):
        height, width = (size // SIDE_PX for size in picture.shape[:2])
        for y, x in list(product(range(height), range(width)))[:3]:
            yield np.ascontiguousarray(
                picture[y * SIDE_PX : (y + 1) * SIDE_PX, x * SIDE_PX : (x + 1) * SIDE_PX]
            )


@pytest.mark.parametrize("colours", quick([True, False], False), ids=["with pictures", "without"])
def test_at_most_two_in_a_hundred_causes_are_wrong_and_most_are_right(colours):
    counts = Counter(verdict for *_, verdict in verdicts([*crops()][:8], colours))
    assert counts["wrong"] <= 0.02 * counts.total()
    assert counts["right"] >= 0.6 * counts.total()
