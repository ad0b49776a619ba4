"""Answers from streams, rows and pictures: are bits real, do they decode, are points reproduced."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from benchmark.answer import NOTHING, decimals
from benchmark.compare.published.points import slug
from benchmark.datasets.dataset import profile
from benchmark.metrics.metric import Metric
from benchmark.registry import METRICS, metric_named
from benchmark.review.again import ROUNDING, Again, Pair, compared, differences, speed
from benchmark.review.audit.pack_audit import TOLERANCE, name_of_row, values_sent
from benchmark.review.evidence import BROKEN, DECODED, Answer, Reviewed, point_of, verdict_of
from benchmark.review.streams import Row, label_of_row
from benchmark.show.table import Table
from benchmark.system.text import by_key, counted, listed

RATE_PRINTED, DB_PRINTED, VALUE_PRINTED = 5e-3, 0.01, 1e-3  # relative; as tables print means
IN_DB = "ms_ssim_db"  # the mean of the images' decibels
UNKNOWN_IMAGES = "its photographs are not known here: name their folder with --dataset"
_decibels = Metric.named("ms_ssim").plotted


def bits(of: Reviewed) -> Answer:
    """Count the streams with their bytes, and the rates that are only stated."""
    declared = [row for row in of.declared if row["status"] == "ok"]  # a failed one has no size
    origins = [(label_of_row(stream.row), "streams") for stream in of.again]
    origins += [(label_of_row(row), "stated sizes") for row in declared]
    stated, streams = len(declared), len(of.again)
    for curve in of.curves:
        counts = [len(rates) for rates, _ in curve.series.values()]
        origins += [(curve.name, "stated rates")] * max(counts)
        stated += max(counts)
    lines = tuple((*origin, str(count)) for origin, count in Counter(origins).items())
    sentence = f"{counted(streams, 'stream')} with their bytes were sent"
    if stated:
        sentence += f"; {counted(stated, 'point has', 'points have')} a rate that is only stated"
    if not streams:
        sentence = "no stream was sent: every rate is stated by the author, and nothing decodes"
    wrong = [stream.wrong_size for stream in of.again if stream.wrong_size]
    table = Table(("system", "rate from", "number"), lines, 2)
    verdict = verdict_of(wrong, not streams or declared)
    return Answer("bits", "Are the bits real?", verdict, sentence + _worst(wrong), table)


def _worst(wrong: Sequence[str]) -> str:
    """Return the end of a sentence on contradictions, which names the first."""
    more = f" ({len(wrong) - 1} more differ)" if len(wrong) > 1 else ""
    return f"; {wrong[0]}{more}" if wrong else ""


def _by_label(of: Reviewed) -> dict[str, list[Again]]:
    return by_key((label_of_row(stream.row), stream) for stream in of.again)


def decodes(of: Reviewed) -> Answer:
    """Count the streams that decode here, by system."""
    states = (*BROKEN, "not run")
    rows = []
    for label, alike in _by_label(of).items():
        counts = Counter[str](stream.state for stream in alike)
        reasons = list(dict.fromkeys(stream.reason for stream in alike if stream.state in states))
        decoded = sum(counts[state] for state in DECODED)
        cells = (str(decoded), *(str(counts[state]) for state in states))
        rows.append((label, "; ".join(reasons[:3]), *cells))
    good = sum(stream.state in DECODED for stream in of.again)
    sentence = f"{good} of {counted(len(of.again), 'stream')} decode here, from their bytes alone"
    if not_run := [stream.reason for stream in of.again if stream.state == "not run"]:
        whys = "; ".join(dict.fromkeys(not_run))
        sentence += f"; the decoder of {len(not_run)} was not run: {whys}"
    wrong = [
        f"{name_of_row(stream.row)}: {stream.reason}"
        for stream in of.again
        if stream.state in BROKEN
    ]
    sentence, verdict = sentence + _worst(wrong), verdict_of(wrong, not_run)
    table = Table(("system", "reason", "decoded", *states), tuple(rows), 2)
    return Answer("decodes", "Do the streams decode here?", verdict, sentence, table)


def pictures(of: Reviewed) -> Answer:
    """Count equal pictures of two decodes, and those equal to the author's, by system."""
    decoded = [stream for stream in of.again if stream.state in DECODED]
    rows = []
    for label, alike in _by_label(of).items():
        counts = Counter[str](stream.state for stream in alike)
        twice = sum(bool(stream.twice) for stream in alike)
        seconds = speed(alike)
        machines = "; ".join(dict.fromkeys(str(stream.row.get("machine")) for stream in alike))
        shown = (str(twice), *(str(counts[state]) for state in DECODED))
        rows.append((label, machines, *shown, f"{seconds:.3g}" if seconds else NOTHING))
    twice = sum(bool(stream.twice) for stream in decoded)
    equal = sum(stream.state == "equal" for stream in decoded)
    rounded = sum(stream.state == "rounded" for stream in decoded)
    question = "Always to the same picture, the author's?"
    if not decoded:
        return Answer("pictures", question, "unknown", "no stream was decoded")
    sentence = (
        f"{twice} of {counted(len(decoded), 'decoded stream')} gave the same pixels in two fresh "
        f"processes, {equal} the author's pixels"
    )
    if rounded:
        sentence += f", {rounded} others within {ROUNDING:g} dB of the author's PSNR"
    blind = [stream.reason for stream in decoded if stream.state == "blind"]
    if blind:
        sentence += f"; without the photograph and a PSNR, not known by how much: {blind[0]}"
    wrong = [stream.reason for stream in decoded if stream.state == "other"]
    unequal = [stream.row for stream in decoded if stream.twice is False]
    wrong += [f"{name_of_row(row)} decodes to other pixels the second time" for row in unequal]
    once = blind or any(stream.twice is None for stream in decoded)
    sentence, verdict = sentence + _worst(wrong), verdict_of(wrong, once, rounded)
    headers = ("system", "encoded on", "twice equal", "author's pixels", "rounding", "other")
    table = Table((*headers, "not known", "decode (s/Mpx)"), tuple(rows), 2)
    return Answer("pictures", question, verdict, sentence, table)


def labels(of: Reviewed) -> Answer:
    """Say whether pictures encoded again at their settings give the streams that were sent."""
    rows = []
    for label, alike in _by_label(of).items():
        counts = Counter[str](stream.label for stream in alike)
        whys = dict.fromkeys(s.reason if s.state == "not run" else s.encoded for s in alike)
        whys.pop("", None)
        cells = (str(counts[label]) for label in ("equal", "near", "other"))
        rows.append((label, "; ".join([*whys][:3]), *cells))
    encoded = [stream for stream in of.again if stream.label]
    equal = sum(stream.label == "equal" for stream in encoded)
    sentence = (
        f"{equal} of {counted(len(encoded), 'picture')} encoded again here at their settings give "
        f"the bytes that were sent; they are {len(encoded)} of {counted(len(of.again), 'stream')}"
    )
    sentence += "" if of.seed is None else f", drawn with seed {of.seed}"
    wrong = [stream.encoded for stream in encoded if stream.label == "other"]
    not_encoded = [row[0] for row in rows if {*row[2:]} == {"0"}]
    if not_encoded:
        sentence += f"; none of {listed(not_encoded)} was encoded"
    verdict = verdict_of(wrong, not_encoded, equal < len(encoded))
    question = "Are the streams those of their settings?"
    table = Table(("system", "why not", "same bytes", "about the size", "other"), tuple(rows), 2)
    return Answer("labels", question, verdict, sentence + _worst(wrong), table)


OF_STREAMS = (decodes, pictures, labels)


def points(of: Reviewed) -> Answer:
    """Compare means as they were sent with those measured here, by system, setting and metric."""
    groups: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for stream in of.again:
        for column, pair in compared(stream, of.metrics).items():
            groups[(*point_of(stream.row), column)].append(pair)
    stated = {id(row) for row in of.unmeasured}
    for row in of.declared:
        for column, value in values_sent(row, of.metrics).items():
            both = (value, math.nan) if id(row) in stated else (math.nan, value)
            groups[(*point_of(row), column)].append(Pair(*both, True))
    labels = {metric_named(name).column: metric_named(name).label for name in of.metrics}
    rows, good, of_sent = [], 0, 0
    for (*point, column), pairs in sorted(groups.items()):
        form = f".{decimals(labels[column]) + 1}f"
        means = [_mean(pair[place] for pair in pairs) for place in (0, 1)]
        gaps = [abs(first - second) for first, second, _ in pairs if math.isfinite(first - second)]
        differ = sum(not same for *_, same in pairs)
        known = not any(math.isnan(number) for number in pairs[0][:2])
        of_sent += known
        good += known and not differ
        cells = (f"{mean:{form}}" if math.isfinite(mean) else NOTHING for mean in means)
        most = f"{max(gaps):.2g}" if gaps else NOTHING
        rows.append((*point, labels[column], *cells, most, str(len(pairs)), str(differ)))
    headers = ("dataset", "system", "setting", "metric", "sent", "here", "largest difference")
    question = "Are the points reproduced?"
    if not rows:
        sent = any(values_sent(stream.row, of.metrics) for stream in of.again if not stream.values)
        why = UNKNOWN_IMAGES if sent else "no value to compare came with the streams"
        decoded = any(stream.state in DECODED for stream in of.again)
        why = "; ".join(of.missing.values()) or why if decoded else "no stream was decoded"
        return Answer("points", question, "unknown", f"nothing could be compared: {why}")
    table = Table((*headers, "images", "differ"), tuple(rows), 4)
    if not of_sent:
        here = sum(row[5] != NOTHING for row in rows)
        kinds = {"only stated": len(rows) - here}
        kinds["measured here; none was sent with its row"] = here
        sentence = "; ".join(f"{counted(n, 'mean')} {what}" for what, n in kinds.items() if n)
        return Answer("points", question, "unknown", sentence, table)
    rounded = any(pair.gap > 0 and pair.same for pairs in groups.values() for pair in pairs)
    sentence = (
        f"{good} of {counted(of_sent, 'mean')} are as sent, each image within {TOLERANCE:g}, "
        f"within {ROUNDING:g} where the pixels are of another processor's rounding"
    )
    columns = {metric_named(name).column for name in METRICS}
    left = Counter(name for stream in of.again for name in columns - {*compared(stream, of.metrics)}
                   if stream.row.get(name) is not None)  # fmt: skip
    if left:
        counts = listed([f"{left[name]} of {name}" for name in sorted(left)])
        sentence += f"; not compared (--metrics, another protocol, not decoded): {counts}"
    sentence += _worst(differences(of.again, of.metrics))
    verdict = verdict_of(good < of_sent, left.keys() & labels, rounded)
    return Answer("points", question, verdict, sentence, table)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return fmean(known) if known else math.nan


def curves(of: Reviewed) -> Answer:
    """Compare curves that were sent as files with the means of the rows that were sent."""
    means = _means(of.rows_of_dataset)
    rows, same = [], []
    for curve in of.curves:
        name = slug(curve.name)
        own = {key: point for key, point in means.items() if name == slug(key[0])}
        own = own or {key: point for key, point in means.items() if name in slug(key[0])}
        if not own and len({label for label, _ in means}) == len(of.curves) == 1:
            own = means
        for column, (rates, values) in curve.series.items():
            known = [point for point in own.values() if column in point]
            in_db = column.endswith("_db") or column in curve.in_db
            most = DB_PRINTED if in_db else VALUE_PRINTED
            for rate, value in zip(rates, values, strict=True):
                cells = curve.name, column, f"{rate:.4f}", f"{value:.4f}"
                if not known:
                    rows.append((*cells, NOTHING, NOTHING, "no rows of that name"))
                    continue
                away = [abs(math.log(point["bpp"] / rate)) for point in known]
                near = known[away.index(min(away))]
                at_rate = abs(near["bpp"] / rate - 1) <= RATE_PRINTED
                places = [value, near[column]]
                if column in curve.in_db:  # of either average
                    places = [*map(_decibels, places), near.get(IN_DB, math.inf)]
                mine, *ways = places
                same.append(at_rate and any(w == mine or abs(w - mine) <= most for w in ways))
                shown = f"{near['bpp']:.4f}", f"{near[column]:.4f}", "yes" if same[-1] else "no"
                rows.append((*cells, *shown))
    sentence = (
        f"{sum(same)} of {counted(len(same), 'value')} of the curves are those of the rows, within "
        f"{100 * RATE_PRINTED:g} % of the rate and {DB_PRINTED:g} dB or {VALUE_PRINTED:g}"
    )
    if len(rows) > len(same):
        sentence += f"; {len(rows) - len(same)} more are of systems without rows"
    headers = ("curve", "metric", "bpp, sent", "value, sent", "bpp, here", "value, here", "same")
    wrong = [f"{name} has {value} {column} at {rate} bpp, the rows {here} at {at}"
             for name, column, rate, value, at, here, alike in rows if alike == "no"]  # fmt: skip
    sentence, verdict = sentence + _worst(wrong), verdict_of(wrong, not same)
    question = "Are the curves those of the rows?"
    return Answer("curves", question, verdict, sentence, Table(headers, tuple(rows), 2))


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


def images(of: Reviewed) -> Answer:
    """Compare the images of every point with those of its dataset."""
    groups: dict[tuple[str, ...], set[str]] = defaultdict(set)
    failed: dict[tuple[str, ...], list[str]] = defaultdict(list)
    lost = [row for row in of.declared if row["status"] != "ok"]
    broken = [stream for stream in of.again if stream.state in BROKEN]
    lost += [{**stream.row, "status": "failed", "reason": stream.reason} for stream in broken]
    for row in (*of.rows, *lost):
        key = point_of(row)
        of_point = groups[key]  # there even if every cell failed
        if row["status"] == "ok":
            of_point.add(row["image_sha256"])
        else:
            failed[key].append(f"{row['image']}: {row.get('reason')}")
    rows, wrong, unknown = [], [], set()
    for (dataset, label, setting), images in sorted(groups.items()):
        known = [{s.sha256: s.file.name for s in sources} for sources in of.photographs.values()]
        if dataset in of.photographs:
            known = [{s.sha256: s.file.name for s in of.photographs[dataset]}]
        elif len({name for name, *_ in groups}) > 1:  # a photograph says which of them it is
            every = set[str]().union(*(of for (name, *_), of in groups.items() if name == dataset))
            known = [names for names in known if names.keys() & every]
        expected = max(known, key=lambda names: len(names.keys() & images), default={})
        whole = len(expected) or profile(dataset).published_images
        absent = [name for sha256, name in expected.items() if sha256 not in images]
        strange = len(images - expected.keys()) if expected else 0
        unknown |= set() if whole else {dataset}
        if absent or strange or (whole and len(images) != whole):
            lacks = f" and lacks {listed(absent)}" if absent else ""
            wrong.append(f"{label} at {setting} has {len(images)} of {whole} images{lacks}")
        whys = "; ".join(failed[dataset, label, setting][:2])
        cells = str(len(images)), str(whole or NOTHING), str(strange or NOTHING)
        names = ", ".join(absent[:12])
        names += " ..." if len(absent) > 12 else ""
        rows.append((dataset, label, setting, names, whys, *cells))
    question = "Are all images there?"
    headers = ("dataset", "system", "setting", "left out", "failed", "images", "of")
    table = Table((*headers, "not of the set"), tuple(rows), 5)
    parts, known_points = [], sum(row[6] != NOTHING for row in rows)
    if known_points:
        good = f"{known_points - len(wrong)} of {counted(len(rows), 'point')}"
        parts = [f"{good} are over exactly the images of the dataset{_worst(wrong)}"]
    if unknown:
        why = "; ".join(of.missing.values()) or "name its folder with --dataset"
        parts += [f"the images of {listed(sorted(unknown))} are not known here: {why}"]
    return Answer("images", question, verdict_of(wrong, unknown), "; ".join(parts), table)
