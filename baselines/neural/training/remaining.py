"""Work that runs have before them, and about how long it takes by the speeds in their journals."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

from baselines.neural.training.loop.journal import JOURNAL, Journal
from baselines.neural.training.recipe import Stage
from baselines.neural.training.session import TrainingRun, position_of


def steps_left(runs: Sequence[TrainingRun]) -> int:
    """Return the number of steps that runs have before them, by their journals."""
    return sum(run.steps - position_of(run).run_step for run in runs)


def seconds_left(runs: Sequence[TrainingRun], timed: Sequence[TrainingRun]) -> float | None:
    """Return about how long `runs` still train, by the speeds of `timed`; None without any.

    A stage takes as long for a crop as stages of the same architecture and objective, with or
    without LPIPS and a GAN alike, took so far; else as its architecture did, else as all did.
    Reading photographs, validating and making checkpoints are not counted.
    """
    seconds: dict[Hashable, float] = defaultdict(float)
    crops: dict[Hashable, int] = defaultdict(int)
    for run in timed:
        for stage, seen, lasted in _reports(run):
            for group in _groups(run, stage):
                seconds[group] += lasted
                crops[group] += seen
    if not crops:
        return None
    total = 0.0
    for run in runs:
        for stage, count in _crops_left(run):
            group = next(one for one in _groups(run, stage) if one in crops)
            total += count * seconds[group] / crops[group]
    return total


def _groups(run: TrainingRun, stage: Stage) -> tuple[Hashable, ...]:
    """Return the groups whose speeds a stage has, the most alike first, all stages last."""
    architecture = run.subject.architecture
    costly = [getattr(stage, name, None) for name in ("has_lpips", "has_gan")]
    return (architecture, stage.kind, *costly), architecture, ""


def _reports(run: TrainingRun) -> Iterator[tuple[Stage, int, float]]:
    """Yield the stage, crops and seconds of each report of a run."""
    stages, last = run.recipe.stages, (0, 0)
    for entry in Journal(run.folder / JOURNAL).entries():
        index, step = entry["stage"], entry["step"]
        if index >= len(stages):  # of another run, which the trainer will refuse
            return
        steps = step - (last[1] if last[0] == index else 0)
        seen, last = steps * stages[index].batch, (index, step)
        yield stages[index], seen, seen / entry["crops_per_second"]


def _crops_left(run: TrainingRun) -> Iterator[tuple[Stage, int]]:
    """Yield each stage that is not finished with the crops that it still takes."""
    done = position_of(run).run_step
    for index, stage in enumerate(run.recipe.stages):
        steps = stage.steps - min(max(done - run.recipe.steps_before(index), 0), stage.steps)
        if steps:
            yield stage, steps * stage.batch
