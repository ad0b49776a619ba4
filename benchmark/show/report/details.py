"""Texts of a report: report.md, details.md, details.json, and sections for a page."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from benchmark.answer import Absent, Column
from benchmark.compare.bd import Ranking
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition
from benchmark.rows.schema import CELL_COLUMNS
from benchmark.rows.stored import WIDE_SPREAD, DatasetResults
from benchmark.rows.summary import CONTAINER, COSTS, REAL_TO_ESTIMATED, Summary
from benchmark.show.absences import absent_table, hidden_edition_lines
from benchmark.show.bd_rates import headline, ranking_heading, ranking_table
from benchmark.show.figures.texts import DrawnFigure, figure_names
from benchmark.show.means_table import FEW_NOTE
from benchmark.show.sections import (
    Part,
    Section,
    block,
    command_sentence,
    make_sentence,
    markdown,
    section,
)
from benchmark.show.table import Table
from benchmark.system.text import counted, markdown_text

DRAWS_NOTE = (
    "Over draws: minimum and maximum of the means of single draws. Over images: 95 % interval of "
    "the mean over draws."
)
NETWORK_HEADERS = (
    *("work (kMAC/px)", "training (10^15 MAC)"),
    *("optimiser", "steps of a network"),
)
LAST_RUN = ("started_utc", "commit", "machine", "packages")
MAX_FIGURES, MAX_RANKED_CODECS = 3, 50  # limits of report.md


def _scaled(cost: str, factor: float) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda codec: None if codec[cost] is None else factor * codec[cost]


CODEC_COLUMNS = (  # a row is a codec in details.json; empty columns are omitted
    Column("codec"),
    Column("version"),
    Column("origin"),
    Column("chroma", lambda codec: codec["chroma"] or "not stated"),
    Column("container (bytes)", lambda codec: codec["container_bytes"] or None, ".0f"),
    Column("timed"),
    Column("caveat", lambda codec: ", ".join(codec["caveats"])),
    Column("trained on", lambda codec: ", ".join(codec["trained_on"])),
    Column("realism chosen on", "realism_chosen_on"),
    *(Column(name, f"training.{name}") for name in NETWORK_HEADERS),
    *(
        Column(printed.heading, _scaled(column.name, printed.factor), printed.form)
        for column in CELL_COLUMNS
        if (printed := column.cost_format)
    ),
    Column("real / estimated bits", REAL_TO_ESTIMATED, ".4f"),
    Column("device", lambda codec: ", ".join(codec["devices"])),
    Column("call", "command"),
)
# Names of the columns on a page
PAGE_CODECS = (
    *("codec", "version", "origin", "caveat", "realism chosen on", *NETWORK_HEADERS),
    *("device", "call", "timed"),
)
RECORD_ONLY_COLUMNS = ("device", "call")


def draws_table(spreads: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]) -> Table:
    """Return a table of spreads over draws and over images."""
    metrics_by_column = {metric.column: metric for metric in metrics}

    def value(name: str, spread: Mapping[str, Any]) -> str | None:
        if (value := spread[name]) is None:
            return None
        ends, digits = value if isinstance(value, tuple) else (value,), metric_of(spread).decimals
        return " to ".join(f"{end:.{digits}f}" for end in ends)

    def metric_of(spread: Mapping[str, Any]) -> Metric:
        return metrics_by_column[spread["metric"]]

    columns = (
        Column("codec", "label"),
        Column("setting"),
        Column("metric", lambda spread: metric_of(spread).label),
        Column("draws", "draws", "d"),
        Column("mean", partial(value, "mean"), str),
        Column("over draws", partial(value, "over_draws"), str),
        Column("over images", partial(value, "over_images"), str),
    )
    return Table.create(columns, spreads, [DRAWS_NOTE] if spreads else ())


def source_sentences(facts: Mapping[str, Any] | None) -> list[str]:
    """Return sentences on photographs from lossy files and on a wide range of sizes, if any."""
    sentences = []
    if facts and facts["lossy"]:
        share = f"{facts['lossy']} of {counted(facts['images'], 'image')}"
        sentences.append(
            f"lossy sources: {share} came from lossy files (JPEG, WebP), with their artefacts"
        )
    if facts and facts["spread"] >= WIDE_SPREAD:
        (name, *min_size), (_, *max_size) = facts["smallest"], facts["largest"]
        sizes = f"from {min_size[0]} x {min_size[1]} px ({name}) to {max_size[0]} x {max_size[1]}"
        sentences.append(
            f"image sizes: {sizes}; means weight all images equally (`bench report --pooled` "
            "weights by pixels)"
        )
    return sentences


def _mean_cost(summary: Summary, edition: Edition, name: str) -> float | None:
    means = [point.means.get(name) for point in summary.edition_points(edition)]
    values = [mean.value for mean in means if mean is not None and mean.value is not None]
    return fmean(values) if values else None


def details_record(
    dataset_results: DatasetResults,
    command: str,
    anchor: str,
    drawings: Mapping[str, DrawnFigure],
    absent: Sequence[Absent],
    published: Sequence[str],
    sources: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the content of details.json. published: sentences on excluded published points."""
    summary = dataset_results.summary
    last_run = dataset_results.runs[-1] if dataset_results.runs else {}
    return {
        "dataset": dataset_results.name,
        "command": command,
        "images": summary.images,
        "images_left_out": summary.dropped,
        "bpp": "pooled" if summary.pooled else "mean of each image's",
        "anchor": anchor,
        "protocols": dict(summary.protocols_in_use),
        "sources": sources and {**sources, "sentences": source_sentences(sources)},
        "codecs": codec_records(summary),
        "figures": {name: drawing.caption for name, drawing in drawings.items()},
        "absent": [absence._asdict() for absence in absent],
        "published_left_out": list(published),
        "runs": len(dataset_results.runs),
        "last_run": {name: last_run[name] for name in LAST_RUN if name in last_run},
    }


def codec_records(summary: Summary) -> list[dict[str, Any]]:
    """Return version, origin, costs, training and call of each codec variant."""
    labels = summary.labels
    return [_codec_record(summary, edition, labels[edition]) for edition in summary.editions]


def codecs_table(codecs: Sequence[Mapping[str, Any]], names: Collection[str]) -> Table:
    """Return a table of `codec_records`; columns: those in `names` with values."""
    columns = [column for column in CODEC_COLUMNS if column.name in names]
    table = Table.create(columns, codecs, absent="").drop_empty_columns()
    return table._replace(words=len(table.headers))


def _codec_record(summary: Summary, edition: Edition, label: str) -> dict[str, Any]:
    sizes = [
        size for point in summary.edition_points(edition) if (size := point.means[CONTAINER].value)
    ]
    origin = "bundled" if edition.run_facts.recorded else "measured here"
    return {
        "codec": label,
        "version": edition.short_version,
        "origin": "bundled" if edition.bundled else origin,
        "chroma": edition.run_facts.chroma,
        "tuned_for": edition.run_facts.tuned_for,
        "container_bytes": fmean(sizes) if sizes else None,
        **{name: _mean_cost(summary, edition, name) for name in COSTS},
        "training": dict(zip(NETWORK_HEADERS, _training_cells(edition), strict=True)),
        "timed": edition.run_facts.timed,
        "devices": list(edition.run_facts.devices),
        "caveats": list(edition.run_facts.caveats),
        "trained_on": list(edition.facts.trained_on),
        "realism_chosen_on": " by ".join(edition.chosen_on or ()),
        "command": edition.run_facts.command,
    }


def _training_cells(edition: Edition) -> tuple[str, str, str, str]:
    """Return the cells below `NETWORK_HEADERS`; "" unless the weights are bundled."""
    kmac, (petamacs, optimiser, steps, fingerprint) = edition.facts.kmac, edition.facts.training
    if not (fingerprint and edition.fingerprint.startswith(fingerprint)):
        return ("", "", "", "")
    return f"{kmac:.1f}", "" if petamacs is None else f"{petamacs:.2f}", optimiser, steps


def details_text(
    record: Mapping[str, Any],
    absent: Sequence[Absent] = (),
    draws: Table | None = None,
    over_few: Table | None = None,
    published: Table | None = None,
) -> str:
    """Return details.md from the record and tables; over_few: means over few images."""
    pooled = record["bpp"] == "pooled"
    bpp_text = (
        "bpp is pooled: all bits over all pixels" if pooled else f"bpp is the {record['bpp']} bpp"
    )
    intro = f"{counted(record['images'], 'image')}. {bpp_text}."
    if dropped := record["images_left_out"]:
        intro += f" Only images that all points have are used; {dropped} images are left out."
    shown_columns = {column.name for column in CODEC_COLUMNS} - {*RECORD_ONLY_COLUMNS}
    sections: list[Part] = [
        command_sentence(record["command"]),
        intro,
        [*map(make_sentence, (record["sources"] or {}).get("sentences", ()))],
        section(
            "protocols",
            "Protocols",
            ", ".join(f"{name}: {rule}" for name, rule in record["protocols"].items()),
        ),
        section("codecs", "Codecs", codecs_table(record["codecs"], shown_columns)),
    ]
    if published is not None and published.rows:
        sections.append(section("published", "Published curves", published))
    if over_few is not None and FEW_NOTE in over_few.notes:
        sections.append(section("few", "Over few images", over_few))
    if draws is not None and draws.rows:
        sections.append(section("draws", "Draws", draws))
    empty_note = "Nothing." if not (absent or record["published_left_out"]) else ""
    table = [absent_table(absent)] if absent else []
    runs_sentence = ""
    if last := record["last_run"]:
        facts = [str(last[name]) for name in LAST_RUN[:3] if last.get(name)]
        runs_sentence = f"The last of {record['runs']} runs: {', '.join(facts)}."
    lines = record["published_left_out"]
    sections.append(section("left_out", "Left out", empty_note, *table, lines, runs_sentence))
    return markdown(section("report", f"Details of {record['dataset']}", *sections))


def report_text(
    title: str,
    summary: Summary,
    ranking: Ranking,
    drawings: Mapping[str, DrawnFigure],
    remarks: Sequence[str],
    tables: Sequence[str],
    command: str,
    requested_codecs: Sequence[str] = (),
) -> str:
    """Return report.md: a sentence, the ranking and figures. tables: names of files."""
    names = figure_names(summary)
    counts = (
        counted(summary.images, "image"),
        counted(len(summary.editions), "codec"),
        counted(len(summary.points), "point"),
    )
    dropped_text = (
        f"; {summary.dropped} more images that some points lack" if summary.dropped else ""
    )
    counts_text = f"{', '.join(counts)}{dropped_text}. Protocols, builds and exclusions: "
    table = ranking_table(ranking, True, names)
    # The overview "curves" shows the metrics that rank codecs; without it, show the first metrics
    shown_figures = [name for name in ("curves", "timing") if name in drawings]
    shown_figures += [*drawings][:MAX_FIGURES] if "curves" not in shown_figures else []
    shown_figures = list(dict.fromkeys(shown_figures))
    other_figures = [name for name in drawings if name not in shown_figures]
    links = {name: f"{name}.png" for name in other_figures} | {name: name for name in tables}
    file_links = ", ".join(f"[{name}]({file})" for name, file in links.items())
    num_hidden = len(table.rows) - MAX_RANKED_CODECS
    blocks = [
        f"# {markdown_text(title)}",
        block(headline(ranking, summary.images, names, requested_codecs)),
        *map(block, map(make_sentence, hidden_edition_lines(summary))),
        f"{markdown_text(counts_text)}[details](details.md).",
        block(f"{ranking_heading(ranking, names)}:"),
        block(table._replace(rows=table.rows[:MAX_RANKED_CODECS])),
        f"And {num_hidden} more in bd_rate.csv." if num_hidden > 0 else "",
        *(f"![{name}]({name}.png)\n\n{block(drawings[name].caption)}" for name in shown_figures),
        "" if shown_figures else "No points can be drawn.",
        block([*remarks]),
        f"More files: {file_links}." if file_links else "",
        block(command_sentence(command)),
    ]
    return "\n\n".join(text.rstrip("\n") for text in blocks if text) + "\n"


def page_sections(
    summary: Summary,
    ranking: Ranking,
    deltas: Table | str,
    means: Table,
    absent: Sequence[Absent],
) -> dict[str, Section]:
    """Return a report's sections for a page, by kind. deltas: BD-rates, or the reason for none."""
    rates_part: Part = deltas
    if not isinstance(deltas, str):
        rates_part = section("bd_rates_detail", "BD-rates in every metric", deltas)
    heading = ranking_heading(ranking, figure_names(summary))
    missing_part = absent_table(absent) if absent else "Nothing failed or was left out."
    page_parts = (
        section("ranking", "Ranking", heading, ranking_table(ranking)),
        section("bd_rates", "BD-rates", rates_part),
        section("means", "All points", means),
        section("codecs", "Codecs", codecs_table(codec_records(summary), PAGE_CODECS)),
        section("missing", "Failed and left out", missing_part),
    )
    return {part.kind: part for part in page_parts}
