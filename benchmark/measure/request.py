"""Request: all options of a run, with default and help."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from benchmark.errors import BadOption, BenchError, Unavailable, UsageError
from benchmark.option import (
    ANCHOR,
    BUNDLED,
    MANNER,
    MEASURED,
    ORIGIN,
    TARGET,
    option,
    shared_option,
)
from benchmark.registry import CODECS, USUAL_METRICS
from benchmark.spec import (
    CodecSpec,
    codec_class,
    listed_datasets,
    load_codec,
    normalise_codec,
    parameters_of,
    parse_codec,
    resolve,
)

NUMBER = r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*"
# A codec's options may hold commas.
POINTS_OF_CODEC = re.compile(rf"([^,=:]+(?::.+?)?)\.([A-Za-z_]\w*)=({NUMBER}(?:,{NUMBER})*)(?=,|$)")
Points = Mapping[tuple[str, str], tuple[float, ...]]  # (codec, setting name) -> values


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """Options for the images of a dataset and their location."""

    limit: int | None = option(None, MEASURED, "Measure only the first N images.", minimum=1)
    flatten: bool = option(
        False,
        MEASURED,
        "Accept images with alpha (blended with white), in CMYK, or 16-bit PNG (rounded to 8).",
    )
    data_dir: Path | None = option(
        None,
        ORIGIN,
        "Folder of datasets (kodak/kodim01.png ...), searched before those in $BENCH_DATA and "
        "your cache.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(ImageOptions):
    """Codecs x settings x images to measure, with all options of a run."""

    codecs: tuple[str, ...] = option(
        ("all",),
        MEASURED,
        "Comma-separated codecs, each name[:key=value]... or path.py:Class; "
        "'all': every codec that can run on this machine.",
        value_form="listed",
    )
    dataset: str = option(
        "sample",
        MEASURED,
        "Comma-separated datasets: names, folders of images, csv files with an `image` column, "
        "path.py:function, hf:USER/NAME.",
    )
    points: tuple[str, ...] = option(
        (),
        MEASURED,
        "Settings to measure instead of a codec's defaults: jpeg.quality=10,30 (repeatable).",
        value_form="repeated",
        python='A mapping is accepted too: {"jpeg.quality": [10, 30]}.',
    )
    metrics: tuple[str, ...] = option(
        USUAL_METRICS,
        MEASURED,
        "Comma-separated metrics, each a name or path.py:Class, or 'all'.",
        value_form="listed",
        python="For metrics of a whole dataset, features are stored; `summary` reduces them.",
    )
    anchor: str = shared_option("", ANCHOR)
    bundled: str = shared_option("", BUNDLED)
    part: str = option(
        "",
        MEASURED,
        "Measure only the I-th of N fixed parts of the cells; `bench merge` joins the parts.",
        value="I/N",
    )
    draws: int | None = option(
        None, MEASURED, "Decode with N seeds, 0 to N - 1, if the decoder is generative.", minimum=2
    )
    target: str = option(
        "",
        MEASURED,
        "Find each codec's setting at which the mean over the images is a rate, such as bpp=0.3, "
        "within 1 %, or a metric's value, such as psnr=32, within .2 %.",
        value="NAME=VALUE",
    )
    packs: tuple[Path, ...] = option(
        (),
        ORIGIN,
        "Pack (a folder or tar) whose streams are used instead of encoding (repeatable).",
        "--pack",
        value_form="repeated",
    )
    skip_missing: bool = option(
        False,
        MEASURED,
        "Skip codecs that cannot run on this machine, and say why.",
    )
    timing: bool = option(
        False, MANNER, "Measure one cell at a time, so that its seconds are comparable."
    )

    jobs: int | None = option(
        None,
        MANNER,
        "Cells to run at the same time; default: one per core, fewer if memory is short.",
        minimum=1,
    )
    timeout_seconds: float | None = option(
        None,
        MANNER,
        "Fail a cell if encoding, decoding or scoring takes longer; default: no limit, since VTM "
        "takes hours.",
        "--timeout",
        minimum=0.1,
        value="SECONDS",
    )
    device: str = option(
        "auto", MANNER, "Device for neural networks: auto, cpu, cuda, or one GPU, such as cuda:1."
    )
    engine: str = option(
        "local", MANNER, "Where to run cells: local, or ray (on the cluster at $RAY_ADDRESS)."
    )

    keep: bool = option(
        True, TARGET, "Keep the streams, for `bench rescore` and `bench audit`.", "--keep/--no-keep"
    )
    verify: bool = option(
        False,
        MANNER,
        "Verify each kept stream by decoding it again in a fresh process.",
    )

    results: Path = option(Path("results"), TARGET, "Folder of results.", path_check="folder")
    weights_dir: Path | None = option(
        None,
        ORIGIN,
        "Folder of weight files, searched before $BENCH_WEIGHTS and torch's cache.",
    )

    def __post_init__(self) -> None:
        """Raise `UsageError` for an invalid time limit."""
        seconds = self.timeout_seconds
        if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
            raise UsageError(f"--timeout {seconds:g} is not a positive number of seconds")

    @classmethod
    def create(cls, **values: Any) -> Self:
        """Create a request; `points` may be a mapping. Raises `UnknownName`, `TypeError`."""
        codecs = values.get("codecs", ())
        for codec in codecs if isinstance(codecs, Collection) else [codecs]:
            if not isinstance(codec, str):
                raise UsageError(f"a codec is a string, 'jpeg' or './mine.py:Mine', not {codec!r}")
        points = values.get("points", ())
        if isinstance(points, Mapping):
            texts = {
                name: ",".join(format(value, ".17g") for value in points[name]) for name in points
            }
            values["points"] = tuple(f"{name}={value}" for name, value in texts.items())
        if values.get("metrics"):
            from benchmark.rows.schema import metric_names

            values["metrics"] = metric_names(values["metrics"])
        return cls(**values)

    def for_stored_rows(self, dataset: str) -> Self:
        """Return the request for stored rows: a new dataset, and images of every format."""
        return replace(self, dataset=dataset, flatten=True)

    def split_datasets(self) -> list[Self]:
        """Return one request per dataset."""
        return [replace(self, dataset=name) for name in listed_datasets(self.dataset)]

    def use_folders(self) -> None:
        """Search `weights_dir` for weights; raise `UsageError` if it is not valid."""
        from benchmark.system.settings import use_weights_folder

        use_weights_folder(self.weights_dir)


def parse_points(texts: Iterable[str]) -> dict[tuple[str, str], tuple[float, ...]]:
    r"""Parse comma-separated settings, `codec.setting=1,2,3`; raise `UsageError`.

    >>> parse_points(["jpeg.quality=10,30,ours.q=1", "ours:beta=3.84.q=2"])
    {('jpeg', 'quality'): (10, 30), ('ours', 'q'): (1,), ('ours:beta=3.84', 'q'): (2,)}
    >>> parse_points(["compressai:checkpoint=a.pth,b.pth.quality=1,2"])
    {('compressai:checkpoint=a.pth\\,b.pth', 'quality'): (1, 2)}
    """
    points: dict[tuple[str, str], tuple[float, ...]] = {}
    for text in texts:
        refusal = UsageError(f"--points {text!r} is not codec.setting=1,2,3")
        matches = [*POINTS_OF_CODEC.finditer(text)]
        if not matches or ",".join(match[0] for match in matches) != text:
            raise refusal
        for codec, setting, values in (match.groups() for match in matches):
            key = normalise_codec(codec.strip()), setting
            try:
                points[key] = (*points.get(key, ()), *map(finite_number, values.split(",")))
            except ValueError:
                raise refusal from None
    return {
        (text, key[1]): values
        for key, values in points.items()
        for text in _expand_variants(key[0])
    }


def _expand_variants(codec: str) -> list[str]:
    """Return the specs of all variants of a codec with options; else only the codec."""
    if codec.partition(":")[0] in CODECS and ":" in codec:
        with suppress(BenchError):  # reported where the codec is chosen
            return [spec.text for spec in resolve(parse_codec(codec))]
    return [codec]


def move_settings_to_points(
    codecs: Sequence[str], points: Points
) -> tuple[list[str], dict[tuple[str, str], tuple[float, ...]]]:
    """Move settings from codecs to points: `jpeg:quality=30`.

    >>> move_settings_to_points(["webp", "jpeg:quality=30", "jpeg:quality=50"], {})
    (['webp', 'jpeg'], {('jpeg', 'quality'): (30, 50)})
    """
    plain_texts: dict[str, None] = {}
    all_points = dict(points)
    for text in codecs:
        spec = parse_codec(text.strip())
        try:
            plain_spec, settings = split_settings(spec)
            variants = resolve(plain_spec) if settings else []
        except (Unavailable, BadOption):  # reported where the codec is chosen
            plain_spec, settings, variants = spec, {}, []
        for name, value in settings.items():
            try:
                number = finite_number(value)
            except ValueError:
                raise BadOption(f"{text}: {name}={value!r} is not a number") from None
            for variant in variants:
                key = variant.text, name
                all_points[key] = (*all_points.get(key, ()), number)
        plain_texts[plain_spec.text if settings else text] = None
    return list(plain_texts), all_points


def split_settings(spec: CodecSpec) -> tuple[CodecSpec, dict[str, str]]:
    """Split off the options that are settings of the codec's sweep.

    >>> spec, settings = split_settings(parse_codec("jpeg:optimize=1:quality=30"))
    >>> spec.text, settings
    ('jpeg:optimize=1', {'quality': '30'})
    """
    parameters = parameters_of(spec, codec_class(spec))
    settings = {key: text for key, text in spec.options if key not in parameters}
    if not settings:
        return spec, {}
    plain_spec = spec.remove_options(settings)
    names = {setting.name for setting in load_codec(resolve(plain_spec)[0]).sweep}
    return (plain_spec, settings) if settings.keys() <= names else (spec, {})


def finite_number(text: str) -> float:
    """Parse a finite number, an integer if whole; raise `ValueError`."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return int(value) if value.is_integer() else value
