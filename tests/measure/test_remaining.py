"""Estimates of the remaining time of a run.

Recorded runs are replayed and the estimates compared with the real time.
tests/measure/recorded_runs has real runs on two cores shared with other work: lines "task", codec,
setting, pixels, expected seconds; "start", number of the task, second; "end", number, second,
seconds of coding.
"""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.commands import output
from benchmark.measure.cells import Failed, Measured
from benchmark.measure.local import Finished, Started
from benchmark.measure.loop import run_tasks
from benchmark.measure.record import Progress
from benchmark.measure.remaining import Pace
from benchmark.rows.store import Store
from support.codecs.files import cell_of

# Seconds until the first informative cell ended; on a busy machine, workers start in ten seconds.
STARTED = {"first_run": 17, "slow_and_fast_codecs": 52, "slow_user_codec": 10}


def cell(codec, quality, pixels):
    return cell_of(codec, quality, pixels=pixels)


def coded(task, seconds):
    return Finished(task, Measured({"encode_seconds": 0.0, "decode_seconds": seconds}, None))


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def replay(path):
    """Return (second, estimated remaining seconds, real remaining seconds) for each second."""
    tasks, expected, events = [], {}, []
    with path.open(newline="") as file:
        for kind, *fields in csv.reader(file):
            if kind == "task":
                codec, setting, pixels, seconds = fields
                tasks.append(cell(codec, float(setting), int(pixels)))
                expected[tasks[-1].key] = float(seconds) if seconds else None
            elif kind == "start":
                events.append((float(fields[1]), Started(tasks[int(fields[0])])))
            elif kind == "end":
                events.append((float(fields[1]), coded(tasks[int(fields[0])], float(fields[2]))))
    clock = Clock()
    pace = Pace(tasks, lambda task: expected[task.key], clock)
    end, result = events[-1][0], []
    for second in range(int(end)):
        while events and events[0][0] <= second:
            clock.now, event = events.pop(0)
            pace.process(event)
        clock.now = float(second)
        result.append((second, pace.remaining_seconds(), end - second))
    return result


@pytest.mark.parametrize("name", STARTED)
def test_from_the_tenth_second_on_the_time_left_is_right_within_a_factor_of_two(name):
    """Three seconds of difference do not count."""
    result = replay(Path(__file__).parent / "recorded_runs" / f"{name}.csv")
    for second, reported, remaining in result:
        if reported is not None and second >= 10 and abs(reported - remaining) > 3:
            assert remaining / 2 <= reported <= 2 * remaining, (second, reported, remaining)
    assert max(second for second, reported, _ in result if reported is None) <= STARTED[name] + 1


def make_pace(*cells, expected):
    """Return a pace, its clock, and functions that begin and end a cell by its number."""
    tasks, clock = [cell(*arguments) for arguments in cells], Clock()
    pace = Pace(tasks, lambda task: expected.get(task.codec.name), clock)

    def begin(*numbers):
        for number in numbers:
            pace.process(Started(tasks[number]))

    def end(number, seconds, coding):
        clock.now = seconds
        pace.process(coded(tasks[number], coding))

    return pace, clock, begin, end


JPEG, SLOW = ("jpeg", 50, 1000), ("slow", 50, 1000)


def test_cells_cost_what_those_of_their_codec_did_and_workers_share_them():
    """Coding takes 3.5 s where 1 s was expected, and scoring half a second; 3.75 s on average."""
    pace, clock, begin, end = make_pace(*[JPEG] * 9, expected={"jpeg": 1.0})
    begin(0, 1)
    end(0, 4.0, 3.5)
    begin(2)
    end(1, 4.0, 3.5)
    begin(3)
    end(2, 8.0, 3.5)
    end(3, 8.0, 3.5)
    begin(4, 5)
    clock.now = 9.0
    assert pace.remaining_seconds() == pytest.approx((3 * 3.75 + 2 * 2.75) / 2, rel=1e-3)


def test_a_codec_that_was_not_measured_is_expected_as_late_as_others_and_scored_as_they_are():
    """One codec is four times as slow as expected, so twice as slow is expected of another."""
    pace, _, begin, end = make_pace(JPEG, JPEG, SLOW, expected={"jpeg": 1.0, "slow": 5.0})
    begin(0)
    end(0, 4.0, 4.0)
    begin(1)
    end(1, 8.001, 4.0)
    begin(2)
    assert pace.remaining_seconds() == pytest.approx(10.0, rel=1e-3)


@pytest.mark.parametrize(
    ("coding", "remaining"), [(5.0, ((5 + 0.25) / 1.25) ** 0.5 * 4 * 1.25), (3.0, None)]
)
def test_coding_follows_the_pixels_and_a_quick_first_cell_says_nothing(coding, remaining):
    """A megapixel is expected to take 1 s where nothing is known, and .25 s of scoring."""
    pace, _, begin, end = make_pace(("jpeg", 50, 1e6), ("new", 50, 4e6), expected={"jpeg": 1.0})
    begin(0)
    assert pace.remaining_seconds() is None
    end(0, 40.0, coding)
    assert pace.remaining_seconds() == (remaining and pytest.approx(remaining, rel=1e-12))


def test_nothing_ends_before_the_longest_running_cell():
    pace, clock, begin, end = make_pace(*[SLOW] * 3, expected={})
    begin(0)
    end(0, 60.0, 60.0)
    begin(1)
    clock.now = 119.0
    begin(2)
    assert pace.remaining_seconds() == pytest.approx(60.0, abs=1e-3)


def test_cells_without_a_worker_and_dead_workers_leave_no_time():
    tasks = [cell("jpeg", 50, 1000), cell("jpeg", 60, 1000)]
    clock = Clock()
    pace = Pace(tasks, lambda task: None, clock)
    pace.process(Started(tasks[0]))
    clock.now = 9.0
    pace.process(Finished(tasks[0], Failed("worker", "the process ended")))
    assert pace.remaining_seconds() == pytest.approx(9.0, rel=0.01)
    clock.now = 12.0
    pace.process(Finished(tasks[1], Failed("load", "no node can run it")))
    assert pace.remaining_seconds() == 0.0


def test_lines_say_the_time_left_once_known_and_the_speed_of_ended_cells(capsys, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(output, "monotonic", clock)
    with output.show_progress("measuring", 40) as update:
        for clock.now, progress in [
            (2.0, Progress(1, 0, 100.0)),
            (12.0, Progress(1, 0, current_cell="vtm qp=32, a.png")),
            (40.0, Progress(2, 0, 50.0)),
            (75.0, Progress(30, 1, 600.0, "jpeg quality=5, b.png")),
            (150.0, Progress(30, 1)),  # only the number of tasks is known
        ]:
            update(progress)
    assert capsys.readouterr().err.splitlines() == [
        "measuring: 1 of 40, 5 a minute, vtm qp=32, a.png",
        "measuring: 30 of 40, 24 a minute, 1 failed, about 10 min left, jpeg quality=5, b.png",
        "measuring: 30 of 40, 12 a minute, 1 failed, about 50 s left",
    ]


def test_the_last_cell_is_named_with_codec_setting_and_image(tmp_path):
    tasks, reports = [cell("jpeg", 50, 1000), cell("jpeg", 60, 1000)], []

    def engine(tasks, _):
        yield Started(tasks[1])
        yield Finished(tasks[1], Failed("load", "it does not start"))

    conditions = SimpleNamespace(run="r")
    run_tasks(tasks, conditions, Store(tmp_path / "set"), True, reports.append, engine)
    assert [progress.current_cell for progress in reports] == ["jpeg quality=60, a.png"] * 2
