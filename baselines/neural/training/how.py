"""Manner of training: options of the verb, and photographs. No torch.

None of it decides what is learned but the photographs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from benchmark.option import DEBUGGING, MANNER, option

if TYPE_CHECKING:
    from baselines.neural.training.recipe import Recipe
    from benchmark.codec import Pixels

Report = Mapping[str, Any]  # a line of the journal
Log = Callable[[Report], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Options of a call of the trainer, its photographs, and where it reports to."""

    max_minutes: float | None = option(
        None,
        MANNER,
        "Stop after this time with everything saved; the same command resumes.",
        least=0,
    )
    milestone_steps: int = option(
        0, MANNER, "Steps between states that are kept for good; 0: none.", least=0
    )
    quantised: bool = option(
        False, MANNER, "Export weights of ours, HiFiC and PQ-MIM as integers of 3 to 8 bits."
    )
    changed: bool = option(
        False, MANNER, "Resume though a file that the recipe names was edited meanwhile."
    )
    deterministic: bool = option(
        False, DEBUGGING, "Only kernels that give the same bits in every call; slower on a GPU."
    )
    no_graph: bool = option(
        False, DEBUGGING, "On a GPU, do each step anew, in place of a recorded CUDA graph."
    )
    data: tuple[Path, ...] = ()  # photographs, or folders of them
    held_out: frozenset[str] = frozenset()  # paths in `data` that are not trained on
    validation: "Sequence[Pixels]" = ()  # photographs, uint8 (height, width, 3)
    device: str = "auto"
    log: "Callable[[Path, Recipe], Log] | None" = None  # called with each run's folder
    data_name: str = ""  # of the photographs, for cards; empty: unknown
    command: str = ""  # that makes the same networks, for cards; empty: unknown
    begun: float = field(default_factory=monotonic)  # importing torch is part of the time

    @property
    def is_over(self) -> bool:
        """True where the minutes are over."""
        return self.max_minutes is not None and monotonic() > self.begun + 60 * self.max_minutes
