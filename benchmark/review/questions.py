"""Do the streams decode to what is stated, and are the numbers right? Answers with their rows."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from benchmark.answer import NOTHING, decimals
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
    Decoded,
    Pair,
    differences,
    largest_rounding,
    pairs,
)
from benchmark.review.decode import here as measured_here
from benchmark.review.sent import (
    Photographs,
    label_of_row,
    name_of_row,
    point_of,
    values_sent,
)
from benchmark.rows.packs.pack import Row
from benchmark.show.table import Table
from benchmark.system.text import by_key, counted, listed

Verdict = Literal["yes", "partly", "no", "unknown"]
STATES = ("equal", "rounded", "other", "blind", *BROKEN, "not run")
RATE_PRINTED, DB_PRINTED, VALUE_PRINTED = 5e-3, 0.01, 1e-3  # relative; as tables print means
IN_DB = "ms_ssim_db"  # the mean of the images' decibels
_decibels = Metric.named("ms_ssim").plotted


class Question(NamedTuple):
    """A question of a reviewer with its verdict; tables, by name, have the rows behind it."""

    name: str  # "decodes", "numbers", "claim", for machines
    question: str
    verdict: Verdict
    sentence: str
    tables: Mapping[str, Table]


class Reviewed(NamedTuple):
    """A supplement as it came out here."""

    streams: Sequence[Decoded]  # and pictures of declared sizes
    reconstructions: Sequence[Row]  # scored here, of stated sizes
    curves: Sequence[NamedCurve]
    photographs: Photographs  # those that are here
    missing: Mapping[str, str]  # why others are not, by dataset
    metrics: Sequence[str]  # that were computed here
    dataset: str

    @property
    def rows(self) -> list[Row]:
        """Rows that means are over: with the values measured here, else with those sent."""
        whole = [it for it in self.streams if it.state not in BROKEN]
        rows = [measured_here(stream, self.metrics) for stream in whole]
        return [*rows, *(row for row in self.reconstructions if row["status"] == "ok")]

    @property
    def rows_of_dataset(self) -> list[Row]:
        """The rows of the dataset, by its name or else by its photographs; all where none is."""
        known = {source.sha256 for source in self.photographs.get(self.dataset, ())}
        own = [row for row in self.rows if row["dataset"] == self.dataset]
        return own or [row for row in self.rows if row["image_sha256"] in known] or self.rows


def verdict_of(wrong: object, unknown: object = False, rounded: object = False) -> Verdict:
    """Return "no" for any contradiction, "partly" for differences of rounding alone."""
    return "no" if wrong else "unknown" if unknown else "partly" if rounded else "yes"


def worst(wrong: Sequence[str]) -> str:
    """Return the end of a sentence on contradictions, which names the first."""
    more = f" ({len(wrong) - 1} more differ)" if len(wrong) > 1 else ""
    return f"; {wrong[0]}{more}" if wrong else ""


def decodes(of: Reviewed) -> Question:
    """Say whether each stream has its stated size and decodes to the pixels that were recorded."""
    streams = [it for it in of.streams if not it.is_declared]
    pictures = [it for it in of.streams if it.is_declared]
    rows = []
    for label, alike in by_key((label_of_row(it.row), it) for it in of.streams).items():
        counts = Counter[str](it.state for it in alike)
        reasons = [*dict.fromkeys(filter(None, (it.wrong_size or it.reason for it in alike)))]
        if any(it.is_declared for it in alike):
            reasons.insert(0, SIZE_DECLARED)
        cells = (str(counts[state]) for state in STATES)
        rows.append((label, "; ".join(reasons[:3]), *cells))
    stated = [label_of_row(row) for row in of.reconstructions if row["status"] == "ok"]
    stated += [c.name for c in of.curves for _ in max((v for v, _ in c.series.values()), key=len)]
    rows += [(label, f"{n} of stated rates alone", *[NOTHING] * len(STATES))
             for label, n in Counter(stated).items()]  # fmt: skip
    table = Table(("system", "what differs", *STATES), tuple(rows), 2)
    counts = Counter[str](it.state for it in streams)
    sentence = (
        f"{counts['equal']} of {counted(len(streams), 'stream')} decode here, from their bytes "
        "alone, to the recorded pixels"
    )
    if counts["rounded"]:
        sentence += f", {counts['rounded']} to others within {ROUNDING:g} dB of the recorded PSNR"
        first = next(it.reason for it in streams if it.state == "rounded")
        sentence += f" ({first})" if first else ""
    if not streams:
        sentence = "no stream was sent: every rate is stated by the author, and nothing decodes"
    if pictures:
        same = sum(it.state == "equal" for it in pictures)
        having = counted(len(pictures), "picture has", "pictures have")
        sentence += f"; {same} of {having} the recorded pixels, and {SIZE_DECLARED}"
    not_run = [it.reason for it in of.streams if it.state == "not run"]
    if not_run:
        whys = "; ".join(dict.fromkeys(not_run))
        sentence += f"; the decoder of {len(not_run)} was not run: {whys}"
    if blind := [it.reason for it in of.streams if it.state == "blind"]:
        sentence += f"; without the photograph and a PSNR, not known by how much: {blind[0]}"
    wrong = [it.wrong_size for it in of.streams if it.wrong_size]
    wrong += [it.reason for it in of.streams if it.state == "other" and not it.wrong_size]
    broken = [it for it in of.streams if it.state in BROKEN]
    wrong += [f"{name_of_row(it.row)}: {it.reason}" for it in broken]
    stated_rows = any(row["status"] == "ok" for row in of.reconstructions)
    unknown = not streams or pictures or not_run or blind or stated_rows
    verdict = verdict_of(wrong, unknown, counts["rounded"])
    question = "Do the streams decode to what is stated?"
    return Question("decodes", question, verdict, sentence + worst(wrong), {"streams": table})


def numbers(of: Reviewed) -> Question:
    """Compare values, curves and images with those that were measured here."""
    groups: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for stream in of.streams:
        for column, pair in pairs(stream, of.metrics).items():
            groups[(*point_of(stream.row), column)].append(pair)
    for row in of.reconstructions:
        for column, value in values_sent(row, of.metrics).items():
            groups[(*point_of(row), column)].append(Pair(math.nan, value))
    images, lacking = _images(of)
    labels = {metric_class(name).column: metric_class(name).label for name in of.metrics}
    rows, good, compared = [], 0, 0
    for (*point, column), alike in sorted(groups.items()):
        form = f".{decimals(labels[column]) + 1}f"
        means = [_mean(pair[place] for pair in alike) for place in (0, 1)]
        gaps = [abs(pair.sent - pair.here) for pair in alike]
        gaps = [gap for gap in gaps if math.isfinite(gap)]
        differ = sum(not pair.same for pair in alike)
        known = not math.isnan(alike[0].sent)
        compared, good = compared + known, good + (known and not differ)
        cells = (f"{mean:{form}}" if math.isfinite(mean) else NOTHING for mean in means)
        most = f"{max(gaps):.2g}" if gaps else NOTHING
        rows.append((*point, labels[column], *cells, most, str(len(alike)), str(differ)))
    headers = ("dataset", "system", "setting", "metric", "sent", "here", "largest difference")
    values = Table((*headers, "images", "differ"), tuple(rows), 4)
    tables = {"values": values, "images": images}
    columns = {metric_class(name).column for name in METRICS}
    left = Counter(name for it in of.streams for name in columns - {*pairs(it, of.metrics)}
                   if it.row.get(name) is not None)  # fmt: skip
    wrong = [*differences(of.streams, of.metrics), *lacking]
    sentence = (
        f"{good} of {counted(compared, 'mean')} are as sent, each image within {TOLERANCE:g}, "
        f"within {ROUNDING:g} where the pixels are of another processor's rounding"
    )
    if not compared:
        why = "; ".join(of.missing.values()) or "no value that can be measured here was sent"
        sentence = f"nothing could be compared: {why}"
    if left:
        counts = listed([f"{left[name]} of {name}" for name in sorted(left)])
        sentence += f"; not compared (--metrics, another protocol, not decoded): {counts}"
    if of.curves and (of.streams or of.reconstructions):
        tables["curves"], same, off = _curves(of)
        wrong += off
        sentence += f"; {same} of {counted(same + len(off), 'value')} of curves are of the rows"
    rounded = any(p.gap > 0 and p.same for alike in groups.values() for p in alike)
    unknown = not compared or left.keys() & labels
    verdict = verdict_of(wrong, unknown, rounded)
    if verdict == "partly":
        sentence += f"; at most, {largest_rounding(of.streams, of.metrics)}"
    shown = {name: table for name, table in tables.items() if table.rows}
    return Question("numbers", "Are the numbers right?", verdict, sentence + worst(wrong), shown)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return fmean(known) if known else math.nan


def _images(of: Reviewed) -> tuple[Table, list[str]]:
    """Return the number of images of each point, and what a point lacks of its dataset."""
    groups: dict[tuple[str, ...], set[str]] = defaultdict(set)
    failed: dict[tuple[str, ...], list[str]] = defaultdict(list)
    lost = [(row, row.get("reason")) for row in of.reconstructions if row["status"] != "ok"]
    lost += [(it.row, it.reason) for it in of.streams if it.state in BROKEN]
    for row, why in lost:
        failed[point_of(row)].append(f"{row['image']}: {why}")
    for row in of.rows:
        groups[point_of(row)].add(row["image_sha256"])
    rows, wrong = [], []
    for point in sorted(groups.keys() | failed.keys()):
        images, (dataset, label, setting) = groups[point], point
        known = of.photographs.get(dataset) or of.photographs.get(of.dataset) or ()
        names = {source.sha256: source.file.name for source in known}
        if not names.keys() & images and dataset not in of.photographs and not failed[point]:
            names = {}  # photographs of another dataset
        whole = len(names) or profile(dataset).published_images
        absent = [name for sha256, name in names.items() if sha256 not in images]
        if whole and (absent or len(images) != whole):
            lacks = f" and lacks {listed(absent)}" if absent else ""
            wrong.append(f"{label} at {setting} has {len(images)} of {whole} images{lacks}")
        left_out = ", ".join(absent[:12]) + (" ..." if len(absent) > 12 else "")
        whys = "; ".join(failed[point][:2])
        rows.append((*point, left_out, whys, str(len(images)), str(whole or NOTHING)))
    headers = ("dataset", "system", "setting", "left out", "failed", "images", "of")
    return Table(headers, tuple(rows), 5), wrong


def _curves(of: Reviewed) -> tuple[Table, int, list[str]]:
    """Compare curves with the means of the rows; return how many values are so, and the others."""
    means, rows, same, wrong = _means(of.rows_of_dataset), [], 0, list[str]()
    for curve in of.curves:
        name = slug(curve.name)
        own = {key: point for key, point in means.items() if name == slug(key[0])}
        own = own or {key: point for key, point in means.items() if name in slug(key[0])}
        if not own and len({label for label, _ in means}) == len(of.curves) == 1:
            own = means
        for column, (rates, values) in curve.series.items():
            known = [point for point in own.values() if column in point]
            in_db = column.endswith("_db") or column in curve.in_db
            for rate, value in zip(rates, values, strict=True):
                cells = curve.name, column, f"{rate:.4f}", f"{value:.4f}"
                if not known:
                    rows.append((*cells, NOTHING, NOTHING, "no rows of that name"))
                    continue
                near = min(known, key=lambda point: abs(math.log(point["bpp"] / rate)))
                mine, ways = value, [near[column]]
                if column in curve.in_db:  # of either average
                    mine = _decibels(value)
                    ways = [_decibels(near[column]), near.get(IN_DB, math.inf)]
                most = DB_PRINTED if in_db else VALUE_PRINTED
                alike = any(way == mine or abs(way - mine) <= most for way in ways)
                alike &= abs(near["bpp"] / rate - 1) <= RATE_PRINTED
                at = f"{near['bpp']:.4f}", f"{near[column]:.4f}"
                rows.append((*cells, *at, "yes" if alike else "no"))
                same += alike
                if not alike:
                    sent = f"{curve.name} has {value:.4f} {column} at {rate:.4f} bpp"
                    wrong.append(f"{sent}, the rows {at[1]} at {at[0]}")
    headers = ("curve", "metric", "bpp, sent", "value, sent", "bpp, here", "value, here", "same")
    return Table(headers, tuple(rows), 2), same, wrong


def _means(rows: Iterable[Row]) -> dict[tuple[str, str], dict[str, float]]:
    """Return the mean rate and the mean of each metric by label and setting, infinity left out."""
    groups: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        values = {"bpp": row["bpp"], **values_sent(row, METRICS)}
        values[IN_DB] = _decibels(values.get("ms_ssim", 1.0))
        for name, value in values.items():
            if math.isfinite(value):
                groups[point_of(row)[1:]][name].append(value)
    return {key: {name: fmean(of) for name, of in point.items()} for key, point in groups.items()}
