"""The json files of a study: the organiser's key, and what one rater answered."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from benchmark.errors import UsageError
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import read_json

KEY = "key.json"  # beside the folder that raters get
PAGE = "page"
SOURCE, WORSE = -1, -2  # stimuli of a photograph itself, and of what is far worse
MOST_ANSWER_BYTES = 1 << 20
Count = Annotated[int, Meta(ge=0, le=1 << 20)]
Length = Annotated[int, Meta(ge=0, le=1 << 16)]


class Stimulus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A codec variant at one of the study's rates; in every image the pictures nearest to it."""

    system: str  # label of the codec variant
    level: str  # the rate that was asked for, or a published study's own name of it
    bpp: float | None = None  # mean over its pictures


class Picture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the page: a stimulus of an image, or its source."""

    file: str
    image: str
    stimulus: int = SOURCE
    setting: str = ""
    bpp: float | None = None
    cell: str = ""  # of the row


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question: which of two pictures is closer to the source; numbers of pictures."""

    source: Count
    first: Count
    second: Count
    better: Literal[0, 1, 2] = 0  # the known answer of catch and training trials


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts of a study that its raters must not know."""

    study: str
    dataset: str
    command: str
    seed: int
    stimuli: tuple[Stimulus, ...]
    pictures: tuple[Picture, ...]
    training: tuple[Trial, ...]
    lists: tuple[tuple[Trial, ...], ...]
    format: Literal[1] = 1


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer to one trial of a list."""

    trial: Count
    choice: Literal[1, 2]
    ms: Annotated[float, Meta(ge=0, le=1e9)]  # since all pictures were drawn
    flips: Count = 0  # changes of the picture that is seen


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about the screen; nothing of the person."""

    pixel_ratio: Annotated[float, Meta(gt=0, le=100)]
    screen: tuple[Length, Length]  # CSS pixels
    window: tuple[Length, Length]
    touch: bool


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers of one rater."""

    study: Annotated[str, Meta(max_length=64)]
    rater: Annotated[str, Meta(pattern=r"^[0-9a-f]{8,32}$")]
    order: Annotated[int, Meta(ge=1, le=1 << 20)]  # number of the list of questions
    device: Device
    answers: Annotated[list[Given], Meta(max_length=10_000)]
    format: Literal[1] = 1


def read_key(folder: Path) -> Key:
    """Return the key of a study's folder; raise `UsageError` for none."""
    try:
        key = read_json(folder / KEY, Key)
    except (OSError, BadFile) as error:
        raise UsageError(
            f"{folder / KEY} is no key of a study ({error}): `bench study new` writes one"
        ) from error
    trials = [*key.training, *(trial for of in key.lists for trial in of)]
    most = max((max(trial.source, trial.first, trial.second) for trial in trials), default=0)
    known = range(WORSE, len(key.stimuli))
    if most >= len(key.pictures) or any(p.stimulus not in known for p in key.pictures):
        raise UsageError(f"{folder / KEY} names pictures or codecs that it does not have")
    return key


def read_answers(path: Path, key: Key) -> Answers | str:
    """Return a rater's answers to a study, or why the file is left out."""
    try:
        result = read_json(path, Answers, MOST_ANSWER_BYTES)
    except (OSError, BadFile) as error:
        return f"no answers: {error}"
    if result.study != key.study:
        return f"of another study ({result.study})"
    if result.order > len(key.lists):
        return f"list {result.order} of {len(key.lists)}"
    trials = [answer.trial for answer in result.answers]
    if len({*trials}) < len(trials):
        return "a question answered twice"
    if any(trial >= len(key.lists[result.order - 1]) for trial in trials):
        return "answers to questions that its list does not have"
    return result
