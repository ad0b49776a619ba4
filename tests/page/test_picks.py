"""Which pictures a page has, and in which order they are made."""

import pytest

from benchmark.errors import UsageError
from benchmark.page.pictures import in_order, limit_of

RATES = {"a": (0.1, 0.24, 0.6), "b": (0.2, 0.3, 0.5)}
SIZES = {0: ("large.png", 90), 1: ("small.png", 50), 2: ("medium.png", 70)}


def row_of(image, pixels, bpp):
    return {"image": image, "width_px": pixels, "height_px": 1, "bpp": bpp}


def candidates(**left_out):
    return {
        (codec, f"q={place}", number): row_of(*SIZES[number], rate)
        for codec, rates in RATES.items()
        for place, rate in enumerate(rates)
        for number in SIZES
        if number not in left_out.get(codec, ())
    }


def test_one_photograph_follows_the_other_the_smallest_first():
    order = in_order(candidates(), None)
    assert [number for _, _, number in order] == [1] * 6 + [2] * 6 + [0] * 6
    assert set(order) == candidates().keys()
    assert in_order(candidates(a=(1,)), None)[0][2] == 2  # with more pictures, though larger


def test_of_a_photograph_all_codecs_come_at_one_rate_before_the_next():
    order = [(codec, setting) for codec, setting, _ in in_order(candidates(), 1)]
    # At .25 bit per pixel, ratio by ratio: .24 of a, .3 of b (.25 / .2 is more than .3 / .25).
    assert order[:2] == [("a", "q=1"), ("b", "q=1")]
    assert order[2:4] == [("a", "q=2"), ("b", "q=2")]  # at .5
    assert order[4:] == [("a", "q=0"), ("b", "q=0")]  # at .125


def test_a_number_of_photographs_leaves_the_others_out():
    assert {number for _, _, number in in_order(candidates(), 2)} == {1, 2}
    assert in_order(candidates(), 0) == in_order({}, None) == []


def test_an_empty_stream_has_a_place_too():
    empty = {("a", "q=0", 0): row_of("x", 4, 0.0), ("a", "q=1", 0): row_of("x", 4, 0.2)}
    assert in_order(empty, None) == [("a", "q=1", 0), ("a", "q=0", 0)]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("all", (None, None)), ("0", (0, None)), ("3", (3, None)), ("14MB", (None, 14_000_000)),
        ("1.5 mb", (None, 1_500_000)),
        *((text, None) for text in ("some", "-1", "1.5", "", "MB", "3 photographs", "-2MB")),
    ],
)  # fmt: skip
def test_a_size_a_number_and_all_are_understood_and_nothing_else(text, limit):
    if limit is None:
        with pytest.raises(UsageError, match=r"14MB.*number of photographs nor 'all'"):
            limit_of(text)
    else:
        assert limit_of(text) == limit
