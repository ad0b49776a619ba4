"""`bench report --page`: what the report shows, as one HTML page and a folder of pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.errors import UsageError

if TYPE_CHECKING:
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.stored import Stored
    from benchmark.analysis.summarise import Summary
    from benchmark.figures.table import Table
    from benchmark.page.content import Content, Grid, Look
    from benchmark.published.points import Panel, PublishedCurve

NAME = "page.html"
ALL = "all"


class Wanted(NamedTuple):
    """A page that was asked for."""

    photographs: int | None  # with pictures at most; None: all of them
    results: Path
    data_dir: Path | None
    dataset: str  # as it was asked for: a folder's name leads to its photographs


def asked_page(
    page: bool, images: str, results: Path, data_dir: Path | None, dataset: str
) -> Wanted | None:
    """What the options ask for; `UsageError` where they make no sense."""
    if images != ALL and not images.isdecimal():
        raise UsageError(f"--page-images {images!r} is neither a number nor 'all'")
    if not page:
        return None
    return Wanted(None if images == ALL else int(images), results, data_dir, dataset)


def write_page(
    wanted: Wanted,
    stored: "Stored",
    measures: "Sequence[Measure]",
    deltas: "tuple[Table, Table] | str",
    panels: "Mapping[str, Panel]",
    published_shown: bool,
    linear: bool,
) -> tuple[str, str]:
    """Write the pictures, then the page; remove an earlier page's files; return path and remark."""
    from benchmark.commands.output import show_progress
    from benchmark.figures.rate_curve import CROP_BPP, RATIOS
    from benchmark.figures.table import means_table
    from benchmark.packs.contents import dataset_contents, packs_beside
    from benchmark.page.content import Content
    from benchmark.page.document import html_text
    from benchmark.page.pictures import (
        FOLDER,
        chosen_photographs,
        remove_others,
        rows_by_place,
        size_of,
        sources_of,
        write_pictures,
    )
    from benchmark.system.atomic import write_files
    from benchmark.system.programs import package_folder

    summary = stored.summary
    measured = [measure for measure in measures if summary.values_of(measure.column)]
    rows = rows_by_place(stored.table, summary, summary.protocols["coding"])
    evidence = dataset_contents(
        wanted.results, stored.name.partition(":")[0], packs_beside(wanted.results)
    )
    dataset = wanted.dataset if Path(wanted.dataset).is_dir() else stored.name
    sources = sources_of(dataset, wanted.results, wanted.data_dir)
    chosen = chosen_photographs(rows, evidence, wanted.photographs)
    total = sum(number in chosen for _, _, number in rows)
    with show_progress("decoding for the page", total, quiet=False) as report:
        pictures = write_pictures(stored.folder, rows, evidence, sources, chosen, report)
    published = _published(wanted, stored, measured, panels, published_shown)
    content = Content(
        dataset=stored.name,
        summary=summary,
        measures=measured,
        looks=_looks(summary, published),
        photographs=pictures.photographs,
        pictures=pictures.decoded,
        bd_rates=deltas if isinstance(deltas, str) else [_grid(table) for table in deltas],
        means=_grid(means_table(summary, measured)),
        facts=_facts(summary, stored.runs),
        packages=_packages(stored.runs),
        missing=_missing(summary, measures, stored.runs),
        published=published,
        published_shown=published_shown,
        linear_rate=linear,
        most_bpp=CROP_BPP,
        wide_ratios=frozenset(RATIOS),
    )
    plotly = package_folder("plotly") / "package_data" / "plotly.min.js"
    text = html_text(content, plotly.read_text(encoding="utf-8"))
    write_files(stored.folder, {NAME: text}, what="page")
    remove_others(stored.folder, pictures.files)
    size = size_of(stored.folder, pictures.files)
    return str(stored.folder / NAME), _said(content, size, len(pictures.files), FOLDER)


def _said(content: "Content", size: int, files: int, folder: str) -> str:
    decoded = content.pictures.values()
    shown = sum(one.picture is not None for one in decoded)
    said = f"the page has pictures of {shown} of {len(decoded)} streams"
    if files:
        said += f": {files} files, {size / 1e6:.1f} MB, in {folder}/ beside it"
    absent: dict[str, int] = {}
    for one in decoded:
        absent[one.absent] = absent.get(one.absent, 0) + (one.picture is None)
    lines = [f"{count} × {why}" for why, count in absent.items() if count]
    return "\n".join([said, *lines])


def _grid(table: "Table") -> "Grid":
    from benchmark.page.content import Grid

    return Grid(table.headers, table.rows, table.words, table.notes)


def _published(
    wanted: Wanted,
    stored: "Stored",
    measured: "Sequence[Measure]",
    panels: "Mapping[str, Panel]",
    shown: bool,
) -> "dict[str, Sequence[PublishedCurve]]":
    """Those asked for, else all that may stand beside these results, to be switched on."""
    from benchmark.published.points import check_same_images, panel, published_curves
    from benchmark.published.read import read_points

    if shown:
        return {column: one.drawn for column, one in panels.items()}
    summary = stored.summary
    try:
        check_same_images(stored.name, summary.images, summary.average)
    except UsageError:
        return {}
    points = read_points(wanted.results)
    return {
        one.column: panel(
            published_curves(points, stored.name, one.column), summary.protocols[one.column]
        ).drawn
        for one in measured
    }


def _looks(
    summary: "Summary", published: "Mapping[str, Sequence[PublishedCurve]]"
) -> "dict[str, Look]":
    """As in the figures, by label, and by name of published curves."""
    from benchmark.figures.published_curve import look_label
    from benchmark.figures.style import looks, short_names
    from benchmark.page.content import Look

    curves = [curve for found in published.values() for curve in found]
    drawn = looks([*summary.labels, *map(look_label, curves)])
    short = short_names(summary.labels)
    found = {curve.name: Look(curve.name, *drawn[look_label(curve)]) for curve in curves}
    return found | {label: Look(short[label], *drawn[label]) for label in summary.labels}


def _facts(summary: "Summary", runs: "Sequence[Mapping[str, Any]]") -> list[tuple[str, str]]:
    average = "mean of each image's own" if summary.average == "per_image" else "pooled"
    images = f"{summary.images}"
    if summary.dropped:
        images += f"; {summary.dropped} that not every point has are left out"
    facts = [
        ("Images", images),
        ("Protocols", ", ".join(summary.protocols_in_use.values())),
        ("Bits per pixel", f"{average}, the whole stream counted"),
    ]
    if not runs:
        return [*facts, ("Runs", "none here: these rows came along with the project")]
    last = runs[-1]
    commit = str(last.get("commit") or "")
    started = str(last.get("started_utc") or "").replace("T", " ")[:16]
    words = [
        f"{started} UTC",
        f"commit {commit[:12]}{commit[40:]}" if commit else "no commit known",
        str(last.get("machine") or ""),
    ]
    count = f"the last of {len(runs)} runs" if len(runs) > 1 else "the only run"
    return [*facts, ("Measured", ", ".join(filter(None, [*words, count])))]


def _packages(runs: "Sequence[Mapping[str, Any]]") -> str:
    found = (runs[-1].get("packages") or {}) if runs else {}
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _missing(
    summary: "Summary",
    measures: "Sequence[Measure]",
    runs: "Sequence[Mapping[str, Any]]",
) -> dict[str, list[str]]:
    """The report's sentences on what is not there, by what kind they are."""
    from benchmark.report.document import left_out

    headings = {
        "failed: ": "Failed cells",
        "skipped by the last run: ": "Skipped codecs",
        "refused by the last run: ": "Refused images",
    }
    found: dict[str, list[str]] = {heading: [] for heading in headings.values()}
    found["Not drawn or compared"] = []
    for sentence in left_out(summary, measures, runs):
        said = sentence.removeprefix("not drawn or compared: ")
        start = next((one for one in headings if said.startswith(one)), "")
        heading = headings.get(start, "Not drawn or compared")
        found[heading].append(said.removeprefix(start).lstrip())
    return found
