"""Options of a training call; only its photographs affect the weights. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from benchmark.option import DEBUGGING, MANNER, option

if TYPE_CHECKING:
    from baselines.neural.training.recipe import Recipe
    from benchmark.codec import Pixels

Report = Mapping[str, Any]  # a line of a run's journal
Log = Callable[[Report], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Options of a call of the trainer, its photographs and its log."""

    max_minutes: float | None = option(
        None,
        MANNER,
        "Stop after this many minutes, saving everything; the same command resumes.",
        minimum=0,
    )
    milestone_steps: int = option(
        0, MANNER, "Keep a copy of the training state every N steps; 0: never.", minimum=0
    )
    quantised: bool = option(
        False,
        MANNER,
        "Export weights as integers of 3 to 8 bits (`ours`, `hific` and `pqmim` only).",
    )
    changed: bool = option(
        False, MANNER, "Resume even if a Python file named in the recipe was edited."
    )
    deterministic: bool = option(
        False, DEBUGGING, "Use only deterministic kernels, which are slower on a GPU."
    )
    no_graph: bool = option(False, DEBUGGING, "On a GPU, run each step without a CUDA graph.")
    data: tuple[Path, ...] = ()  # photographs, or folders of them
    held_out: frozenset[str] = frozenset()  # paths in `data` that training does not use
    validation: "Sequence[Pixels]" = ()  # photographs, uint8 (height, width, 3)
    device: str = "auto"
    log: "Callable[[Path, Recipe], Log] | None" = None  # called with each run's folder
    data_name: str = ""  # name of the photographs, for cards; empty: unknown
    command: str = ""  # command that makes the same networks, for cards; empty: unknown
    start_time: float = field(default_factory=monotonic)  # read before torch is imported

    @property
    def is_out_of_time(self) -> bool:
        """Whether `max_minutes` have passed since `start_time`."""
        return (
            self.max_minutes is not None and monotonic() > self.start_time + 60 * self.max_minutes
        )
