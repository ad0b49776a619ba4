"""Write a study's folder: the page that raters get, and beside it the key that they do not.

out/key.json          codecs, settings, known answers, every rater's questions
   /page/index.html   the page, which needs neither server nor network
   /page/*.png        pictures, named at random
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from PIL.Image import fromarray
from PIL.Image import open as open_image

from benchmark.codec import Pixels
from benchmark.compare.study.design import (
    TRAINING,
    Pair,
    at_rates,
    catches_for,
    pairs_of,
    question_lists,
    with_catches,
)
from benchmark.compare.study.form import KEY, PAGE, SOURCE, WORSE, Key, Picture, Stimulus, Trial
from benchmark.datasets.image import read_image
from benchmark.errors import UsageError
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import reconstruct_all
from benchmark.measure.select import sources_of
from benchmark.rows.packs.contents import DatasetContents
from benchmark.rows.stored import named_images, stored_dataset
from benchmark.show.page.document import study_html
from benchmark.show.paper.crops import most_different, rows_with_streams
from benchmark.show.paper.results import PaperResults
from benchmark.system.atomic import write_files
from benchmark.system.machine import cores
from benchmark.system.text import counted

BATCH_PX = 100_000_000  # of decoded pictures that are in memory
CATCH_QUALITY = 4  # of the JPEG that is worse than its source in every known answer
CATCH_IMAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRequest:
    """Choices of a new study."""

    results: Path
    dataset: str
    codecs: tuple[str, ...]
    rates: tuple[float, ...]  # bpp
    raters: int
    each: int  # questions of a rater, those of known answer not counted
    crop: int  # px of a side; 0: whole images
    images: tuple[str, ...] = ()
    seed: int = 0
    post: str = ""  # URL that answers are posted to
    data_dir: Path | None = None
    command: str = ""


class Plan(NamedTuple):
    """Content that a study can show: stimuli, images, rows and the pairs of them."""

    dataset: str
    stimuli: tuple[Stimulus, ...]
    images: tuple[str, ...]  # those without two codecs at one rate are in no pair
    rows: Mapping[tuple[int, int], Mapping[str, Any]]  # by image and stimulus
    pairs: list[Pair]
    files: Mapping[str, Path]  # of the photographs
    contents: DatasetContents
    sentences: tuple[str, ...]  # on what is absent


class WrittenStudy(NamedTuple):
    """A study on the disk."""

    key: Key
    files: int
    num_bytes: int
    sentences: tuple[str, ...]


def plan(asked: StudyRequest) -> Plan:
    """Return what a study can show; raises `UsageError` where no two pictures can be compared."""
    results = PaperResults(asked.results, asked.data_dir)
    dataset = stored_dataset(asked.results, asked.dataset)
    contents = results.contents(dataset.partition(":")[0])
    by_image = rows_with_streams(contents, asked.codecs, anchor=None)
    sources = sources_of(asked.dataset or dataset, asked.data_dir)
    if isinstance(sources, str):
        raise UsageError(f"no study: {sources}")
    files = {of.file.name: of.file.path for of in sources.values()}
    names = [image for image in files if image in by_image]
    if asked.images:
        kept = named_images(names, asked.images)
        names = [name for name in names if name in kept]
    labels = [*dict.fromkeys(label for name in names for label in by_image[name])]
    every = [(label, level) for label in labels for level in range(len(asked.rates))]
    rows: dict[tuple[int, int], Mapping[str, Any]] = {}
    for image, name in enumerate(names):
        for label, of in by_image[name].items():
            places = at_rates([row["bpp"] for row in of], asked.rates)
            for level, place in enumerate(places):
                if place is not None:
                    rows[image, every.index((label, level))] = of[place]
    pairs = pairs_of({key: row["bpp"] for key, row in rows.items()}, every, len(names))
    if not any(every[pair.first][1] == every[pair.second][1] for pair in pairs):
        raise UsageError(
            f"no photograph of {dataset} has kept streams of two codecs within 10 % of one rate: "
            "`bench run --target bpp=...` measures some"
        )
    met = {pair.image for pair in pairs if every[pair.first][1] == every[pair.second][1]}
    pairs = [pair for pair in pairs if pair.image in met]
    shown = {(pair.image, number) for pair in pairs for number in pair[1:]}
    rows = {key: row for key, row in rows.items() if key in shown}
    used = sorted({number for _, number in shown})
    stimuli = tuple(
        Stimulus(
            every[number][0],
            f"{asked.rates[every[number][1]]:g} bpp",
            float(np.mean([row["bpp"] for (_, of), row in rows.items() if of == number])),
        )
        for number in used
    )
    new = {number: n for n, number in enumerate(used)}
    rows = {(image, new[number]): row for (image, number), row in rows.items()}
    pairs = [Pair(pair.image, new[pair.first], new[pair.second]) for pair in pairs]
    sentences = [
        f"no picture of {label} at {asked.rates[level]:g} bpp can be compared"
        for number, (label, level) in enumerate(every)
        if number not in new
    ]
    absent = [name for name in asked.codecs if not any(_means(name, label) for label in labels)]
    sentences += [f"no kept stream of {name}: `bench run` keeps them" for name in absent]
    return Plan(dataset, stimuli, tuple(names), rows, pairs, files, contents, tuple(sentences))


def _means(name: str, label: str) -> bool:
    return label == name or label.partition(":")[0] == name


def write_study(out: Path, asked: StudyRequest) -> WrittenStudy:
    """Write a study into a folder that has none; raises `UsageError` and `StoreError`.

    The same rows, choices and seed give the same files.
    """
    if (out / KEY).exists() or (out / PAGE).exists():
        raise UsageError(f"{out} has a study: name another folder, or remove it")
    planned = plan(asked)
    rng = np.random.default_rng(asked.seed)
    pictures: list[Picture] = []
    number: dict[tuple[int, Any], int] = {}
    sizes = 0
    images = sorted({pair.image for pair in planned.pairs})
    shown = images[:: max(1, len(images) // CATCH_IMAGES)][:CATCH_IMAGES]
    for image, name, pixels in _pictures(planned, images, shown, asked.crop):
        for what, cut in pixels.items():
            row = planned.rows.get((image, what)) if isinstance(what, int) else None
            picture = Picture(f"{rng.bytes(8).hex()}.png", name, *_shown(what, row))
            file = _png(cut)
            write_files(out / PAGE, {picture.file: file}, what="study")
            sizes += len(file)
            number[image, what] = len(pictures)
            pictures.append(picture)
    key = _key(planned, asked, pictures, number, shown, rng)
    text = study_html(_page(key, asked.post, rng), asked.post)
    write_files(out / PAGE, {"index.html": text}, what="study")
    write_files(out, {KEY: msgspec.json.encode(key)}, what="study")
    return WrittenStudy(key, len(pictures), sizes + len(text), planned.sentences)


def _shown(what: int | str, row: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """Return a picture's stimulus; of a row also its setting, rate and cell."""
    if row is None:
        return (WORSE if what == "worse" else SOURCE,)
    return what, f"{row['setting_name']}={row['setting_value']:g}", row["bpp"], row["cell"]


def _pictures(
    planned: Plan, images: Sequence[int], shown: Sequence[int], crop: int
) -> Iterator[tuple[int, str, dict[int | str, Pixels]]]:
    """Yield each image's number, name and pixels by stimulus, and of "source" and known answers.

    All of an image are cut alike, where they differ most. Raises `UsageError` for a stream that
    cannot be decoded.
    """
    batch: list[int] = []
    for place, image in enumerate(images):
        batch.append(image)
        keys = [key for key in planned.rows if key[0] in batch]
        rows = [planned.rows[key] for key in keys]
        pixels = sum(row["width_px"] * row["height_px"] for row in rows)
        if pixels < BATCH_PX and place + 1 < len(images):
            continue
        decoded: dict[tuple[int, int], Pixels] = {}
        for done in reconstruct_all(rows, planned.contents, "cpu", cores()):
            if done is None:
                continue
            key, made = keys[done[0]], done[1]
            if isinstance(made, Failed):
                label = planned.stimuli[key[1]].system
                raise UsageError(f"a stream of {label} cannot be shown: {made.reason}")
            decoded[key] = made
        for ready in batch:
            name = planned.images[ready]
            source = read_image(planned.files[name], flatten=True).pixels
            result: dict[int | str, Pixels] = {}
            result |= {number: decoded[of, number] for of, number in keys if of == ready}
            own = [*result.values()]
            result["source"] = source
            if ready in shown:
                result |= {"copy": source, "worse": _compressed(source)}
            if crop:
                left, top, width, height = most_different(own, crop)
                part = slice(top, top + height), slice(left, left + width)
                result = {what: np.ascontiguousarray(of[part]) for what, of in result.items()}
            yield ready, name, result
        batch = []


def _compressed(pixels: Pixels) -> Pixels:
    stream = BytesIO()
    fromarray(pixels).save(stream, "JPEG", quality=CATCH_QUALITY)
    return np.asarray(open_image(stream).convert("RGB"))


def _png(pixels: Pixels) -> bytes:
    stream = BytesIO()
    fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _key(
    planned: Plan,
    asked: StudyRequest,
    pictures: Sequence[Picture],
    number: Mapping[tuple[int, Any], int],
    shown: Sequence[int],
    rng: np.random.Generator,
) -> Key:
    """Return the key of a study whose pictures are written."""

    def known(image: int) -> Trial:
        sides = number[image, "copy"], number[image, "worse"]
        better = 1 + int(rng.integers(2))
        first, second = sides if better == 1 else sides[::-1]
        return Trial(number[image, "source"], first, second, 1 if better == 1 else 2)

    training = tuple(known(shown[n % len(shown)]) for n in range(TRAINING))
    lists = []
    for mine in question_lists(planned.pairs, asked.raters, asked.each, rng):
        trials = []
        for pair, swapped in mine:
            sides = number[pair.image, pair.first], number[pair.image, pair.second]
            first, second = sides[::-1] if swapped else sides
            trials.append(Trial(number[pair.image, "source"], first, second))
        order = rng.permutation(len(shown)).tolist()
        catches = [known(shown[order[n % len(order)]]) for n in range(catches_for(len(mine)))]
        lists.append(tuple(with_catches(trials, catches, rng)))
    key = Key(
        "", planned.dataset, asked.command, asked.seed, planned.stimuli, tuple(pictures),
        training, tuple(lists),
    )  # fmt: skip
    return msgspec.structs.replace(key, study=sha256(msgspec.json.encode(key)).hexdigest()[:12])


def _page(key: Key, post: str, rng: np.random.Generator) -> dict[str, Any]:
    """Return what the page knows: files and questions in an order that says nothing."""
    order = rng.permutation(len(key.pictures)).tolist()
    place = {number: n for n, number in enumerate(order)}

    def files(trial: Trial) -> list[int]:
        return [place[number] for number in (trial.source, trial.first, trial.second)]

    return {
        "study": key.study,
        "files": [key.pictures[number].file for number in order],
        "training": [[*files(trial), trial.better] for trial in key.training],
        "lists": [[files(trial) for trial in trials] for trials in key.lists],
        "post": post,
    }


def folder_sentence(out: Path, written: WrittenStudy) -> str:
    """Return what is written where, and what raters get."""
    lists = counted(len(written.key.lists), "list")
    questions = max(map(len, written.key.lists))
    return (
        f"{out / PAGE} is for raters: {counted(written.files, 'picture')}, "
        f"{written.num_bytes / 1e6:.0f} MB, {lists} of at most {questions} questions; "
        f"{out / KEY} has the codecs, and is not for them"
    )
