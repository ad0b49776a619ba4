"""What must hold of every input: pixels within bounds, or a refusal in one sentence; in bounds."""

import re
import resource
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from faults.fuzzing.target import Target

ROOT = Path(__file__).parents[3]
MOST_SECONDS = 5.0  # of processor time; what is usual is milliseconds
LONGEST_SENTENCE = 1000  # characters
UNEXPLAINED = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit): ")


class Verdict(NamedTuple):
    """Outcome of one input."""

    refused: bool
    finding: str = ""  # what does not hold; empty where everything does
    place: str = ""  # of a finding: two of the same place are one


def peak_bytes() -> int:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def judge(target: Target, data: bytes, most_seconds: float = MOST_SECONDS) -> Verdict:
    """Give the parser one input and say what came of it."""
    given = target.bytes_of(data)
    began, memory = time.process_time(), peak_bytes()
    refused, finding, place = False, "", ""
    try:
        pixels = target.parse(given)
        if pixels > target.most_pixels:
            finding = place = f"it decodes to {pixels} pixels, beyond {target.most_pixels}"
    except target.refusals as error:
        refused = True
        finding = place = no_sentence(str(error))
    except Exception as error:  # every kind of it is a finding
        place = f"{type(error).__name__} at {place_of(error)}"
        finding = f"{place}: {error}"
    seconds, more = time.process_time() - began, peak_bytes() - memory
    if not finding and seconds > most_seconds:
        place = f"it takes more than {most_seconds:g} s"
        finding = f"it takes {seconds:.1f} s"
    elif not finding and more > target.most_bytes:
        place = f"it takes more than {target.most_bytes >> 20} MiB"
        finding = f"it takes {more >> 20} MiB"
    return Verdict(refused, finding, place)


def no_sentence(text: str) -> str:
    """Return why a refusal's message is no sentence for a user; empty where it is one."""
    if not text.strip():
        return "a refusal without words"
    if "\n" in text.strip() or len(text) > LONGEST_SENTENCE:
        return "a refusal of more than a sentence"
    return "a refusal that is an error's name" if UNEXPLAINED.match(text) else ""


def place_of(error: BaseException) -> str:
    """Return the last line of this project that an error passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if Path(one.filename).is_relative_to(ROOT)] or frames
    name = Path(ours[-1].filename)
    return f"{name.relative_to(ROOT) if name.is_relative_to(ROOT) else name}:{ours[-1].lineno}"
