"""Tasks to rows in the store: the middle of `bench run` and `bench rescore`; prints nothing."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmark.codec import Setting
from benchmark.measure.engine.local import Finished, Task, carry_out
from benchmark.measure.execute import Failed
from benchmark.measure.record import Recorder
from benchmark.measure.workbench import Conditions, Rescore
from benchmark.registry import CodecSpec
from benchmark.rows.store import Store

Engine = Callable[[Sequence[Task], Conditions], Iterator[Finished | None]]


class Failure(NamedTuple):
    """A cell without a result, for people to read."""

    cell: str  # "jpeg quality=30 kodim01.png"
    stage: str
    reason: str


class Progress(NamedTuple):
    """How far a run is, in cells."""

    finished: int
    failed: int


def run_tasks(
    tasks: Sequence[Task],
    conditions: Conditions,
    store: Store,
    keep_streams: bool,
    report: Callable[[Progress], None],
    engine: Engine = carry_out,
) -> list[Failure]:
    """Carry out cells or rescorings and store their rows; `report` is called about once a second.

    engine: processes of this machine, unless another is given; it yields as `carry_out` does.

    Whatever ends it (Ctrl-C, a full disk), the rows finished by then are written if they can be.
    """
    failures: list[Failure] = []
    finished = 0
    recorder = Recorder(store, keep_streams)
    try:
        for done in engine(tasks, conditions):
            if done is None:
                recorder.tick()
            else:
                finished += 1
                failures += _failures(done)
                if not isinstance(done.outcome, Failed):
                    recorder.add(done.outcome)
            report(Progress(finished, len(failures)))
    finally:
        recorder.close()
    return failures


def _failures(done: Finished) -> list[Failure]:
    if isinstance(done.outcome, Failed):
        assert isinstance(done.task, Rescore), "a failed cell is a row"
        row, failed = done.task.row, done.outcome
    elif done.outcome.row["status"] == "ok":
        return []
    else:
        row = done.outcome.row
        failed = Failed(row["stage"], row["reason"])
    label = CodecSpec.of(row["codec"], row["variant"]).label
    setting = Setting(row["setting_name"], row["setting_value"])
    return [Failure(f"{label} {setting} {row['image']}", failed.stage, failed.reason)]
