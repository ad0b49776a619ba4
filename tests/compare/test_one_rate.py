import pytest

from benchmark.compare.pictures import matched_rate, nearest, off_rate


def test_a_codec_is_shown_within_ten_percent_or_between_two_settings():
    assert nearest([0.2, 0.3, 0.5], 0.3) == 1
    assert nearest([0.2, 0.3, 0.5], 0.24) == 0  # by ratio: .3 is 1.25 times off
    assert nearest([0.2, 0.3, 0.5], 0.25) == 1
    assert nearest([0.5], 0.5 / 1.09) == nearest([0.5], 0.5 * 1.09) == 0
    assert nearest([0.5], 0.5 / 1.11) is nearest([0.5], 0.5 * 1.11) is None
    assert nearest([0.0, 0.2], 0.2) == 1  # an empty stream has a place too


@pytest.mark.parametrize(
    ("bpp", "said"), [(0.2, ""), (0.218, ""), (0.224, "+12 %"), (0.1, "−50 %")]
)
def test_a_rate_beyond_ten_percent_is_marked(bpp, said):
    assert off_rate(bpp, 0.2) == said


def test_the_rate_is_the_lowest_that_all_settings_are_near():
    assert matched_rate({"a": [0.1, 0.3], "b": [0.2, 0.31], "c": [0.25, 0.29]}) == 0.29
    assert matched_rate({"a": [0.1, 0.3], "b": [0.101, 0.31]}) == 0.1
    assert matched_rate({"a": [0.1, 0.5], "b": [0.3]}) == 0.3  # nothing near: the least far apart
    assert matched_rate({"a": [2.0], "b": [4.0]}) == 2.0


def test_a_rate_at_which_all_codecs_are_shown_comes_before_a_usual_one():
    assert matched_rate({"a": [0.2, 0.4, 1.0], "b": [0.2, 0.4, 1.1], "own": [0.95, 4.0]}) == 0.95
