"""Points of rate-distortion curves: means over the images of each codec variant and setting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from benchmark.codec import BoolArray, Float64Array, Int64Array, Setting
from benchmark.metrics.distribution_metric import FEW_IMAGES
from benchmark.metrics.measure import protocols as present_protocols
from benchmark.metrics.measure import psnr_of_mean_mse
from benchmark.registry import CODECS, DISTRIBUTION_METRICS, METRICS, metric_named
from benchmark.rows.codecs import NOT_STATED, CodingFacts
from benchmark.rows.comparable import (
    OF_MEAN_MSE,
    Average,
    ComparableRows,
    LeftOut,
    Mean,
    Tally,
    mean_bpp,
    means,
    metric_means,
    tallies,
)
from benchmark.rows.systems import coding_facts
from benchmark.spec import CodecSpec

SECONDS = ("encode_seconds", "decode_seconds")  # never of precomputed rows
# Only of rows measured alone, on one machine: that of the latest such row.
TIMED = ("encode_seconds_per_megapixel", "decode_seconds_per_megapixel")
CONTAINER = "container_bytes"  # of each stream, the file format's; bpp counts them
REAL_TO_ESTIMATED = "real_to_estimated_bits"  # of each stream, by the codec's own probabilities
COSTS = (
    *("parameters", "encode_kmac", "decode_kmac", "encode_peak_bytes", "decode_peak_bytes"),
    REAL_TO_ESTIMATED,
)


class Build(NamedTuple):
    """The identity of what made the streams of a row."""

    fingerprint: str
    revision: int
    apart: bool = False  # bundled, and not equal to what was measured here with the same


NO_BUILD = Build("", 0)


@dataclass(frozen=True, slots=True)
class Edition:
    """A codec variant as it ran: of one build, that is one program or weight file."""

    label: str
    codec: str
    version: str  # all versions that its rows name, the latest row's first
    command: str
    timed: str  # what the seconds contain
    devices: tuple[str, ...]
    caveats: tuple[str, ...]  # shown beside the codec in tables and figures
    recorded: bool = False  # some rows are precomputed
    facts: CodingFacts = NOT_STATED
    bundled: bool = False  # all rows came with the project or in a pack
    variant: str = ""  # options of the codec
    build: Build = NO_BUILD
    run: str = ""  # of the latest row
    shown: bool = True  # of the editions of its variant, the one in figures and tables

    @property
    def spec(self) -> CodecSpec:
        """The codec variant."""
        return CodecSpec.of(self.codec, self.variant)

    @property
    def options(self) -> dict[str, str]:
        """The options of `variant` by name."""
        return dict(self.spec.options)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A codec variant at one setting. Arrays have shape (images,)."""

    edition: Edition
    setting: Setting
    bpp: float | None
    images: int  # with a stream
    missing: int  # images that another point has a stream of and this one has not
    failed: int
    failures: Tally
    # of every metric column, of SECONDS, TIMED and CONTAINER; of COSTS if any point has a value
    means: Mapping[str, Mean]
    image_ids: Int64Array  # numbers that stand for images, ascending, the same in all points
    image_bpp: Float64Array
    # by metric column, and of TIMED; NaN where there is no value
    image_values: Mapping[str, Float64Array]
    image_pixels: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def label(self) -> str:
        """The name of the codec variant in tables and figures."""
        return self.edition.label


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """All points of a dataset, in the registry's order of codecs and then by rate."""

    points: tuple[Point, ...]
    images: int  # that the points are compared on
    dropped: int  # images that not every point has, left out because `common` was asked for
    average: Average  # of bpp
    protocols: Mapping[str, str]  # protocol id by metric column, and of "coding"
    machine: str  # that the TIMED means come from; empty for none
    left_out: tuple[LeftOut, ...]  # rows that are not comparable
    # Points of the editions that are not shown, for variants of one build (`builds`).
    replaced: tuple[Point, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the codec variants, in order."""
        return tuple(dict.fromkeys(point.label for point in self.points))

    @property
    def protocols_in_use(self) -> dict[str, str]:
        """The entries of `protocols` under which there is any value."""
        used = [name for name in self.protocols if name == "coding" or self.values_of(name)]
        return {name: self.protocols[name] for name in used}

    def values_of(self, column: str) -> int:
        """Count the values of a metric column in all points together."""
        means = [point.means[column] for point in self.points]
        return sum(mean.images + mean.infinite for mean in means)

    def for_machines(self) -> list[dict[str, Any]]:
        """Return one flat record per point, JSON values only, each mean followed by its counts."""
        of_sets = {metric_named(name).column for name in DISTRIBUTION_METRICS}
        records = []
        for point in self.points:
            record: dict[str, Any] = {
                "codec": point.label,
                "setting": str(point.setting),
                "bpp": point.bpp,
                "images": point.images,
                "images_missing": point.missing,
                "images_failed": point.failed,
            }
            for name, mean in point.means.items():
                record |= {name: mean.value, f"{name}_images": mean.images}
                if name not in (*SECONDS, *TIMED, CONTAINER, *COSTS):
                    record[f"{name}_infinite"] = mean.infinite
                if name in OF_MEAN_MSE:
                    known = point.image_values[name]
                    whole = np.count_nonzero(~np.isnan(known)) == mean.images + mean.infinite
                    record[f"{name}_of_mean_mse"] = psnr_of_mean_mse(known) if whole else None
                if name in of_sets:
                    record[f"{name}_few"] = 0 < mean.images < FEW_IMAGES
            caveat, version = "; ".join(point.edition.caveats), point.edition.version
            records.append({**record, "caveat": caveat, "version": version})
        return records


def summarise(
    table: pa.Table,
    protocols: Mapping[str, str] | None = None,
    average: Average = "per_image",
    common: bool = False,
) -> Summary:
    """Return the means of a table of rows (columns of `schema.table_schema`, one row per cell).

    protocols: the metric columns to summarise, each with the protocol id that its values must have,
    and "coding"; by default all metrics of single images. common: restrict everything to the images
    that all points have; else points that lack images must not be plotted or compared.
    """
    protocols = present_protocols(METRICS) if protocols is None else protocols
    rows = ComparableRows(table, protocols["coding"])
    return summarise_rows(rows, protocols, average, common)


def summarise_rows(
    rows: ComparableRows,
    protocols: Mapping[str, str],
    average: Average = "per_image",
    common: bool = False,
) -> Summary:
    """Return the means of comparable rows; other arguments as in `summarise`."""
    everything = rows.images_of(rows.ok)
    if common:
        rows = rows.changed(ok=rows.common(rows.ok))
    coded_here = rows.ok & (rows.numbers("recorded") != 1)
    machine, alone = _timed_alone(rows, coded_here)
    values: dict[str, Float64Array] = {}
    of_points = {n: means(rows, rows.numbers(n), coded_here, average, common) for n in SECONDS}
    for name, seconds in zip(TIMED, SECONDS, strict=True):
        speeds = rows.numbers(seconds) / (rows.pixels / 1e6)
        values[name] = np.where(alone, speeds, np.nan) if alone.any() else rows.nothing
        of_points[name] = means(rows, values[name], alone, average, common)
    of_points[CONTAINER] = means(rows, rows.numbers(CONTAINER), rows.ok, average, common)
    of_points |= _costs(rows, average, common)
    absent = None  # what all metrics have that no row was measured with
    for name, protocol in protocols.items():
        if name == "coding":
            continue
        lacking = rows.lacks(name)
        of_metric = absent if lacking and absent else None
        of_metric = of_metric or metric_means(rows, name, protocol, average, common)
        values[name], of_points[name] = of_metric
        absent = of_metric if lacking else absent

    def order(point: Point) -> tuple[Any, ...]:
        place = [*CODECS, point.edition.codec].index(point.edition.codec)
        return place, point.label, point.bpp is None, point.bpp or 0.0, point.setting

    points = sorted(_points(rows, of_points, values, average), key=order)
    images = rows.images_of(rows.ok)
    return Summary(
        points=tuple(point for point in points if point.edition.shown),
        images=images,
        dropped=everything - images,
        average=average,
        protocols=dict(protocols),
        machine=machine,
        left_out=rows.left_out,
        replaced=tuple(point for point in points if not point.edition.shown),
    )


def _costs(rows: ComparableRows, average: Average, common: bool) -> dict[str, list[Mean]]:
    """Return the mean of each point in each of COSTS that any row has."""
    result = {}
    for name in COSTS:
        if name == REAL_TO_ESTIMATED:
            estimated = rows.numbers("estimated_bits")
            values = 8 * rows.bytes / np.where(estimated > 0, estimated, np.nan)
        else:
            values = rows.numbers(name)
        if not np.isnan(values[rows.ok]).all():
            result[name] = means(rows, values, rows.ok, average, common)
    return result


def _timed_alone(rows: ComparableRows, coded_here: BoolArray) -> tuple[str, BoolArray]:
    """Return the machine of the latest row that was timed alone, and mark such rows of it."""
    alone = coded_here & (rows.numbers("timing") == 1) & rows.shown
    if not alone.any():
        return "", alone
    machine, machines = rows.codes("machine")
    latest = np.flatnonzero(alone)[rows.recency()[alone].argmax()]
    return str(machines[machine[latest]]), alone & (machine == machine[latest])


def _points(
    rows: ComparableRows,
    of_points: Mapping[str, list[Mean]],
    values: Mapping[str, Float64Array],
    average: Average,
) -> list[Point]:
    failures = _failures(rows)
    failed = np.bincount(rows.point[rows.failed], minlength=rows.points).tolist()
    ok = slice(None) if rows.ok.all() else rows.ok  # a million rows are not copied
    of_point, pixels, ids = rows.point[ok], rows.pixels[ok], rows.image[ok]
    image_bpp = rows.bpp[ok]
    of_ok = {key: of[ok] for key, of in {id(of): of for of in values.values()}.items()}
    values = {name: of_ok[id(of)] for name, of in values.items()}
    rates = mean_bpp(rows, ok, average).tolist()
    bounds = np.searchsorted(of_point, np.arange(rows.points + 1)).tolist()
    first = np.searchsorted(rows.point, np.arange(rows.points))
    name, names = rows.codes("setting_name")
    setting_values = rows.table["setting_value"].take(pa.array(rows.index[first])).to_pylist()
    settings = [Setting(names[i], x) for i, x in zip(name[first], setting_values, strict=True)]
    editions = _editions(rows)
    reference = rows.images_of(rows.ok)
    return [
        Point(
            edition=editions[int(rows.edition[i])],
            setting=settings[i],
            bpp=rates[i] if end > start else None,
            images=end - start,
            missing=reference - (end - start),
            failed=failed[i],
            failures=failures.get(i, ()),
            means={name: of_name[i] for name, of_name in of_points.items()},
            image_ids=ids[start:end],
            image_bpp=image_bpp[start:end],
            image_values={name: column[start:end] for name, column in values.items()},
            image_pixels=pixels[start:end],
        )
        for i, (start, end) in enumerate(pairwise(bounds))
    ]


def _failures(rows: ComparableRows) -> dict[int, Tally]:
    if rows.ok.all():
        return {}
    stage, stages = rows.codes("stage")
    reason, reasons = rows.codes("reason")
    code = stage * len(reasons) + reason
    kinds, code[rows.failed] = np.unique(code[rows.failed], return_inverse=True)
    texts = [f"{stages[i // len(reasons)]}: {reasons[i % len(reasons)]}" for i in kinds.tolist()]
    return tallies(rows, rows.failed, code, texts)


def _editions(rows: ComparableRows) -> dict[int, Edition]:
    """Describe each edition by its latest row, with what all its rows name."""
    caveats, origins, devices, versions = (
        rows.distinct(name) for name in ("caveat", "bytes_origin", "device", "codec_version")
    )
    labels = rows.labels()
    recorded = rows.editions_with(rows.numbers("recorded") == 1)
    here = rows.editions_with(rows.numbers("bundled") != 1)
    names = (
        *("codec", "variant", "codec_version", "command", "timed", "run"),
        *("fingerprint", "revision", "chroma", "tuned_for"),
    )
    editions, builds = {}, dict[int, Build]()
    latest = rows.table.select(names).take(pa.array(rows.index[rows.latest])).to_pylist()
    for last, texts in zip(rows.latest.tolist(), latest, strict=True):
        point = int(rows.point[last])
        number = int(rows.edition[point])
        row = {name: text or "" for name, text in texts.items()}
        build = Build(row["fingerprint"], int(row["revision"] or 0), bool(rows.apart[point]))
        declared = ["bytes=declared"] if "declared" in origins[number] else []
        editions[number] = Edition(
            label=labels[number],
            codec=row["codec"],
            version=" and ".join(dict.fromkeys((row["codec_version"], *versions[number]))),
            command=row["command"],
            timed=row["timed"],
            devices=devices[number],
            caveats=(*caveats[number], *declared),
            recorded=number in recorded,
            facts=coding_facts(row["codec"], row["variant"], row["chroma"], row["tuned_for"]),
            bundled=number not in here,
            variant=row["variant"],
            build=builds.setdefault(int(rows.build[point]), build),
            run=row["run"],
            shown=bool(rows.shown[last]),
        )
    return editions
