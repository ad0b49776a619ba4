"""Peak memory of a stretch of work: of this process and the programs it runs, or of its GPU.

On Linux the kernel keeps the most resident memory of a process and forgets it on demand, which
takes some hundredths of a millisecond. What a process had loaded before counts as well.
"""

import re
import sys
from pathlib import Path
from typing import Any

from benchmark.codec import Device
from benchmark.system.programs import most_of_programs

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
FORGET_PEAK = b"5"  # man 5 proc
MOST_RESIDENT = re.compile(rb"VmHWM:\s*(\d+) kB")


class PeakMemory:
    """The peak since this was made: of the process for "cpu", of its GPU for "cuda"."""

    def __init__(self, device: Device = "cpu") -> None:
        self._device, self._known = device, True
        if device == "cuda":
            if (cuda := _cuda()) is not None:
                cuda.reset_peak_memory_stats()
            return
        most_of_programs()
        try:
            CLEAR.write_bytes(FORGET_PEAK)
        except OSError:
            self._known = False

    def read_bytes(self) -> int | None:
        """Return the peak; None where the system does not say.

        Of programs that ran meanwhile, the largest counts if it is larger than this process.
        """
        if self._device == "cuda":
            cuda = _cuda()
            return None if cuda is None else int(cuda.max_memory_allocated())
        found = MOST_RESIDENT.search(STATUS.read_bytes()) if self._known else None
        return max(1024 * int(found[1]), most_of_programs()) if found else None


def _cuda() -> Any:
    """Return torch's module of the GPU where this process uses one."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
