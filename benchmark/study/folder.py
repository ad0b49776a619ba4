"""Write a study's folder: the page that raters get, and beside it the key that they do not.

out/key.json          codecs, settings, known answers, every rater's questions
   /page/index.html   the page, which needs neither server nor network
   /page/*.png        pictures, named at random
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from PIL.Image import fromarray
from PIL.Image import open as open_image

from benchmark.codec import Pixels
from benchmark.compare.experiment import Experiment, rates_in
from benchmark.datasets.image import read_image
from benchmark.errors import UsageError
from benchmark.measure.cells import Failed
from benchmark.measure.pictures import Pictures, pictures_of
from benchmark.measure.select import sources_of
from benchmark.rows.comparable import shown_rows
from benchmark.rows.stored import named_images, require_bundled, stored_dataset, verified
from benchmark.rows.variants import divided
from benchmark.show.figures.picture_sheet import most_different
from benchmark.show.page.content import json_text
from benchmark.show.page.document import framed_html
from benchmark.study.design import (
    TRAINING,
    Pair,
    at_rates,
    catches_for,
    pairs_of,
    question_lists,
    with_catches,
)
from benchmark.study.form import KEY, PAGE, SOURCE, WORSE, Key, Picture, Stimulus, Trial
from benchmark.system.atomic import write_files
from benchmark.system.machine import cores
from benchmark.system.text import bench_command, counted, json_bytes, listed

BATCH_IMAGES = 8  # whose decoded pictures are in memory together
CATCH_QUALITY = 4  # of the JPEG that is worse than its source in every known answer
CATCH_IMAGES = 8


class Plan(NamedTuple):
    """Content that a study can show: stimuli, photographs, rows and the pairs of them."""

    dataset: str
    stimuli: tuple[Stimulus, ...]
    images: tuple[tuple[str, Path], ...]  # those without two codecs at one rate are in no pair
    rows: Mapping[tuple[int, Any], Mapping[str, Any]]  # by image and stimulus
    pairs: list[Pair]
    decodable: Pictures
    sentences: tuple[str, ...]  # on what is absent


def plan(asked: Experiment, bpp: Sequence[str], data_dir: Path | None = None) -> Plan:
    """Return what a study can show; raises `UsageError` where no two pictures can be compared."""
    asked_rates = sorted({*rates_in(bpp)})
    dataset = stored_dataset(asked.results, asked.dataset)
    require_bundled(asked.results, asked.bundled)
    decodable = pictures_of(asked.results, dataset, asked.codecs, dataset=asked.dataset)
    folder = decodable.contents.store.folder
    table = verified(decodable.table, folder) if asked.verified_only else decodable.table
    own = shown_rows(divided(table, asked.codecs, asked.bundled)[0])
    by_image = decodable.by_image(own, asked.named)
    lacking = [f"no picture of {listed(labels)}: {why}" for labels, why in decodable.lacking(own)]
    sources = sources_of(asked.dataset or dataset, data_dir, asked.results)
    if isinstance(sources, str):
        raise UsageError(sources)
    files = {of.file.name: of.file.path for of in sources.values() if of.file.name in by_image}
    kept = named_images([*files], asked.images) if asked.images else files
    images = tuple((name, path) for name, path in files.items() if name in kept)
    labels = [*dict.fromkeys(label for name, _ in images for label in by_image[name])]
    every = [(label, level) for label in labels for level in range(len(asked_rates))]
    rows = {
        (image, every.index((label, level))): of[place]
        for image, (name, _) in enumerate(images)
        for label, of in by_image[name].items()
        for level, place in enumerate(at_rates([row["bpp"] for row in of], asked_rates))
        if place is not None
    }
    pairs = pairs_of({key: row["bpp"] for key, row in rows.items()}, every, len(images))
    met = {pair.image for pair in pairs if every[pair.first][1] == every[pair.second][1]}
    if not met:
        rates = [f"bpp={rate:g}" for rate in asked_rates]
        measure = bench_command("run", codecs=asked.codecs, dataset=dataset, target=rates)
        raise UsageError(
            f"no photograph of {dataset} has pictures of two codecs within 10 % of one rate: "
            + "; ".join(lacking or [f"`{measure}` measures some"])
        )
    pairs = [pair for pair in pairs if pair.image in met]
    shown = sorted({(pair.image, number) for pair in pairs for number in pair[1:]})
    used = sorted({number for _, number in shown})
    names = [(label, f"{asked_rates[level]:g} bpp") for label, level in every]
    stimuli = tuple(
        Stimulus(
            *names[number], float(np.mean([rows[key]["bpp"] for key in shown if key[1] == number]))
        )
        for number in used
    )
    unused = [name for number, name in enumerate(names) if number not in used]
    sentences = [f"no picture of {label} at {rate} can be compared" for label, rate in unused]
    return Plan(
        dataset, stimuli, images, {(key[0], used.index(key[1])): rows[key] for key in shown},
        [Pair(of.image, *map(used.index, of[1:])) for of in pairs], decodable,
        (*sentences, *lacking),
    )  # fmt: skip


def write_study(
    out: Path,
    shown: Experiment,
    bpp: Sequence[str],
    *,
    data_dir: Path | None = None,
    raters: int = 12,
    each: int = 60,
    crop: int = 512,
    seed: int = 0,
    post: str = "",
    command: str = "",
) -> tuple[Key, list[str]]:
    """Write a study into a folder that has none; return its key and what is to be said of it.

    shown: codecs and photographs. The others are the options of `bench study new`. The same rows,
    choices and seed give the same files. Raises `UsageError` and `StoreError`.
    """
    if (out / KEY).exists() or (out / PAGE).exists():
        raise UsageError(f"{out} has a study: name another folder, or remove it")
    planned = plan(shown, bpp, data_dir)
    rng = np.random.default_rng(seed)
    pictures: list[Picture] = []
    number: dict[tuple[int, Any], int] = {}
    sizes = 0
    images = sorted({pair.image for pair in planned.pairs})
    known = images[:: max(1, len(images) // CATCH_IMAGES)][:CATCH_IMAGES]
    for image, pixels in _pictures(planned, images, known, crop):
        for what, cut in pixels.items():
            name, file = f"{rng.bytes(8).hex()}.png", _coded(cut, "PNG")
            write_files(out / PAGE, {name: file}, what="study")
            sizes += len(file)
            number[image, what] = len(pictures)
            facts: tuple[Any, ...] = (WORSE if what == "worse" else SOURCE,)
            if row := planned.rows.get((image, what)):
                setting = f"{row['setting_name']}={row['setting_value']:g}"
                facts = what, setting, row["bpp"], row["cell"]
            pictures.append(Picture(name, planned.images[image][0], *facts))
    trials = _trials(planned.pairs, number, known, (raters, each), rng)
    key = Key("", planned.dataset, command, seed, planned.stimuli, tuple(pictures), *trials)
    key = msgspec.structs.replace(key, study=sha256(json_bytes(key)).hexdigest()[:12])
    parts = {"title": "Which is closer?", "data": json_text(_page(key, post, rng))}
    files = [str(Path(__file__).with_name(f"page.{kind}")) for kind in ("html", "css", "js")]
    text = framed_html(files[0], files[1:2], files[2:], parts, post)
    write_files(out / PAGE, {"index.html": text}, what="study")
    write_files(out, {KEY: json_bytes(key)}, what="study")
    sentence = (
        f"{out / PAGE} is for raters: {counted(len(pictures), 'picture')}, "
        f"{(sizes + len(text)) / 1e6:.0f} MB, {counted(len(key.lists), 'list')} of at most "
        f"{max(map(len, key.lists))} questions; {out / KEY} has the codecs, and is not for them"
    )
    return key, [*planned.sentences, sentence]


def _pictures(
    planned: Plan, images: Sequence[int], shown: Sequence[int], crop: int
) -> Iterator[tuple[int, dict[int | str, Pixels]]]:
    """Yield each image's number and pixels by stimulus, and of "source" and known answers.

    All of an image are cut alike, where they differ most. Raises `UsageError` for a stream that
    cannot be decoded.
    """
    for start in range(0, len(images), BATCH_IMAGES):
        batch = images[start : start + BATCH_IMAGES]
        keys = [key for key in planned.rows if key[0] in batch]
        rows = [planned.rows[key] for key in keys]
        decoded: dict[int, dict[int | str, Pixels]] = {image: {} for image in batch}
        for place, made in filter(None, planned.decodable.decoded(rows, "cpu", cores())):
            image, stimulus = keys[place]
            if isinstance(made, Failed):
                label = planned.stimuli[stimulus].system
                raise UsageError(f"a stream of {label} cannot be shown: {made.reason}")
            decoded[image][stimulus] = made
        for image, of in decoded.items():
            result = dict(sorted(of.items()))
            part = (slice(None), slice(None))
            if crop:
                left, top, width, height = most_different([*result.values()], crop)
                part = slice(top, top + height), slice(left, left + width)
            result["source"] = source = read_image(planned.images[image][1], flatten=True).pixels
            if image in shown:
                worse = open_image(BytesIO(_coded(source, "JPEG", quality=CATCH_QUALITY)))
                result |= {"copy": source, "worse": np.asarray(worse.convert("RGB"))}
            yield image, {what: np.ascontiguousarray(of[part]) for what, of in result.items()}


def _coded(pixels: Pixels, form: str, **options: int) -> bytes:
    stream = BytesIO()
    fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def _trials(
    pairs: Sequence[Pair],
    number: Mapping[tuple[int, Any], int],
    shown: Sequence[int],
    counts: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[tuple[Trial, ...], tuple[tuple[Trial, ...], ...]]:
    """Return the trials of the training and of each list. counts: of raters, of their questions."""

    def trial(image: int, sides: tuple[Any, Any], swapped: bool, known: bool = False) -> Trial:
        first, second = (number[image, side] for side in (sides[::-1] if swapped else sides))
        better: Any = 1 + swapped if known else 0
        return Trial(number[image, "source"], first, second, better)

    def known(image: int) -> Trial:
        return trial(image, ("copy", "worse"), bool(rng.integers(2)), known=True)

    training = tuple(known(shown[n % len(shown)]) for n in range(TRAINING))
    lists = []
    for mine in question_lists(pairs, *counts, rng):
        trials = [trial(pair.image, pair[1:], swapped) for pair, swapped in mine]
        order = rng.permutation(len(shown)).tolist()
        catches = [known(shown[order[n % len(order)]]) for n in range(catches_for(len(mine)))]
        lists.append(tuple(with_catches(trials, catches, rng)))
    return training, tuple(lists)


def _page(key: Key, post: str, rng: np.random.Generator) -> dict[str, Any]:
    """Return what the page knows: files and questions in an order that says nothing."""
    order = rng.permutation(len(key.pictures)).tolist()

    def files(trial: Trial) -> list[int]:
        return [order.index(number) for number in (trial.source, trial.first, trial.second)]

    return {
        "study": key.study,
        "files": [key.pictures[number].file for number in order],
        "training": [[*files(trial), trial.better] for trial in key.training],
        "lists": [[files(trial) for trial in trials] for trials in key.lists],
        "post": post,
    }
