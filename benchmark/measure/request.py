"""A request: everything that a run takes, each option with its default and help."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from benchmark.errors import BadOption, BenchError, Unavailable, UsageError
from benchmark.option import ANCHOR, BUNDLED, MANNER, MEASURED, ORIGIN, TARGET, option, shared
from benchmark.registry import CODECS, USUAL_METRICS
from benchmark.spec import (
    CodecSpec,
    codec_class,
    listed_datasets,
    load_codec,
    parameters_of,
    parse_codec,
    plain_codec,
    resolve,
)

Points = Mapping[tuple[str, str], tuple[float, ...]]  # (codec, setting name) -> values


@dataclass(frozen=True, slots=True, kw_only=True)
class Photographs:
    """Options that say which images of a dataset are measured, and where they are."""

    limit: int | None = option(None, MEASURED, "Only the first N images of the dataset.", least=1)
    flatten: bool = option(
        False,
        MEASURED,
        "Accept images with alpha (blended with white), in CMYK, or PNG of 16 bits (rounded to 8).",
    )
    data_dir: Path | None = option(
        None,
        ORIGIN,
        "Folder that holds datasets (kodak/kodim01.png ...), searched first; then those that "
        "$BENCH_DATA names and the user's cache.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Photographs):
    """Measurements asked for, codecs x settings x images, and how they are to be made."""

    codecs: tuple[str, ...] = option(
        ("all",),
        MEASURED,
        "Comma-separated codecs, each name[:key=value]... or path.py:Class; "
        "'all' are those that can run on this machine.",
        many="listed",
    )
    dataset: str = option(
        "sample",
        MEASURED,
        "Comma-separated datasets: names, folders of images, csv files with a column image, "
        "path.py:function, hf:USER/NAME.",
    )
    points: tuple[str, ...] = option(
        (),
        MEASURED,
        "Settings to measure, else a codec's default ones: jpeg.quality=10,30 (repeatable).",
        many="repeated",
        python='A mapping is taken as well: {"jpeg.quality": [10, 30]}.',
    )
    metrics: tuple[str, ...] = option(
        USUAL_METRICS,
        MEASURED,
        "Comma-separated metrics, each a name or path.py:Class, or 'all'.",
        many="listed",
        python="Of metrics of a whole dataset, features are stored; `summary` computes them.",
    )
    anchor: str = shared("", ANCHOR)
    bundled: str = shared("", BUNDLED)
    part: str = option(
        "",
        MEASURED,
        "Only the I-th of N fixed parts of the cells, for N machines; `bench merge` joins them.",
        value="I/N",
    )
    draws: int | None = option(
        None, MEASURED, "Decode with N seeds, 0 to N - 1, where a decoder is generative.", least=2
    )
    target: str = option(
        "",
        MEASURED,
        "Search each codec's setting whose mean over the images is bpp=0.3, or psnr=32 (any "
        "metric): within 1 % of a rate, .2 % of a metric.",
        value="NAME=VALUE",
    )
    packs: tuple[Path, ...] = option(
        (),
        ORIGIN,
        "A pack, folder or tar, whose streams are used instead of encoding (repeatable).",
        "--pack",
        many="repeated",
    )
    skip_missing: bool = option(
        False,
        MEASURED,
        "Leave out the codecs that cannot run on this machine, with their reasons; the others run.",
    )
    timing: bool = option(
        False, MANNER, "Measure one cell at a time, so that its seconds are comparable."
    )

    jobs: int | None = option(
        None,
        MANNER,
        "Cells to run at the same time; default: one per core, fewer for lack of memory.",
        least=1,
    )
    timeout_seconds: float | None = option(
        None,
        MANNER,
        "Give a cell up as failed when encoding, decoding or scoring its image takes longer; "
        "default: never, since VTM takes hours.",
        "--timeout",
        least=0.1,
        value="SECONDS",
    )
    device: str = option(
        "auto", MANNER, "Device for neural networks: auto, cpu, cuda or a card, cuda:1."
    )
    engine: str = option(
        "local", MANNER, "local: this machine; ray: the nodes of the cluster at $RAY_ADDRESS."
    )

    keep: bool = option(
        True, TARGET, "Keep the streams, for `bench rescore` and `bench audit`.", "--keep/--no-keep"
    )
    verify: bool = option(
        False,
        MANNER,
        "Verify by independent decode: decode each kept stream again in a fresh process.",
    )

    results: Path = option(Path("results"), TARGET, "Folder of results.", refuses="folder")
    weights_dir: Path | None = option(
        None,
        ORIGIN,
        "Folder searched for weight files first; then $BENCH_WEIGHTS and torch's cache.",
    )

    def __post_init__(self) -> None:
        """Raise `UsageError` for a time limit that is none."""
        seconds = self.timeout_seconds
        if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
            raise UsageError(f"--timeout {seconds:g} is no number of seconds above 0")

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Return a request with the whole names of metrics, and points of a mapping as texts.

        points: texts, or a mapping from "codec.setting" to values. Raises `UnknownName` for metrics
        that there are not, `TypeError` for an option that there is not.
        """
        codecs = values.get("codecs", ())
        for codec in codecs if isinstance(codecs, Collection) else [codecs]:
            if not isinstance(codec, str):
                raise UsageError(f"a codec is a text, 'jpeg' or './mine.py:Mine', not {codec!r}")
        points = values.get("points", ())
        if isinstance(points, Mapping):
            texts = {name: ",".join(format(of, ".17g") for of in points[name]) for name in points}
            values["points"] = tuple(f"{name}={of}" for name, of in texts.items())
        if values.get("metrics"):
            from benchmark.rows.schema import metric_names

            values["metrics"] = metric_names(values["metrics"])
        return cls(**values)

    def of_stored(self, dataset: str) -> Self:
        """Return the request for the images of stored rows, which say how they were measured."""
        return replace(self, dataset=dataset, flatten=True)

    def of_each_dataset(self) -> list[Self]:
        """Return a request for each of the datasets."""
        return [replace(self, dataset=name) for name in listed_datasets(self.dataset)]

    def use_folders(self) -> None:
        """Look for weights in the given folder; `UsageError` for what is none."""
        from benchmark.system.settings import use_weights_folder

        use_weights_folder(self.weights_dir)


def parse_points(texts: Iterable[str]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Parse settings given as `codec.setting=1,2,3`, one or several, separated by commas.

    Raises `UsageError` for other texts.

    >>> parse_points(["jpeg.quality=10,30,ours.q=1", "ours:beta=3.84.q=2"])
    {('jpeg', 'quality'): (10, 30), ('ours', 'q'): (1,), ('ours:beta=3.84', 'q'): (2,)}
    >>> list(parse_points(["ours:size=micro.q=1"]))
    [('ours:beta=0:size=micro', 'q'), ('ours:beta=3.84:size=micro', 'q')]
    """
    points: dict[tuple[str, str], tuple[float, ...]] = {}
    for text in texts:
        key = "", ""
        for part in text.split(","):
            left, equals, right = part.rpartition("=")
            if equals:
                codec, _, setting = left.rpartition(".")
                key = plain_codec(codec.strip()), setting
            try:
                value = finite_number(right)
            except ValueError:
                key = "", ""
            if not all(key):
                raise UsageError(f"--points {text!r} is not of the form codec.setting=1,2,3")
            points[key] = (*points.get(key, ()), value)
    return {(text, key[1]): of for key, of in points.items() for text in _variants(key[0])}


def _variants(codec: str) -> list[str]:
    """Return the specs of all variants that a codec with options stands for, else itself."""
    if codec.partition(":")[0] in CODECS and ":" in codec:
        with suppress(BenchError):  # reported where the codec is chosen
            return [spec.text for spec in resolve(parse_codec(codec))]
    return [codec]


def with_settings_as_points(
    codecs: Sequence[str], points: Points
) -> tuple[list[str], dict[tuple[str, str], tuple[float, ...]]]:
    """Return codecs and points with the settings that codecs name as points: `jpeg:quality=30`.

    >>> with_settings_as_points(["webp", "jpeg:quality=30", "jpeg:quality=50"], {})
    (['webp', 'jpeg'], {('jpeg', 'quality'): (30, 50)})
    """
    texts: dict[str, None] = {}
    result = dict(points)
    for text in codecs:
        spec = parse_codec(text.strip())
        try:
            plain, settings = without_settings(spec)
            variants = resolve(plain) if settings else []
        except (Unavailable, BadOption):  # reported where the codec is chosen
            plain, settings, variants = spec, {}, []
        for name, value in settings.items():
            try:
                number = finite_number(value)
            except ValueError:
                raise BadOption(f"{text}: {name}={value!r} is no number") from None
            for variant in variants:
                key = variant.text, name
                result[key] = (*result.get(key, ()), number)
        texts[plain.text if settings else text] = None
    return list(texts), result


def without_settings(spec: CodecSpec) -> tuple[CodecSpec, dict[str, str]]:
    """Return a spec without the options that are settings of the codec's sweep, and these.

    >>> spec, settings = without_settings(parse_codec("jpeg:optimize=1:quality=30"))
    >>> spec.text, settings
    ('jpeg:optimize=1', {'quality': '30'})
    """
    parameters = parameters_of(spec, codec_class(spec))
    rest = {key: text for key, text in spec.options if key not in parameters}
    if not rest:
        return spec, {}
    plain = spec.without(rest)
    names = {setting.name for setting in load_codec(resolve(plain)[0]).sweep}
    return (plain, rest) if rest.keys() <= names else (spec, {})


def finite_number(text: str) -> float:
    """Return the finite number of a text, an integer where it is whole; `ValueError` for none."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return int(value) if value.is_integer() else value
