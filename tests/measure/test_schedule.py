"""Bundles and makespans: against the rule played through in time, and a list of sizes."""

import math
import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.measure.cells import PARTS, bundles, makespan

WHOLE = st.lists(st.integers(1, 20), min_size=1, max_size=7)


def event_by_event(durations, workers):
    """The same rule played through in time: at each moment the first idle worker takes the next."""
    waiting, ends, now = list(durations), {}, 0
    while waiting or ends:
        idle = [worker for worker in range(workers) if worker not in ends]
        while waiting and idle:
            ends[idle.pop(0)] = now + waiting.pop(0)
        now = min(ends.values())
        ends = {worker: end for worker, end in ends.items() if end > now}
    return now


@settings(max_examples=60)
@given(WHOLE, st.integers(1, 4))
def test_the_makespan_is_that_of_the_rule_played_through_in_time(durations, workers):
    result = makespan(durations, workers)
    assert result.seconds == event_by_event(durations, workers)
    assert result.ideal == pytest.approx(sum(durations) / workers, abs=1e-12)
    assert result.longest == max(durations)


class Work(NamedTuple):
    """What bundles are made of, as far as they look at it; None for unknown seconds."""

    image_sha256: object
    seconds: float | None
    number: object = 0
    num_pixels: int = 1


def of_cells(cells, workers):
    """Bundles of works, or of (image, seconds) pairs."""
    works = [Work(*cell) for cell in cells]
    return bundles(works, lambda work: work.seconds, workers)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.floats(0.001, 1000)), st.uuids()),
        max_size=40,
    ),
    st.integers(1, 8),
)
def test_every_task_is_in_one_bundle_of_its_image_and_bundles_are_small(cells, workers):
    result = of_cells(cells, workers)
    assert sorted(str(cell[:3]) for bundle in result for cell in bundle) == sorted(map(str, cells))
    known = math.fsum(c[1] for c in cells if c[1] is not None)
    for bundle in result:
        assert len({cell[0] for cell in bundle}) == 1
        if len(bundle) > 1 and bundle[0][1] is not None:
            share = known / workers
            assert math.fsum(c[1] for c in bundle) <= share / PARTS * (1 + 1e-9)


def test_unknown_tasks_come_first_and_then_the_longest_bundles():
    cells = [("a", 1.0), ("a", 50.0), ("b", None), ("b", 9.0)]
    result = [[work[:2] for work in bundle] for bundle in of_cells(cells, 1)]
    assert result == [[("b", None)], [("a", 50.0)], [("b", 9.0)], [("a", 1.0)]]


def test_many_short_cells_of_an_image_go_together_and_images_spread_over_the_workers():
    cells = [(image, 1.0) for image in range(10) for _ in range(100)]
    result = of_cells(cells, 1)
    assert [len(bundle) for bundle in result] == [25] * 40
    assert {len(bundle) for bundle in of_cells(cells, 25)} == {1}


def test_a_bundle_in_the_way_costs_a_fraction_of_a_share_where_costs_differ_by_five_orders():
    draw = random.Random(7)
    cells = [(draw.randrange(400), 10 ** draw.uniform(-2, 3)) for _ in range(4000)]
    for workers in (1, 8, 64):
        loads = [math.fsum(c[1] for c in bundle) for bundle in of_cells(cells, workers)]
        result = makespan(loads, workers)
        assert result.seconds <= result.ideal * (1 + 1 / PARTS) + result.longest
        assert result.excess < 0.05
