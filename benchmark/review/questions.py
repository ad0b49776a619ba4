"""Review of a supplement: do its streams and numbers agree with what the author states?"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from benchmark.answer import NOTHING
from benchmark.datasets.dataset import profile
from benchmark.metrics.metric import Metric
from benchmark.published.curve_file import NamedCurve
from benchmark.published.points import slug
from benchmark.registry import METRICS, metric_class
from benchmark.review.decode import (
    BROKEN,
    ROUNDING,
    SIZE_DECLARED,
    TOLERANCE,
    DecodedStream,
    ValuePair,
    describe_differences,
    describe_largest_rounding,
    update_row,
    value_pairs,
)
from benchmark.review.sent import (
    Photographs,
    label_of_row,
    name_of_row,
    point_of,
    sent_values,
)
from benchmark.rows.packs.pack import Row
from benchmark.show.table import Table
from benchmark.system.text import counted, group_by_key, listed

Verdict = Literal["yes", "partly", "no", "unknown"]
STATES = ("equal", "rounded", "other", "blind", *BROKEN, "not run")
RATE_TOLERANCE = 5e-3  # relative
DB_TOLERANCE, VALUE_TOLERANCE = 0.01, 1e-3  # rounding of printed values
MS_SSIM_DB = "ms_ssim_db"  # mean of the per-image decibels
_decibels = Metric.named("ms_ssim").axis_position


class Question(NamedTuple):
    """Reviewer's question with its verdict, and its tables by name."""

    name: str  # "decodes", "numbers", "claim"
    question: str
    verdict: Verdict
    sentence: str
    tables: Mapping[str, Table]


class Evidence(NamedTuple):
    """The contents of a supplement, decoded and scored here."""

    streams: Sequence[DecodedStream]  # including pictures with declared sizes
    reconstructions: Sequence[Row]  # scored pictures with stated sizes
    curves: Sequence[NamedCurve]
    photographs: Photographs
    missing: Mapping[str, str]  # reason why photographs are missing, by dataset
    metrics: Sequence[str]  # computed here
    dataset: str

    @property
    def rows(self) -> list[Row]:
        """Rows to average, with values measured here, or else the submitted ones."""
        decodable_streams = [stream for stream in self.streams if stream.state not in BROKEN]
        rows = [update_row(stream, self.metrics) for stream in decodable_streams]
        return [*rows, *(row for row in self.reconstructions if row["status"] == "ok")]

    @property
    def dataset_rows(self) -> list[Row]:
        """Rows with the dataset's name; if none, those of its photographs; if none, all rows."""
        hashes = {source.sha256 for source in self.photographs.get(self.dataset, ())}
        rows_by_name = [row for row in self.rows if row["dataset"] == self.dataset]
        rows_by_image = [row for row in self.rows if row["image_sha256"] in hashes]
        return rows_by_name or rows_by_image or self.rows


def choose_verdict(
    contradictions: object, is_unknown: object = False, rounding: object = False
) -> Verdict:
    """Return "no" for any contradiction, "partly" if values differ only by rounding."""
    return "no" if contradictions else "unknown" if is_unknown else "partly" if rounding else "yes"


def first_contradiction(contradictions: Sequence[str]) -> str:
    """Return the end of a sentence: the first contradiction and the number of others."""
    remainder = f" ({len(contradictions) - 1} more differ)" if len(contradictions) > 1 else ""
    return f"; {contradictions[0]}{remainder}" if contradictions else ""


def check_streams(evidence: Evidence) -> Question:
    """Answer whether each stream has its stated size and decodes to the recorded pixels."""
    streams = [stream for stream in evidence.streams if not stream.is_declared]
    pictures = [stream for stream in evidence.streams if stream.is_declared]
    rows = []
    streams_by_label = group_by_key(
        (label_of_row(stream.row), stream) for stream in evidence.streams
    )
    for label, codec_streams in streams_by_label.items():
        counts = Counter[str](stream.state for stream in codec_streams)
        reasons = [stream.wrong_size or stream.reason for stream in codec_streams]
        reasons = [*dict.fromkeys(filter(None, reasons))]
        if any(stream.is_declared for stream in codec_streams):
            reasons.insert(0, SIZE_DECLARED)
        cells = (str(counts[state]) for state in STATES)
        rows.append((label, "; ".join(reasons[:3]), *cells))
    stated_counts = Counter(
        label_of_row(row) for row in evidence.reconstructions if row["status"] == "ok"
    )
    for curve in evidence.curves:
        stated_counts[curve.name] += max(len(rates) for rates, _ in curve.series.values())
    rows += [(label, f"{n} with stated rates only", *[NOTHING] * len(STATES))
             for label, n in stated_counts.items()]  # fmt: skip
    table = Table(("system", "what differs", *STATES), tuple(rows), 2)
    counts = Counter[str](stream.state for stream in streams)
    sentence = (
        f"{counts['equal']} of {counted(len(streams), 'stream')} decode here, from their bytes "
        "alone, to the recorded pixels"
    )
    if counts["rounded"]:
        sentence += f", {counts['rounded']} to pixels within {ROUNDING:g} dB of the recorded PSNR"
        first_reason = next(stream.reason for stream in streams if stream.state == "rounded")
        sentence += f" ({first_reason})" if first_reason else ""
    if not streams:
        sentence = "no stream was sent, so no stated rate can be checked"
    if pictures:
        num_equal = sum(stream.state == "equal" for stream in pictures)
        picture_text = counted(len(pictures), "picture has", "pictures have")
        sentence += f"; {num_equal} of {picture_text} the recorded pixels, and {SIZE_DECLARED}"
    not_run_reasons = [stream.reason for stream in evidence.streams if stream.state == "not run"]
    if not_run_reasons:
        reasons = [*dict.fromkeys(not_run_reasons)]
        num_streams = counted(len(not_run_reasons), "stream")
        sentence += f"; the decoder was not run for {num_streams}: {'; '.join(reasons)}"
    if blind_reasons := [s.reason for s in evidence.streams if s.state == "blind"]:
        sentence += "; some decode to pixels that differ by an unknown amount, since the "
        sentence += f"photograph or a recorded PSNR is missing: {blind_reasons[0]}"
    contradictions = [stream.wrong_size for stream in evidence.streams if stream.wrong_size]
    contradictions += [stream.reason for stream in evidence.streams
              if stream.state == "other" and not stream.wrong_size]  # fmt: skip
    broken_streams = [stream for stream in evidence.streams if stream.state in BROKEN]
    contradictions += [f"{name_of_row(stream.row)}: {stream.reason}" for stream in broken_streams]
    has_stated_rows = any(row["status"] == "ok" for row in evidence.reconstructions)
    is_unknown = not streams or pictures or not_run_reasons or blind_reasons or has_stated_rows
    verdict = choose_verdict(contradictions, is_unknown, counts["rounded"])
    sentence += first_contradiction(contradictions)
    question = "Do the streams decode to what is stated?"
    return Question("decodes", question, verdict, sentence, {"streams": table})


def check_numbers(evidence: Evidence) -> Question:
    """Answer whether submitted values equal those measured here, over complete datasets."""
    groups: dict[tuple[str, ...], list[ValuePair]] = defaultdict(list)
    for stream in evidence.streams:
        for column, pair in value_pairs(stream, evidence.metrics).items():
            groups[(*point_of(stream.row), column)].append(pair)
    for row in evidence.reconstructions:
        for column, value in sent_values(row, evidence.metrics).items():
            groups[(*point_of(row), column)].append(ValuePair(math.nan, value))
    image_table, incomplete_sentences = _check_images(evidence)
    metrics = {metric.column: metric for metric in map(Metric.named, evidence.metrics)}
    rows, num_equal, num_compared = [], 0, 0
    for (*point, column), point_pairs in sorted(groups.items()):
        number_format = f".{metrics[column].decimals + 1}f"
        means = [_finite_mean(pair[index] for pair in point_pairs) for index in (0, 1)]
        gaps = [abs(pair.sent - pair.measured) for pair in point_pairs]
        gaps = [gap for gap in gaps if math.isfinite(gap)]
        num_different = sum(not pair.is_equal for pair in point_pairs)
        if not math.isnan(point_pairs[0].sent):
            num_compared += 1
            num_equal += not num_different
        cells = [f"{mean:{number_format}}" if math.isfinite(mean) else NOTHING for mean in means]
        cells += [f"{max(gaps):.2g}" if gaps else NOTHING]
        counts = str(len(point_pairs)), str(num_different)
        rows.append((*point, metrics[column].label, *cells, *counts))
    headers = ("dataset", "system", "setting", "metric", "sent", "here", "largest difference")
    values = Table((*headers, "images", "differ"), tuple(rows), 4)
    tables = {"values": values, "images": image_table}
    columns = {metric_class(name).column for name in METRICS}
    uncompared_counts = Counter(
        column
        for stream in evidence.streams
        for column in columns - value_pairs(stream, evidence.metrics).keys()
        if stream.row.get(column) is not None
    )
    contradictions = [
        *describe_differences(evidence.streams, evidence.metrics),
        *incomplete_sentences,
    ]
    sentence = (
        f"{num_equal} of {counted(num_compared, 'mean')} agree with the means sent, each image "
        f"within {TOLERANCE:g}, or within {ROUNDING:g} where another processor's rounding changed "
        "the pixels"
    )
    if not num_compared:
        reasons = "; ".join(evidence.missing.values())
        reasons = reasons or "no value that can be measured here was sent"
        sentence = f"nothing could be compared: {reasons}"
    if uncompared_counts:
        names = sorted(uncompared_counts)
        texts = [f"{counted(uncompared_counts[name], 'value')} of {name}" for name in names]
        reasons = "left out by --metrics, computed under another protocol, or not decoded"
        sentence += f"; not compared ({reasons}): {listed(texts)}"
    if evidence.curves and (evidence.streams or evidence.reconstructions):
        tables["curves"], num_equal_values, curve_contradictions = _compare_curves(evidence)
        contradictions += curve_contradictions
        num_values = num_equal_values + len(curve_contradictions)
        sentence += f"; {num_equal_values} of {num_values} curve values equal a mean of the rows"
    is_rounded = any(pair.gap > 0 and pair.is_equal for pairs in groups.values() for pair in pairs)
    is_unknown = not num_compared or uncompared_counts.keys() & metrics
    verdict = choose_verdict(contradictions, is_unknown, is_rounded)
    if verdict == "partly":
        largest_rounding = describe_largest_rounding(evidence.streams, evidence.metrics)
        sentence += f"; the largest difference: {largest_rounding}"
    sentence += first_contradiction(contradictions)
    tables = {name: table for name, table in tables.items() if table.rows}
    return Question("numbers", "Are the numbers right?", verdict, sentence, tables)


def _finite_mean(values: Iterable[float]) -> float:
    finite_values = [value for value in values if math.isfinite(value)]
    return fmean(finite_values) if finite_values else math.nan


def _check_images(evidence: Evidence) -> tuple[Table, list[str]]:
    groups: dict[tuple[str, ...], set[str]] = defaultdict(set)
    failures_by_point: dict[tuple[str, ...], list[str]] = defaultdict(list)
    failures = [(row, row.get("reason")) for row in evidence.reconstructions
                if row["status"] != "ok"]  # fmt: skip
    failures += [(stream.row, stream.reason) for stream in evidence.streams
                 if stream.state in BROKEN]  # fmt: skip
    for row, reason in failures:
        failures_by_point[point_of(row)].append(f"{row['image']}: {reason}")
    for row in evidence.rows:
        groups[point_of(row)].add(row["image_sha256"])
    rows, contradictions = [], []
    for point in sorted(groups.keys() | failures_by_point.keys()):
        hashes, (dataset, label, setting) = groups[point], point
        photographs = evidence.photographs
        sources = photographs.get(dataset) or photographs.get(evidence.dataset) or ()
        names = {source.sha256: source.file.name for source in sources}
        if (
            not names.keys() & hashes
            and dataset not in photographs
            and not failures_by_point[point]
        ):
            names = {}  # photographs of another dataset
        num_expected = len(names) or profile(dataset).published_images
        missing_names = [name for sha256, name in names.items() if sha256 not in hashes]
        if num_expected and (missing_names or len(hashes) != num_expected):
            missing_text = f" and lacks {listed(missing_names)}" if missing_names else ""
            image_text = f"{len(hashes)} of {num_expected} images{missing_text}"
            contradictions.append(f"{label} at {setting} has {image_text}")
        missing_text = ", ".join(missing_names[:12]) + (" ..." if len(missing_names) > 12 else "")
        reasons = "; ".join(failures_by_point[point][:2])
        rows.append((*point, missing_text, reasons, str(len(hashes)), str(num_expected or NOTHING)))
    headers = ("dataset", "system", "setting", "left out", "failed", "images", "of")
    return Table(headers, tuple(rows), 5), contradictions


def _compare_curves(evidence: Evidence) -> tuple[Table, int, list[str]]:
    means, rows, num_equal, contradictions = _point_means(evidence.dataset_rows), [], 0, list[str]()
    labels = {label for label, _ in means}
    for curve in evidence.curves:
        name = slug(curve.name)
        matching_labels = {label for label in labels if name == slug(label)}
        matching_labels = matching_labels or {label for label in labels if name in slug(label)}
        if not matching_labels and len(labels) == len(evidence.curves) == 1:
            matching_labels = labels
        for column, (rates, values) in curve.series.items():
            points = [point for (label, _), point in means.items()
                      if label in matching_labels and column in point]  # fmt: skip
            is_in_db = column.endswith("_db") or column in curve.db_columns
            for rate, value in zip(rates, values, strict=True):
                cells = curve.name, column, f"{rate:.4f}", f"{value:.4f}"
                if not points:
                    rows.append((*cells, NOTHING, NOTHING, "no rows with this name"))
                    continue
                nearest_point = min(points, key=lambda point: abs(math.log(point["bpp"] / rate)))
                stated_value, means_of_point = value, [nearest_point[column]]
                if column in curve.db_columns:  # decibels of the mean, or mean of the decibels
                    stated_value = _decibels(value)
                    means_of_point = [
                        _decibels(nearest_point[column]),
                        nearest_point.get(MS_SSIM_DB, math.inf),
                    ]
                tolerance = DB_TOLERANCE if is_in_db else VALUE_TOLERANCE
                is_equal = abs(nearest_point["bpp"] / rate - 1) <= RATE_TOLERANCE and any(
                    mean == stated_value or abs(mean - stated_value) <= tolerance
                    for mean in means_of_point
                )
                measured_texts = f"{nearest_point['bpp']:.4f}", f"{nearest_point[column]:.4f}"
                rows.append((*cells, *measured_texts, "yes" if is_equal else "no"))
                num_equal += is_equal
                if not is_equal:
                    stated_text = f"{curve.name} has {value:.4f} {column} at {rate:.4f} bpp"
                    contradictions.append(
                        f"{stated_text}, the rows {measured_texts[1]} at {measured_texts[0]}"
                    )
    headers = ("curve", "metric", "bpp, sent", "value, sent", "bpp, here", "value, here", "same")
    return Table(headers, tuple(rows), 2), num_equal, contradictions


def _point_means(rows: Iterable[Row]) -> dict[tuple[str, str], dict[str, float]]:
    """Average rate and metrics by label and setting, ignoring infinite values."""
    groups: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        values = {"bpp": row["bpp"], **sent_values(row, METRICS)}
        values[MS_SSIM_DB] = _decibels(values.get("ms_ssim", 1.0))
        for name, value in values.items():
            if math.isfinite(value):
                groups[point_of(row)[1:]][name].append(value)
    return {
        key: {name: fmean(numbers) for name, numbers in point.items()}
        for key, point in groups.items()
    }
