from functools import partial
from math import inf

import pytest

from benchmark.compare.pictures import (
    MAX_CLOSE_RATIO,
    matched_rate,
    nearest_setting,
    rate_deviation,
)


def test_a_codec_is_shown_within_ten_percent_or_between_two_settings():
    nearest_index = partial(nearest_setting, max_ratio=MAX_CLOSE_RATIO, allow_between=True)
    assert nearest_index(0.3, [0.2, 0.3, 0.5]) == 1
    assert nearest_index(0.24, [0.2, 0.3, 0.5]) == 0  # by ratio: .3 is 1.25 times off
    assert nearest_index(0.25, [0.2, 0.3, 0.5]) == 1
    assert nearest_index(0.5 / 1.09, [0.5]) == nearest_index(0.5 * 1.09, [0.5]) == 0
    assert nearest_index(0.5 / 1.11, [0.5]) is nearest_index(0.5 * 1.11, [0.5]) is None
    assert nearest_index(0.2, [0.0, 0.2]) == 1  # an empty stream has a place too


@pytest.mark.parametrize(("within", "place"), [(1.1, None), (1.3, 0), (inf, 0)])
def test_the_nearest_setting_counts_up_to_a_ratio_of_rates(within, place):
    assert nearest_setting(0.25, [0.2, 0.35], within) == place
    assert nearest_setting(0.2 / 1.25, [0.35, 0.2], within) == (None if place is None else 1)
    assert nearest_setting(0.25, [], within) is None


@pytest.mark.parametrize(
    ("bpp", "mark"), [(0.2, ""), (0.218, ""), (0.224, "+12 %"), (0.1, "−50 %")]
)
def test_a_rate_beyond_ten_percent_is_marked(bpp, mark):
    assert rate_deviation(bpp, 0.2) == mark


def test_the_rate_is_the_lowest_that_all_settings_are_near():
    assert matched_rate({"a": [0.1, 0.3], "b": [0.2, 0.31], "c": [0.25, 0.29]}) == 0.29
    assert matched_rate({"a": [0.1, 0.3], "b": [0.101, 0.31]}) == 0.1
    assert matched_rate({"a": [0.1, 0.5], "b": [0.3]}) == 0.3  # nothing near: the least far apart
    assert matched_rate({"a": [2.0], "b": [4.0]}) == 2.0


def test_a_rate_at_which_all_codecs_are_shown_comes_before_a_usual_one():
    assert matched_rate({"a": [0.2, 0.4, 1.0], "b": [0.2, 0.4, 1.1], "own": [0.95, 4.0]}) == 0.95
