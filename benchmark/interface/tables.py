"""Stored rows as data frames: the rows themselves, their means, deltas and matches."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.analysis.comparable import Average, find_label, without_replaced
from benchmark.analysis.comparison import compare
from benchmark.analysis.match import matches, parse_tolerance
from benchmark.analysis.rank import RATE, Budget, parse_target
from benchmark.analysis.rank import rank as ranked_at
from benchmark.analysis.reduce import summarise_with_distributions
from benchmark.analysis.summarise import Summary, summarise
from benchmark.errors import UsageError
from benchmark.figures.bd_table import bd_records
from benchmark.metrics.measure import Measure
from benchmark.plan.request import metric_names
from benchmark.protocol import CODING, protocols
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class
from benchmark.rows.schema import schema_of
from benchmark.rows.store import Store

if TYPE_CHECKING:
    from benchmark.measure.outcome import Outcome

Source: TypeAlias = "pd.DataFrame | str | Path | Outcome"  # rows, or where `load` finds them
EVERY_METRIC = (*METRICS, *DISTRIBUTION_METRICS)
NUMBERS = "_percent", "_overlap", "_bpp"  # ends of columns of `bd_rate` that are numbers
EXTRA = "_of_mean_mse", "_few"  # ends of columns that some metrics have


def load(source: "str | Path | Outcome") -> pd.DataFrame:
    """Return stored rows, one per cell, ordered by codec, variant, setting and image.

    Of several versions of a cell (tried again, timed, rescored) the best is returned. Bundled rows,
    which the column ``bundled`` marks, are returned where means are over them.

    Parameters
    ----------
    source : path or Outcome
        The folder of one dataset, ``results/kodak``, or what `run` returned: then the rows of the
        cells that were asked for.

    Returns
    -------
    DataFrame
        Columns as in docs/protocol.md. Integers and booleans are pandas' nullable types; a metric
        without a value is NaN, and ``<metric>_reason`` says why; identical images have an infinite
        PSNR. ``attrs["units"]`` and ``attrs["meanings"]`` describe the columns,
        ``attrs["protocols"]`` has the protocol ids that `summary` expects, and ``attrs["folder"]``
        is where the rows are stored.

    Raises
    ------
    UsageError
        If the folder holds no rows of a single dataset.
    StoreError
        If the rows cannot be read.
    """
    if isinstance(source, str | Path):
        folder = Path(source)
        if not (folder / "per_image").is_dir():
            inside = sorted(path.parent.name for path in folder.glob("*/per_image"))
            has = f"name one of {', '.join(inside)} in it" if inside else "`run` makes some"
            raise UsageError(f"{folder} holds no rows of one dataset: {has}")
        table = without_replaced(Store(folder).table(), CODING)
    else:
        folder, table = source.matrix.store.folder, source.rows
    kinds = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    order = ("codec", "variant", "setting_name", "setting_value", "image")
    table = table.sort_by([(name, "ascending") for name in order])
    frame: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
    described = {field.name: field.metadata for field in schema_of(table.column_names)}
    frame.attrs = {
        "units": {name: _unit(name, text[b"unit"].decode()) for name, text in described.items()},
        "meanings": {name: text[b"meaning"].decode() for name, text in described.items()},
        "protocols": protocols(EVERY_METRIC),
        "folder": str(folder),
    }
    return frame


def summary(
    source: Source,
    *,
    metrics: str | Sequence[str] = "all",
    common: bool = False,
    average: Average = "per_image",
    allow_few: bool = False,
) -> pd.DataFrame:
    """Return the means of each codec variant at each setting, with the number of images of each.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of one dataset, from `load` (any selection of them), or what `load` takes.
    metrics : str or sequence of str
        Metrics to summarise; those without any value are left out.
    common : bool
        Restrict all means to the images that every codec and setting has.
    average : {"per_image", "pooled"}
        Mean of each image's bits per pixel, or all bits over all pixels.
    allow_few : bool
        Also compute distribution metrics of fewer than 50 images.

    Returns
    -------
    DataFrame
        One row per codec variant and setting, lowest rate first: ``bpp``, the number of images,
        and each mean followed by ``<metric>_images``, the number of images in it. Means are NaN
        where there is no value. ``attrs`` has the units, the protocols in use, the number of
        images compared, and ``left_out``: rows that are not comparable, with reasons.
    """
    names = metric_names(metrics)
    found = summarised(source, names, common, average, allow_few)
    means = pd.DataFrame(found.for_machines())
    empty = [
        metric_class(name).column
        for name in names
        if not found.values_of(metric_class(name).column)
    ]
    without = [f"{name}{end}" for name in empty for end in ("", "_images", "_infinite", *EXTRA)]
    means = means.astype(dict.fromkeys(("bpp", *found.points[0].means), "float64"))
    means = means.drop(columns=without, errors="ignore")
    means.attrs = {
        "units": {name: _unit(name) for name in means.columns},
        "protocols": found.protocols_in_use,
        "images": found.images,
        "left_out": [one._asdict() for one in found.left_out],
        "machine": found.machine,
    }
    return means


def bd_rate(
    source: Source,
    anchor: str,
    metric: str = "psnr",
    *,
    up_to_bpp: float | None = None,
    any_overlap: bool = False,
    common: bool = False,
    allow_few: bool = False,
) -> pd.DataFrame:
    """Return the Bjøntegaard deltas of every codec variant relative to an anchor.

    Computed as in `bench report`: Pareto fronts, Akima interpolation of the logarithmic rate, at
    least four points, at most one in five points off the front.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of one dataset, from `load`, or what `load` takes.
    anchor : str
        Codec variant to compare with: its name in `summary`, or its spec.
    metric : str
        Name of a metric.
    up_to_bpp : float, optional
        Cut all curves at this rate first.
    any_overlap : bool
        Also compare curves that share less than a third of the qualities they span together.
    common, allow_few : bool
        As in `summary`.

    Returns
    -------
    DataFrame
        One row per codec variant. ``bd_rate_percent`` is of the mean curves (negative: fewer bits
        at equal quality), ``images_bd_rate_percent`` the mean over single images, with median and
        quartiles; ``_low`` and ``_high`` are ends of 95 % intervals over resampled images.
        ``bd_rate_overlap`` (0 to 1) is the share of qualities that both curves span, ``bd_metric``
        the mean difference of the metric at equal rate, ``points_left_out`` names points off the
        Pareto front, ``few`` marks distribution metrics of under 50 images. What cannot be computed
        is NaN, with its ``reason``.

    Raises
    ------
    UnknownName
        If there is no such metric, or the anchor has no rows.
    """
    (name,) = metric_names([metric])
    found = summarised(source, (name,), common, "per_image", allow_few)
    label = find_label(anchor, found.labels)
    measure = Measure.named(name)
    comparisons = compare(found, measure, label, up_to_bpp, any_overlap)
    deltas = pd.DataFrame(bd_records(comparisons, up_to_bpp))
    numbers = [name for name in deltas.columns if name.endswith(NUMBERS) or name == "bd_metric"]
    deltas = deltas.astype(dict.fromkeys(numbers, "float64"))  # None alone would be an object
    deltas.attrs = {
        "units": {name: _unit(name) for name in deltas.columns},
        "protocols": found.protocols_in_use,
        "images": found.images,
    }
    return deltas


def summarised(
    source: Source, names: Sequence[str], common: bool, average: Average, allow_few: bool
) -> Summary:
    """Summarise rows; distribution metrics where a frame knows its folder."""
    frame = source if isinstance(source, pd.DataFrame) else load(source)
    table = _table(frame)
    folder = frame.attrs.get("folder")
    if folder is None:
        of_images = [name for name in names if name not in DISTRIBUTION_METRICS]
        return summarise(table, protocols(of_images), average, common)
    return summarise_with_distributions(table, Path(folder), names, average, common, allow_few)


def _table(frame: pd.DataFrame) -> pa.Table:
    schema = schema_of(frame.columns)
    missing = [name for name in schema.names if name not in frame]
    if missing:
        raise UsageError(
            f"the frame lacks the columns {', '.join(missing[:3])}: select rows of `load` and "
            "keep its columns"
        )
    if not len(frame):
        raise UsageError("the frame has no rows")
    table = pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False)
    datasets = sorted({name.partition(":")[0] for name in pc.unique(table["dataset"]).to_pylist()})
    if len(datasets) > 1:
        raise UsageError(f"the frame has rows of {' and '.join(datasets)}: select one dataset")
    return table


def _unit(column: str, stored: str = "") -> str:
    """Return the unit of a column, by the end of its name where the schema has the metric's label.

    >>> _unit("psnr_db"), _unit("bd_rate_percent"), _unit("lpips_alex", "LPIPS (AlexNet)")
    ('dB', '%', '')
    """
    by_ending = {
        "_db": "dB", "_percent": "%", "bpp": "bit/px", "_seconds": "s",
        "_per_megapixel": "s/Mpx", "_db_of_mean_mse": "dB",
    }  # fmt: skip
    for ending, unit in by_ending.items():
        if column.endswith(ending):
            return unit
    return stored if stored in ("px", "bytes") else ""


def match(
    source: Source, codec: str, against: str, metric: str = "psnr", *, tolerance: str | float = 0.1
) -> pd.DataFrame:
    """Return ratios of two codecs over pairs of streams that match in one metric.

    Each stream of an image is paired with the nearest one of the other codec, if their values
    differ by no more than the tolerance, and is in one pair at most, as in codec-compare.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of one dataset, from `load` (any selection of them), or what `load` takes.
    codec, against : str
        Names of codecs, for all of their variants, or names of variants in `summary`.
    metric : str
        Name of the metric of single images that has to match.
    tolerance : float or str
        Largest difference of matched values: a number in the metric's units (MS-SSIM in dB), or
        "1%" of the larger value.

    Returns
    -------
    DataFrame
        One row per pair of variants. ``bytes_ratio`` is the geometric mean over pairs of the bytes
        of `codec` to those of `against`; ``<metric>_ratio`` likewise, and ``<metric>_difference``
        the mean difference of metrics that are better when higher (MS-SSIM in dB);
        ``encode_seconds_ratio`` and ``decode_seconds_ratio`` are of pairs timed alone on one
        machine. Each is followed by both ends of its 95 % interval over images and by its number of
        pairs. ``images``, ``images_without_match``, ``pairs`` and ``..._streams_without_match`` are
        counts. Without a pair, numbers are NaN.

    Raises
    ------
    UnknownName
        If there is no such metric or no such codec in the frame.
    UsageError
        If the metric is of a set of images, or the tolerance is no such number.
    """
    names = tuple(dict.fromkeys((*METRICS, *metric_names([metric]))))
    summary = summarised(source, names, False, "per_image", False)
    found = matches(summary, codec, against, metric, parse_tolerance(str(tolerance)))
    table = pd.DataFrame([one.for_machines() for one in found])
    ratios = [name for name in table.columns if "_ratio" in name or "_difference" in name]
    table = table.astype({name: "float64" for name in ratios if not name.endswith("_pairs")})
    table.attrs = {"protocols": summary.protocols_in_use, "machine": summary.machine}
    return table


def rank(
    source: Source,
    at: str | Sequence[str] = "bpp=0.3",
    *,
    metrics: str | Sequence[str] = "psnr,lpips_squeeze",
    budget: Budget = "image",
    common: bool = False,
    allow_few: bool = False,
) -> pd.DataFrame:
    """Return the codec variants at a rate or at a value of a metric, the best first.

    Each image's curve, its Pareto front, is interpolated as in BD-rates; nothing is extrapolated.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of one dataset, from `load` (any selection of them), or what `load` takes.
    at : str or sequence of str
        What to compare at: ``"bpp=0.3"``, ``"psnr=32"``, ``"lpips_squeeze=0.15"``.
    metrics : str or sequence of str
        Metrics to return; at a rate, the first one ranks.
    budget : {"image", "set"}
        Whether each image has the rate or value, or all images together with one setting.
    common : bool
        Average over the images that all codecs reach.
    allow_few : bool
        As in `summary`.

    Returns
    -------
    DataFrame
        One row per target (``at``) and codec variant. ``rank`` is missing where not all images
        reach the target: ``images_reached`` of ``images`` do. ``bpp`` and each metric's column are
        means over images, followed by both ends of their 95 % intervals. ``encode_seconds`` and
        ``decode_seconds`` are of an image, measured here; ``typical_seconds_per_megapixel`` of
        both, as the codec declares. What is not known is NaN.

    Raises
    ------
    UnknownName
        If there is no such metric.
    UsageError
        If a target is no rate or value, or a metric is of a whole set and `budget` is "image".
    """
    targets = [parse_target(text) for text in ([at] if isinstance(at, str) else at)]
    names = metric_names(metrics)
    asked = dict.fromkeys((*names, *(one.name for one in targets if one.name != RATE)))
    found = summarised(source, tuple(asked), False, "per_image", allow_few)
    measures = [Measure.named(name) for name in names]
    table = pd.DataFrame(
        one.record(measures)
        for target in targets
        for one in ranked_at(found, target, measures, budget, common)
    )
    others = ("at", "rank", "codec", "images", "images_reached")
    numbers = dict.fromkeys((name for name in table if name not in others), "float64")
    table = table.astype({"rank": "Int64", **numbers})
    table.attrs = {
        "units": {name: _unit(name) for name in table.columns},
        "protocols": found.protocols_in_use,
        "images": found.images,
    }
    return table
