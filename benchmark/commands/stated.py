"""Other authors' pictures: how files were matched to images; stated and measured values."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmark.codec import Setting
from benchmark.metrics.metric import Metric
from benchmark.published.curve_file import column_of
from benchmark.registry import METRICS
from benchmark.spec import CodecSpec, codec_class, load_codec
from benchmark.system.text import counted, group_by_key, number_in

if TYPE_CHECKING:
    from benchmark.measure.record import Outcome
    from benchmark.measure.select import Matrix

MS_SSIM_DB = "ms_ssim_db"  # others report MS-SSIM in dB; this project stores it linear
TOLERANCES = {"psnr_db": 0.01, MS_SSIM_DB: 0.01}  # papers round to this
DEFAULT_TOLERANCE = 1e-3  # tolerance for other metrics


def file_matching_lines(matrix: "Matrix") -> list[str]:
    """Return a line for each codec of published pictures: how its files match the images."""
    names = [image.file.name for image in matrix.sources.images]
    codecs = [
        _load_codec_with_stated_values(contender.spec) for contender in matrix.selection.contenders
    ]
    return [line for codec in codecs if codec and (line := codec.understood(names))]


def stated_values(outcome: "Outcome") -> list[dict[str, Any]]:
    """Return the means of finite stated and measured values by codec, setting and metric."""
    uncompared_counts = Counter[tuple[str, str, str]]()
    values: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    codecs: dict[CodecSpec, Any] = {}
    rows = outcome.rows.filter(status="ok").sort("codec", "variant", "setting_value")
    for row in rows.rows(named=True):
        spec, setting = CodecSpec.parse_row(row), Setting(row["setting_name"], row["setting_value"])
        codec = (
            codecs[spec]
            if spec in codecs
            else codecs.setdefault(spec, _load_codec_with_stated_values(spec))
        )
        for name, text in codec.stated(row["image"], setting).items() if codec else ():
            column, number = column_of(name), number_in(text)
            column = MS_SSIM_DB if column == "ms_ssim" and number > 1 else column
            measured_value = row.get("ms_ssim" if column == MS_SSIM_DB else column)
            if column == "bpp" or measured_value is None or not text.strip():
                continue
            if column == MS_SSIM_DB:
                measured_value = Metric.named("ms_ssim").axis_position(measured_value)
            pairs = values.setdefault(key := (spec.label, str(setting), column), [])
            if math.isfinite(number) and math.isfinite(measured_value):
                pairs.append((number, measured_value))
            else:
                uncompared_counts[key] += 1
    records = []
    for key, pairs in values.items():
        largest_difference = max(
            (abs(stated_value - measured_value) for stated_value, measured_value in pairs),
            default=0.0,
        )
        record = dict(zip(("codec", "setting", "metric"), key, strict=True))
        stated_mean, measured_mean = map(fmean, zip(*pairs, strict=True)) if pairs else (None, None)
        differs = largest_difference > TOLERANCES.get(key[2], DEFAULT_TOLERANCE)
        numbers: dict[str, Any] = {"images": len(pairs), "not_compared": uncompared_counts[key]}
        numbers |= {"stated": stated_mean, "measured": measured_mean}
        numbers |= {"largest_difference": largest_difference, "differs": differs}
        records.append(record | numbers)
    return records


def stated_lines(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line for each codec and metric: means over settings, and their agreement."""
    metrics = {metric.column: metric for metric in map(Metric.named, METRICS)}
    metrics[MS_SSIM_DB] = replace(Metric.named("ms_ssim"), column=MS_SSIM_DB, unit="dB", decimals=2)
    lines = []
    groups = group_by_key(((record["codec"], record["metric"]), record) for record in records)
    for (codec, column), records_of_metric in groups.items():
        metric = metrics[column]
        form = f".{metric.decimals + 1}f"
        count = counted(sum(record["images"] for record in records_of_metric), "picture")
        line = metric.label
        if compared_records := [record for record in records_of_metric if record["images"]]:
            stated_mean, measured_mean = (
                fmean(record[name] for record in compared_records)
                for name in ("stated", "measured")
            )
            largest_difference = max(record["largest_difference"] for record in records_of_metric)
            line += f" {stated_mean:{form}}, measured {measured_mean:{form}}"
            line += f" ({count}, at most {largest_difference:.2g} apart)"
        if num_uncompared := sum(record["not_compared"] for record in records_of_metric):
            line += f", not compared: {counted(num_uncompared, 'value')} such as inf, nan or text"
        if any(record["differs"] for record in records_of_metric):
            line += "; the difference exceeds rounding: perhaps another network or scale"
        lines.append(f"stated   {codec}: {line}")
    return lines


def _load_codec_with_stated_values(spec: CodecSpec) -> Any:
    """Load a codec whose authors state values of its pictures; None for other codecs."""
    return load_codec(spec) if hasattr(codec_class(spec), "stated") else None
