"""Texts of a report: the short one; its details: protocols, builds, what is left out and why."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from benchmark.compare.bd import Ranking
from benchmark.compare.curves import excluded
from benchmark.compare.interval import DrawSpread
from benchmark.metrics.availability import NOT_COMPUTED
from benchmark.metrics.measure import Measure
from benchmark.rows.stored import WIDE_SPREAD, DatasetResults, SourceFacts
from benchmark.rows.summarise import CONTAINER, COSTS, REAL_TO_ESTIMATED, Summary
from benchmark.show.bd_tables import headline, ranking_heading, ranking_table
from benchmark.show.figures.texts import Drawing
from benchmark.show.means import NETWORK_HEADERS, chosen_notes, draws_table, training_cells
from benchmark.show.phrases import capitalised, mixed_sentences
from benchmark.show.table import Table, markdown
from benchmark.system.text import counted, markdown_text, one_line

INCOMPLETE = (
    "points with fewer images than others: `bench run` completes them, or --common restricts all "
    "points to the images that all have"
)
FAILED, NO_VALUES, NOT_DRAWN = "failed", "no values of", "not drawn or compared"
INCOMPLETE_HEADING, NOT_COUNTED = "incomplete", "not counted"
DIFFERING = "not equal to bundled rows of the same build"
GONE = "no longer in the folder"
REFUSED, SKIPPED = "refused by the last run", "skipped by the last run"
LAST_RUN = ("started_utc", "commit", "machine", "packages")
SHOWN_FIGURES, LONGEST_RANKING = 3, 50  # in the text
# Columns of the table of codecs where any has a value: factor and format, by the cost.
COST_COLUMNS = {
    "parameters": ("parameters (million)", 1e-6, ".3g"),
    "encode_kmac": ("encode (kMAC/px)", 1.0, ".3g"),
    "decode_kmac": ("decode (kMAC/px)", 1.0, ".3g"),
    "encode_peak_bytes": ("encode, most memory (MB)", 1e-6, ".0f"),
    "decode_peak_bytes": ("decode, most memory (MB)", 1e-6, ".0f"),
    REAL_TO_ESTIMATED: ("real / estimated bits", 1.0, ".4f"),
}


class Gap(NamedTuple):
    """A point, metric, codec or image that a report leaves out, and why."""

    heading: str  # FAILED, NO_VALUES, ...
    name: str  # of a codec, metric or image
    why: str
    setting: str = ""
    metrics: tuple[str, ...] = ()  # that it is left out of; empty for all
    number: int = 1
    unit: str = ""  # that `number` counts


def left_out(
    summary: Summary,
    measures: Sequence[Measure],
    runs: Sequence[Mapping[str, Any]] = (),
    gone: Sequence[str] = (),
) -> list[Gap]:
    """Return failed cells, metrics without values, points not plotted, older rows, refusals.

    gone: photographs that the dataset no longer has.
    """
    result = [
        Gap(FAILED, point.label, reason, str(point.setting), (), count, "cell")
        for point in summary.points
        for reason, count in point.failures
    ]
    with_values = [measure for measure in measures if summary.values_of(measure.column)]
    metrics: dict[tuple[str, str, str], list[str]] = {}
    for measure in measures:
        if measure in with_values:
            for key in excluded(summary, measure):
                metrics.setdefault((key.label, key.setting, key.why), []).append(measure.label)
            continue
        reasons: Counter[str] = Counter()
        for point in summary.points:
            reasons.update(dict(point.means[measure.column].reasons))
        why = reasons.most_common(1)[0][0] if reasons else NOT_COMPUTED
        hint = "; `bench rescore --metrics NAME` does it from kept streams"
        result.append(Gap(NO_VALUES, measure.label, why + hint * (why == NOT_COMPUTED)))
    for (label, setting, why), labels in metrics.items():
        of = () if len(labels) == len(with_values) else tuple(labels)
        result.append(Gap(NOT_DRAWN, label, why, setting, of, 1, "point"))
    if any(point.missing for point in summary.points):
        result.append(Gap(INCOMPLETE_HEADING, "", INCOMPLETE))
    for old in summary.left_out:
        heading = DIFFERING if old.differ else NOT_COUNTED
        result.append(Gap(heading, old.label, old.why, number=old.rows, unit="row"))
    why = "the dataset has no photograph with its pixels (--all-rows counts it)"
    result += [Gap(GONE, name, why, unit="photograph") for name in gone]
    last = runs[-1] if runs else {}
    for heading, field in ((REFUSED, "refused_images"), (SKIPPED, "skipped_codecs")):
        result += [Gap(heading, name, why) for name, why in dict(last.get(field) or ()).items()]
    return result


def lines_of(gaps: Iterable[Gap], headed: bool = True) -> list[str]:
    """Return a line for each reason, with every name and setting that it applies to."""
    groups: dict[tuple[str, str, tuple[str, ...]], dict[str, list[str]]] = {}
    for gap in gaps:
        names = groups.setdefault((gap.heading, gap.why, gap.metrics), {})
        size = f"({counted(gap.number, gap.unit)})" if gap.unit in ("cell", "row") else ""
        names.setdefault(gap.name, []).append(f"{gap.setting} {size}".strip())
    lines = []
    for (heading, why, metrics), names in groups.items():
        parts = (f"{name} {', '.join(places)}".strip() for name, places in names.items())
        start = f"{heading}:".replace(f"{NO_VALUES}:", NO_VALUES) + " " if headed else ""
        start = "" if heading == INCOMPLETE_HEADING else f"{start}{', '.join(parts)}: "
        lines.append(start + why + (f" ({', '.join(metrics)})" if metrics else ""))
    return lines


def counts_of(gaps: Iterable[Gap]) -> list[str]:
    """Return how much is left out, a text for each heading.

    >>> counts_of([Gap(FAILED, "jpeg", "boom", "", (), 3, "cell"), Gap(SKIPPED, "bpg", "")])
    ['failed: 3 cells', 'skipped by the last run: 1 codec']
    """
    groups: dict[str, list[Gap]] = {}
    for gap in gaps:
        groups.setdefault(gap.heading, []).append(gap)
    groups.pop(INCOMPLETE_HEADING, None)
    nouns = {REFUSED: "image", NO_VALUES: "metric", SKIPPED: "codec"}
    texts = []
    for heading, alike in groups.items():
        names = [gap.name for gap in alike]
        if heading == GONE:
            texts += gone_sentences(names)
            continue
        number = sum(gap.number for gap in alike)
        if heading == NOT_DRAWN:
            number = len({(gap.name, gap.setting) for gap in alike})
        words = counted(number, alike[0].unit or nouns.get(heading, ""))
        words = ", ".join(names) if heading == DIFFERING else words
        words += " in some metrics" * all(gap.metrics for gap in alike)
        texts.append(f"{heading.removesuffix(' of')}: {words}")
    return texts


def gone_sentences(names: Sequence[str]) -> list[str]:
    """Return the sentence on the rows of photographs that a dataset no longer has, if any."""
    number = counted(len(names), "photograph")
    return [f"{number} {GONE}: left out (--all-rows counts them)"] * bool(names)


def source_sentences(facts: SourceFacts | None) -> list[str]:
    """Return a sentence on lossily coded photographs and one on a wide spread of sizes, if any."""
    result = []
    if facts and facts.lossy:
        share = f"{facts.lossy} of {counted(facts.images, 'image')}"
        result.append(f"lossy sources: {share} had been coded (JPEG, WebP), and artefacts count")
    if facts and facts.spread >= WIDE_SPREAD:
        small, large = facts.smallest, facts.largest
        result.append(
            f"sizes: {small.width_px} x {small.height_px} px ({small.image}) to {large.width_px} x "
            f"{large.height_px}, alike in means (`bench report --pooled`: by pixels)"
        )
    return result


def estimate_sentences(summary: Summary) -> list[str]:
    """Return the sentence on real bits beside those that codecs estimate, if any does."""
    ratios = {label: _mean_of(summary, label, REAL_TO_ESTIMATED) for label in summary.labels}
    texts = [f"{label} {100 * (r - 1):+.2f} %" for label, r in ratios.items() if r is not None]
    return [f"real bits against the codec's own estimate: {', '.join(texts)}"] * bool(texts)


def _mean_of(summary: Summary, label: str, name: str) -> float | None:
    """Return the mean over a codec's settings of a cost; None without values."""
    means = [point.means.get(name) for point in summary.points if point.label == label]
    values = [mean.value for mean in means if mean is not None and mean.value is not None]
    return fmean(values) if values else None


def details_record(
    stored: DatasetResults,
    command: str,
    anchor: str,
    drawings: Mapping[str, Drawing],
    gaps: Sequence[Gap],
    published: Sequence[str],
    sources: SourceFacts | None,
) -> dict[str, Any]:
    """Return everything that a report says in details.json: values of JSON alone.

    command: that makes the report again. published: sentences on published points left out.
    """
    summary = stored.summary
    last = stored.runs[-1] if stored.runs else {}
    return {
        "dataset": stored.name,
        "command": command,
        "images": summary.images,
        "images_left_out": summary.dropped,
        "bpp": "mean of each image's" if summary.average == "per_image" else "pooled",
        "anchor": anchor,
        "protocols": dict(summary.protocols_in_use),
        "sources": sources and {**sources._asdict(), "sentences": source_sentences(sources)},
        "codecs": [_codec(summary, label) for label in summary.labels],
        "builds": list(mixed_sentences(summary)),
        "figures": {
            name: {"caption": drawing.caption, "details": list(drawing.details)}
            for name, drawing in drawings.items()
        },
        "left_out": [gap._asdict() for gap in gaps],
        "published_left_out": list(published),
        "runs": len(stored.runs),
        "last_run": {name: last[name] for name in LAST_RUN if name in last},
    }


def _codec(summary: Summary, label: str) -> dict[str, Any]:
    points = [point for point in summary.points if point.label == label]
    edition = points[0].edition
    sizes = [size for point in points if (size := point.means[CONTAINER].value)]
    origin = "recorded elsewhere" if edition.recorded else "measured here"
    return {
        "codec": edition.label,
        "version": edition.version,
        "origin": "bundled" if edition.bundled else origin,
        "chroma": edition.facts.chroma,
        "tuned_for": edition.facts.tuned_for,
        "container_bytes": fmean(sizes) if sizes else None,
        **{name: _mean_of(summary, edition.label, name) for name in COSTS},
        "training": dict(zip(NETWORK_HEADERS, training_cells(edition), strict=True)),
        "timed": edition.timed,
        "devices": list(edition.devices),
        "caveats": list(edition.caveats),
        "command": edition.command,
    }


def details_text(record: Mapping[str, Any], spreads: Sequence[DrawSpread] = ()) -> str:
    """Return details.md: the record as a text, with a table of the spreads over drawings."""
    protocols = ", ".join(f"{name}: {rule}" for name, rule in record["protocols"].items())
    pooled = record["bpp"] == "pooled"
    bpp = "bpp is pooled: all bits over all pixels" if pooled else f"bpp is the {record['bpp']} bpp"
    intro = f"{counted(record['images'], 'image')}. {bpp}."
    if dropped := record["images_left_out"]:
        intro += f" Restricted to the images that all points have; left out: {dropped}."
    headers = (
        *("codec", "version", "origin", "chroma", "container (bytes)", "timed", "caveat"),
        *NETWORK_HEADERS,
        *(header for header, *_ in COST_COLUMNS.values()),
    )
    codecs = tuple(
        (
            codec["codec"],
            codec["version"],
            codec["origin"],
            codec["chroma"] or "not stated",
            f"{codec['container_bytes']:.0f}" if codec["container_bytes"] else "",
            codec["timed"],
            ", ".join(codec["caveats"]),
            *codec["training"].values(),
            *(
                "" if (value := codec[name]) is None else f"{factor * value:{form}}"
                for name, (_, factor, form) in COST_COLUMNS.items()
            ),
        )
        for codec in record["codecs"]
    )
    notes = chosen_notes(codec["codec"] for codec in record["codecs"])
    table = Table(headers, codecs, len(headers), notes).filled()
    gaps = [Gap(**fields) for fields in record["left_out"]]
    parts = [
        f"# Details of {markdown_text(record['dataset'])}",
        f"Made by `{one_line(record['command'])}`." if record["command"] else "",
        intro,
        _listed([*map(capitalised, (record["sources"] or {}).get("sentences", ()))]),
        f"## Protocols\n\n{markdown_text(protocols)}",
        "## Codecs",
        markdown(table._replace(words=len(table.headers))),
        _listed(record["builds"]),
        "## Figures" if record["figures"] else "",
        *(
            f"### {name}\n\n{markdown_text(' '.join([figure['caption'], *figure['details']]))}"
            for name, figure in record["figures"].items()
        ),
        *(["## Draws", markdown(draws_table(spreads))] if spreads else []),
        "## Left out",
        _listed([*lines_of(gaps), *record["published_left_out"]]) or "Nothing.",
    ]
    if last := record["last_run"]:
        facts = [str(last[name]) for name in LAST_RUN[:3] if last.get(name)]
        parts.append(f"The last of {record['runs']} runs: {markdown_text(', '.join(facts))}.")
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _listed(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in sentences)


def report_text(
    title: str,
    summary: Summary,
    ranking: Ranking,
    drawings: Mapping[str, Drawing],
    measures: Sequence[Measure],
    remarks: Sequence[str],
    tables: Sequence[str],
    names: Mapping[str, str],
    command: str,
) -> str:
    """Return report.md: a sentence, the ranking, three figures; the same results, the same text.

    measures: those with values. tables: names of files. names: of codecs in figures, by label.
    """
    counts = (
        counted(summary.images, "image"),
        counted(len(summary.labels), "codec"),
        counted(len(summary.points), "point"),
    )
    dropped = f"; {summary.dropped} more images that not every point has" * bool(summary.dropped)
    table = ranking_table(ranking, True, names)
    more = len(table.rows) - LONGEST_RANKING
    # The overview, the metric of realism that says most, times, else the first ones
    realism = [m for m in measures if m.kind == "realism" and m.column in drawings]
    best = [min(realism, key=lambda m: m.realism or math.inf).column] if realism else []
    order = [name for name in ("curves", *best, "timing") if name in drawings]
    order = list(dict.fromkeys([*order, *drawings]))
    pictures, others = order[:SHOWN_FIGURES], [n for n in drawings if n in order[SHOWN_FIGURES:]]
    parts = [
        f"# {markdown_text(title)}",
        markdown_text(headline(ranking, summary.images, title, names)),
        f"{', '.join(counts)}{dropped}. Protocols, builds and what is left out: "
        "[details](details.md).",
        f"{markdown_text(ranking_heading(ranking))}:",
        markdown(table._replace(rows=table.rows[:LONGEST_RANKING])),
        f"And {more} more in bd_rate.csv." * (more > 0),
        *(f"![{n}]({n}.png)\n\n{markdown_text(drawings[n].caption)}" for n in pictures),
        "No points can be drawn." * (not pictures),
        _listed([*remarks, *estimate_sentences(summary)]),
    ]
    links = [f"[{name}]({name}.png)" for name in others] + [f"[{file}]({file})" for file in tables]
    parts += [f"Beside it: {', '.join(links)}."] * bool(links)
    parts += [f"Made by `{one_line(command)}`."] * bool(command)
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"
