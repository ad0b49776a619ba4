"""JSON files of a study: the organiser's key, and raters' answers."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from benchmark.errors import UsageError
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import read_json

KEY = "key.json"  # next to the folder for raters
PAGE = "page"
SOURCE, WORSE = -1, -2  # stimuli: the photograph, and the much worse picture of catch trials
MAX_ANSWER_BYTES = 1 << 20
Count = Annotated[int, Meta(ge=0, le=1 << 20)]
Length = Annotated[int, Meta(ge=0, le=1 << 16)]


class Stimulus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Codec variant at one of the study's rates: its pictures nearest to this rate."""

    system: str  # label of the codec variant
    level: str  # requested rate, or a published study's name for it
    bpp: float | None = None  # mean over its pictures


class PagePicture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """File of the page: a stimulus of an image, or its source."""

    file: str
    image: str
    stimulus: int = SOURCE
    setting: str = ""
    bpp: float | None = None
    cell: str = ""  # cell of the row


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Question which of two pictures is closer to the source; fields are picture numbers."""

    source: Count
    first: Count
    second: Count
    better: Literal[0, 1, 2] = 0  # correct answer in catch and training trials; 0: none


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts of a study that its raters must not know."""

    study: str
    dataset: str
    command: str
    seed: int
    stimuli: tuple[Stimulus, ...]
    pictures: tuple[PagePicture, ...]
    training: tuple[Trial, ...]
    lists: tuple[tuple[Trial, ...], ...]
    format: Literal[1] = 1


class TrialAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer to a trial of a list."""

    trial: Count
    choice: Literal[1, 2]
    ms: Annotated[float, Meta(ge=0, le=1e9)]  # from the time when all pictures are drawn
    flips: Count = 0  # number of switches between pictures


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about the rater's screen, but not about the person."""

    pixel_ratio: Annotated[float, Meta(gt=0, le=100)]
    screen: tuple[Length, Length]  # CSS pixels
    window: tuple[Length, Length]
    touch: bool


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers of one rater."""

    study: Annotated[str, Meta(max_length=64)]
    rater: Annotated[str, Meta(pattern=r"^[0-9a-f]{8,32}$")]
    order: Annotated[int, Meta(ge=1, le=1 << 20)]  # number of the rater's list, from 1
    device: Device
    answers: Annotated[list[TrialAnswer], Meta(max_length=10_000)]
    format: Literal[1] = 1


def read_key(folder: Path) -> Key:
    """Read the key of a study's folder; raise `UsageError` if there is none."""
    try:
        key = read_json(folder / KEY, Key)
    except (OSError, BadFile) as error:
        raise UsageError(
            f"{folder / KEY} is not a study's key ({error}): write one with `bench study new`"
        ) from error
    trials = [*key.training, *(trial for trials_of_list in key.lists for trial in trials_of_list)]
    last_picture = max(
        (max(trial.source, trial.first, trial.second) for trial in trials), default=0
    )
    stimuli = range(WORSE, len(key.stimuli))
    if last_picture >= len(key.pictures) or any(p.stimulus not in stimuli for p in key.pictures):
        raise UsageError(
            f"{folder / KEY} refers to pictures or codecs that it does not list: replace it"
        )
    return key


def read_answers(path: Path, key: Key) -> Answers | str:
    """Return a rater's answers to a study, or the reason why the file is excluded."""
    try:
        answers = read_json(path, Answers, MAX_ANSWER_BYTES)
    except (OSError, BadFile) as error:
        return f"not a file of answers: {error}"
    if answers.study != key.study:
        return f"answers to another study ({answers.study})"
    if answers.order > len(key.lists):
        return f"answers to list {answers.order}, but the number of lists is {len(key.lists)}"
    trials = [answer.trial for answer in answers.answers]
    if len({*trials}) < len(trials):
        return "a question is answered twice"
    if any(trial >= len(key.lists[answers.order - 1]) for trial in trials):
        return "answers to questions that are not in the list"
    return answers
