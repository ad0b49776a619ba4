"""Pictures that others publish: what was understood of them, and their values beside those here."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmark.answer import decimals
from benchmark.codec import Setting
from benchmark.metrics.metric import Metric
from benchmark.published.curve_file import column_of
from benchmark.registry import METRICS
from benchmark.spec import CodecSpec, codec_class, load_codec
from benchmark.system.text import by_key, counted, number_in

if TYPE_CHECKING:
    from benchmark.measure.record import Outcome
    from benchmark.measure.select import Matrix

IN_DB = "ms_ssim_db"  # that others state; here it is linear
ALIKE = {"psnr_db": 0.01, IN_DB: 0.01}  # no more than the roundings of papers; of other metrics:
ALIKE_ELSE = 1e-3


def understood(matrix: "Matrix") -> list[str]:
    """Return a line for each codec of published pictures among a run's."""
    names = [image.file.name for image in matrix.sources.images]
    codecs = [_stating(contender.spec) for contender in matrix.selection.contenders]
    return [line for codec in codecs if codec and (line := codec.understood(names))]


def stated_values(outcome: "Outcome") -> list[dict[str, Any]]:
    """Return records of stated and measured means, by codec, setting and metric.

    `not_compared` counts what is stated, or measured, and no finite number.
    """
    not_compared = Counter[tuple[str, str, str]]()
    values: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    codecs: dict[CodecSpec, Any] = {}
    rows = outcome.rows.filter(status="ok").sort("codec", "variant", "setting_value")
    for row in rows.rows(named=True):
        spec, setting = CodecSpec.of_row(row), Setting(row["setting_name"], row["setting_value"])
        states = codecs[spec] if spec in codecs else codecs.setdefault(spec, _stating(spec))
        for name, text in states.stated(row["image"], setting).items() if states else ():
            column, number = column_of(name), number_in(text)
            column = IN_DB if column == "ms_ssim" and number > 1 else column
            here = row.get("ms_ssim" if column == IN_DB else column)
            if column == "bpp" or here is None or not text.strip():
                continue
            here = Metric.named("ms_ssim").plotted(here) if column == IN_DB else here
            pairs = values.setdefault(key := (spec.label, str(setting), column), [])
            if math.isfinite(number) and math.isfinite(here):
                pairs.append((number, here))
            else:
                not_compared[key] += 1
    records = []
    for key, pairs in values.items():
        largest = max((abs(first - second) for first, second in pairs), default=0.0)
        record = dict(zip(("codec", "setting", "metric"), key, strict=True))
        stated, measured = map(fmean, zip(*pairs, strict=True)) if pairs else (None, None)
        differs = largest > ALIKE.get(key[2], ALIKE_ELSE)
        numbers = {"images": len(pairs), "not_compared": not_compared[key], "stated": stated}
        numbers |= {"measured": measured, "largest_difference": largest}
        records.append({**record, **numbers, "differs": differs})
    return records


def stated_lines(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line for each codec and metric: the means over its settings, and whether alike."""
    labels = {metric.column: metric.label for metric in map(Metric.named, METRICS)}
    labels[IN_DB] = "MS-SSIM (dB)"
    lines = []
    for (codec, column), of in by_key(((it["codec"], it["metric"]), it) for it in records).items():
        label = labels.get(column, column)
        form = f".{decimals(label) + 1}f"
        count = counted(sum(it["images"] for it in of), "picture")
        line = label
        if compared := [it for it in of if it["images"]]:
            first, second = (fmean(it[name] for it in compared) for name in ("stated", "measured"))
            worst = max(it["largest_difference"] for it in of)
            line += (
                f" {first:{form}}, measured {second:{form}} ({count}, at most {worst:.2g} apart)"
            )
        if others := sum(it["not_compared"] for it in of):
            line += f", not compared: {counted(others, 'value')} such as inf, nan or text"
        if any(it["differs"] for it in of):
            line += ": another network, scale or rounding"
        lines.append(f"stated   {codec}: {line}")
    return lines


def _stating(spec: CodecSpec) -> Any:
    """Return a codec that says what authors state of its pictures; None for others."""
    return load_codec(spec) if hasattr(codec_class(spec), "stated") else None
