"""Which pictures a page has, and in which order they are made."""

import math

import pytest

from benchmark.errors import UsageError
from benchmark.show.page.pictures import decode_seconds, order_keys, parse_limit, select_keys

RATES = {"a": (0.1, 0.24, 0.6), "b": (0.2, 0.3, 0.5)}
SIZES = {0: ("large.png", 90), 1: ("small.png", 50), 2: ("medium.png", 70)}


def row_of(image, pixels, bpp):
    return {"image": image, "width_px": pixels, "height_px": 1, "bpp": bpp}


def candidates(**left_out):
    return {(codec, f"q={place}", number): row_of(*SIZES[number], rate)
            for codec, rates in RATES.items() for place, rate in enumerate(rates)
            for number in SIZES if number not in left_out.get(codec, ())}  # fmt: skip


def test_one_photograph_follows_the_other_the_smallest_first():
    order = order_keys(candidates())
    assert [number for _, _, number in order] == [1] * 6 + [2] * 6 + [0] * 6
    assert set(order) == candidates().keys()
    behind = [number for _, _, number in order_keys(candidates(), ["a"])][-9:]
    assert behind == [1] * 3 + [2] * 3 + [0] * 3
    assert order_keys(candidates(a=(1,)))[0][2] == 2  # with more pictures, though larger
    assert order_keys({}) == []


def test_of_a_photograph_all_codecs_come_at_one_rate_before_the_next():
    order = [(codec, setting) for codec, setting, _ in order_keys(candidates())[:6]]
    # At .25 bit per pixel, ratio by ratio: .24 of a, .3 of b (.25 / .2 is more than .3 / .25).
    assert order[:2] == [("a", "q=1"), ("b", "q=1")]
    assert order[2:4] == [("a", "q=2"), ("b", "q=2")]  # at .5
    assert order[4:] == [("a", "q=0"), ("b", "q=0")]  # at .125


def test_few_photographs_have_every_codec_at_three_rates_before_one_has_every_rate():
    rates = [0.05, 0.1, 0.24, 0.3, 0.6, 0.9, 1.5, 3.0]

    def many(count):
        return {(codec, f"q={place}", number): row_of(f"{number}.png", 90, rate) for codec in "ab"
                for place, rate in enumerate(rates) for number in range(count)}  # fmt: skip

    order = order_keys(many(5), ["a", "b"])
    assert [number for _, _, number in order[:10]] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len({key[1] for key in order[:10]}) == 1  # one rate, of both codecs
    spread = [number for _, _, number in order[: 3 * 10]]
    assert {spread.count(number) for number in range(5)} == {6}
    assert [number for _, _, number in order[30:40]] == [0] * 10
    assert [number for _, _, number in order_keys(many(7), ["a", "b"])[:16]] == [0] * 16


def test_an_empty_stream_has_a_place_too():
    empty = {("a", "q=0", 0): row_of("x", 4, 0.0), ("a", "q=1", 0): row_of("x", 4, 0.2)}
    assert order_keys(empty) == [("a", "q=1", 0), ("a", "q=0", 0)]


def test_bytes_and_seconds_end_the_pictures_and_slow_decoders_have_none():
    order = [("a", "q=0", 1), ("slow", "q=0", 1), ("a", "q=1", 1), ("a", "q=2", 1), ("a", "q=0", 2)]
    rows = dict.fromkeys(order, row_of("x", 200_000, 0.25))

    def select(most_bytes, seconds=0.5, maps=0.0):
        of_each = dict.fromkeys(order, seconds) | {("slow", "q=0", 1): 3.0}
        return select_keys(order, rows, of_each, lambda key: 100, most_bytes, maps)

    fast = [order[0], *order[2:]]
    assert select(math.inf) == select(math.inf, 900) == order
    assert select(10_000) == fast
    rows = dict.fromkeys(order, row_of("x", 800_000, 0.25))
    assert select(10_000, 7.9) == order[:3]  # 7.9 + 3 + 7.9 seconds of 20
    rows = dict.fromkeys(order, row_of("x", 200_000, 0.25))
    assert select(370) == fast[:3]  # an original of 100 bytes, three decoded of 90
    assert select(369) == fast[:2]
    assert select(559) == fast[:3]  # another original
    assert select(560) == fast
    assert select(560, maps=0.1) == fast[:3]  # which take a tenth of an original each


def test_seconds_are_those_of_the_row_else_typical_of_the_codec():
    row = row_of("x", 2_000_000, 0.2) | {"codec": "dirac", "variant": "steps=100", "device": "cpu"}
    row |= {"setting_value": 1.0, "decode_seconds": 0.25}
    assert decode_seconds(row, "cpu") == 0.25
    assert decode_seconds(row, "cuda") != 0.25
    row["decode_seconds"] = None
    assert decode_seconds(row, "cpu") > 20
    assert decode_seconds(row | {"codec": "mine.py:Mine", "variant": ""}, "cpu") == 2


@pytest.mark.parametrize("text", ["some", "-1", "3", "", "MB", "3 photographs", "-2MB"])
def test_a_size_and_all_are_understood_and_nothing_else(text):
    limits = [parse_limit(size) for size in ("all", "14MB", "1.5 mb")]
    assert limits == [math.inf, 14_000_000, 1_500_000]
    with pytest.raises(UsageError, match=r"14MB.* 'all'"):
        parse_limit(text)
