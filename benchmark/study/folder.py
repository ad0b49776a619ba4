"""The folder of a study: the page for raters, and the key, which raters must not see.

out/key.json          codecs, settings, answers to catch trials, all raters' questions
   /page/index.html   the page, which needs no server and no network
   /page/*.png        pictures with random names
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
from benchmark.compare.experiment import Experiment, parse_rates
from benchmark.datasets.image import read_image
from benchmark.errors import UsageError
from benchmark.measure.cells import Failed
from benchmark.measure.pictures import Pictures, open_pictures
from benchmark.measure.select import find_sources
from benchmark.rows.comparable import shown_rows
from benchmark.rows.stored import (
    named_images,
    require_bundled,
    require_verified_rows,
    stored_dataset,
)
from benchmark.rows.variants import divide_rows
from benchmark.show.figures.picture_sheet import most_different_square
from benchmark.show.page.content import json_text
from benchmark.show.page.document import framed_html
from benchmark.study.design import (
    NUM_TRAINING,
    StimulusPair,
    assign_streams,
    insert_catches,
    make_pairs,
    num_catches,
    question_lists,
)
from benchmark.study.form import KEY, PAGE, SOURCE, WORSE, Key, PagePicture, Stimulus, Trial
from benchmark.system.atomic import write_files
from benchmark.system.machine import cores
from benchmark.system.text import bench_command, counted, json_bytes, listed

BATCH_IMAGES = 8  # number of images whose pictures are in memory at once
CATCH_QUALITY = 4  # JPEG quality of the worse picture in catch trials
CATCH_IMAGES = 8  # maximum number of images in catch trials


class StudyPlan(NamedTuple):
    """Stimuli, photographs, rows and pairs of a study."""

    dataset: str
    stimuli: tuple[Stimulus, ...]
    images: tuple[tuple[str, Path], ...]  # name and path; no pair has those without two codecs
    rows: Mapping[tuple[int, Any], Mapping[str, Any]]  # by image and stimulus
    pairs: list[StimulusPair]
    pictures: Pictures
    sentences: tuple[str, ...]  # about missing pictures


def plan_study(
    experiment: Experiment, bpp: Sequence[str], data_dir: Path | None = None
) -> StudyPlan:
    """Find pictures to compare at some rates; `UsageError` if no two can be compared."""
    rates = sorted({*parse_rates(bpp)})
    dataset = stored_dataset(experiment.results, experiment.dataset)
    require_bundled(experiment.results, experiment.bundled)
    pictures = open_pictures(
        experiment.results, dataset, experiment.codecs, dataset=experiment.dataset
    )
    folder = pictures.contents.store.folder
    table = pictures.table
    if experiment.verified_only:
        table = require_verified_rows(table, folder, experiment.codecs)
    codec_rows = shown_rows(divide_rows(table, experiment.codecs, experiment.bundled)[0])
    by_image = pictures.group_by_image(codec_rows, experiment.named_codecs)
    missing_pictures = [
        f"no picture of {listed(labels)}: {reason}"
        for labels, reason in pictures.group_absences(codec_rows)
    ]
    sources = find_sources(experiment.dataset or dataset, data_dir, experiment.results)
    if isinstance(sources, str):
        raise UsageError(sources)
    source_files = (source.file for source in sources.values())
    files = {file.name: file.path for file in source_files if file.name in by_image}
    image_names = named_images([*files], experiment.images) if experiment.images else files
    images = tuple((name, path) for name, path in files.items() if name in image_names)
    labels = [*dict.fromkeys(label for name, _ in images for label in by_image[name])]
    candidates = [(label, level) for label in labels for level in range(len(rates))]
    rows = {
        (image, candidates.index((label, level))): system_rows[index]
        for image, (name, _) in enumerate(images)
        for label, system_rows in by_image[name].items()
        for level, index in enumerate(assign_streams([row["bpp"] for row in system_rows], rates))
        if index is not None
    }
    pairs = make_pairs({key: row["bpp"] for key, row in rows.items()}, candidates, len(images))
    compared_images = {
        pair.image for pair in pairs if candidates[pair.first][1] == candidates[pair.second][1]
    }
    if not compared_images:
        targets = [f"bpp={rate:g}" for rate in rates]
        command = bench_command("run", codecs=experiment.codecs, dataset=dataset, target=targets)
        raise UsageError(
            f"no photograph of {dataset} has pictures of two codecs within 10 % of the same rate: "
            + "; ".join(missing_pictures or [f"measure some with `{command}`"])
        )
    pairs = [pair for pair in pairs if pair.image in compared_images]
    keys = sorted({(pair.image, number) for pair in pairs for number in pair[1:]})
    stimulus_numbers = sorted({number for _, number in keys})
    names = [(label, f"{rates[level]:g} bpp") for label, level in candidates]
    stimuli, sentences = [], []
    for number, (label, rate) in enumerate(names):
        if number in stimulus_numbers:
            bpp_of_images = [rows[key]["bpp"] for key in keys if key[1] == number]
            stimuli.append(Stimulus(label, rate, float(np.mean(bpp_of_images))))
        else:
            sentences.append(f"no picture of {label} at {rate} can be compared")
    return StudyPlan(
        dataset,
        tuple(stimuli),
        images,
        {(image, stimulus_numbers.index(number)): rows[image, number] for image, number in keys},
        [StimulusPair(pair.image, *map(stimulus_numbers.index, pair[1:])) for pair in pairs],
        pictures,
        (*sentences, *missing_pictures),
    )


def write_study(
    out: Path,
    experiment: Experiment,
    bpp: Sequence[str],
    *,
    data_dir: Path | None = None,
    raters: int = 12,
    questions: int = 60,
    crop: int = 512,
    seed: int = 0,
    post: str = "",
    command: str = "",
) -> tuple[Key, list[str]]:
    """Write a study to a folder; return its key, and sentences on it."""
    if (out / KEY).exists() or (out / PAGE).exists():
        raise UsageError(f"{out} already has a study: give another folder, or remove the study")
    plan = plan_study(experiment, bpp, data_dir)
    rng = np.random.default_rng(seed)
    page_pictures: list[PagePicture] = []
    picture_numbers: dict[tuple[int, Any], int] = {}
    total_bytes = 0
    images = sorted({pair.image for pair in plan.pairs})
    catch_images = images[:: max(1, len(images) // CATCH_IMAGES)][:CATCH_IMAGES]
    for image, pixels in _decode_pictures(plan, images, catch_images, crop):
        for stimulus, crop_pixels in pixels.items():
            name, file = f"{rng.bytes(8).hex()}.png", _image_bytes(crop_pixels, "PNG")
            write_files(out / PAGE, {name: file}, what="study")
            total_bytes += len(file)
            picture_numbers[image, stimulus] = len(page_pictures)
            facts: tuple[Any, ...] = (WORSE if stimulus == "worse" else SOURCE,)
            if row := plan.rows.get((image, stimulus)):
                setting = f"{row['setting_name']}={row['setting_value']:g}"
                facts = stimulus, setting, row["bpp"], row["cell"]
            page_pictures.append(PagePicture(name, plan.images[image][0], *facts))
    trials = _trials(plan.pairs, picture_numbers, catch_images, (raters, questions), rng)
    key = Key("", plan.dataset, command, seed, plan.stimuli, tuple(page_pictures), *trials)
    key = msgspec.structs.replace(key, study=sha256(json_bytes(key)).hexdigest()[:12])
    page_parts = {"title": "Which is closer?", "data": json_text(_page_data(key, post, rng))}
    files = [str(Path(__file__).with_name(f"page.{suffix}")) for suffix in ("html", "css", "js")]
    page = framed_html(files[0], files[1:2], files[2:], page_parts, post)
    write_files(out / PAGE, {"index.html": page}, what="study")
    write_files(out, {KEY: json_bytes(key)}, what="study")
    sentence = (
        f"{out / PAGE} is for raters: {counted(len(page_pictures), 'picture')}, "
        f"{(total_bytes + len(page)) / 1e6:.0f} MB, {counted(len(key.lists), 'list')} of at most "
        f"{max(map(len, key.lists))} questions; {out / KEY} names the codecs: keep it from raters"
    )
    return key, [*plan.sentences, sentence]


def _decode_pictures(
    plan: StudyPlan, images: Sequence[int], catch_images: Sequence[int], crop: int
) -> Iterator[tuple[int, dict[int | str, Pixels]]]:
    """Yield each image's number, and its pixels by stimulus, "source", "copy" and "worse"."""
    for start in range(0, len(images), BATCH_IMAGES):
        batch = images[start : start + BATCH_IMAGES]
        keys = [key for key in plan.rows if key[0] in batch]
        rows = [plan.rows[key] for key in keys]
        pixels_by_image: dict[int, dict[int | str, Pixels]] = {image: {} for image in batch}
        for index, pixels in filter(None, plan.pictures.decode_rows(rows, "cpu", cores())):
            image, stimulus = keys[index]
            if isinstance(pixels, Failed):
                label = plan.stimuli[stimulus].system
                raise UsageError(f"a stream of {label} cannot be shown: {pixels.reason}")
            pixels_by_image[image][stimulus] = pixels
        for image, pixels_by_stimulus in pixels_by_image.items():
            pictures = dict(sorted(pixels_by_stimulus.items()))
            area = (slice(None), slice(None))
            if crop:
                left, top, width, height = most_different_square([*pictures.values()], crop)
                area = slice(top, top + height), slice(left, left + width)
            pictures["source"] = source = read_image(plan.images[image][1], flatten=True).pixels
            if image in catch_images:
                worse_picture = open_image(
                    BytesIO(_image_bytes(source, "JPEG", quality=CATCH_QUALITY))
                )
                pictures |= {"copy": source, "worse": np.asarray(worse_picture.convert("RGB"))}
            yield (
                image,
                {name: np.ascontiguousarray(picture[area]) for name, picture in pictures.items()},
            )


def _image_bytes(pixels: Pixels, image_format: str, **options: int) -> bytes:
    stream = BytesIO()
    fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def _trials(
    pairs: Sequence[StimulusPair],
    picture_numbers: Mapping[tuple[int, Any], int],
    catch_images: Sequence[int],
    counts: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[tuple[Trial, ...], tuple[tuple[Trial, ...], ...]]:
    """Return the training trials and all raters' trials. counts: raters, questions per rater."""

    def make_trial(image: int, sides: tuple[Any, Any], is_swapped: bool, better: Any = 0) -> Trial:
        ordered_sides = sides[::-1] if is_swapped else sides
        first, second = (picture_numbers[image, side] for side in ordered_sides)
        return Trial(picture_numbers[image, "source"], first, second, better)

    def make_catch(image: int) -> Trial:
        is_swapped = bool(rng.integers(2))
        return make_trial(image, ("copy", "worse"), is_swapped, better=1 + is_swapped)

    training = tuple(make_catch(catch_images[n % len(catch_images)]) for n in range(NUM_TRAINING))
    lists = []
    for questions in question_lists(pairs, *counts, rng):
        trials = [make_trial(pair.image, pair[1:], swapped) for pair, swapped in questions]
        order = rng.permutation(len(catch_images)).tolist()
        images = (catch_images[order[n % len(order)]] for n in range(num_catches(len(questions))))
        catches = [make_catch(image) for image in images]
        lists.append(tuple(insert_catches(trials, catches, rng)))
    return training, tuple(lists)


def _page_data(key: Key, post_url: str, rng: np.random.Generator) -> dict[str, Any]:
    """Return the page's files, in a random order that does not reveal codecs, and questions."""
    order = rng.permutation(len(key.pictures)).tolist()

    def files(trial: Trial) -> list[int]:
        return [order.index(number) for number in (trial.source, trial.first, trial.second)]

    return {
        "study": key.study,
        "files": [key.pictures[number].file for number in order],
        "training": [[*files(trial), trial.better] for trial in key.training],
        "lists": [[files(trial) for trial in trials] for trials in key.lists],
        "post": post_url,
    }
