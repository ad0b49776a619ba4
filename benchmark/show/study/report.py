"""Report of what raters of a study preferred: tables, a figure, a page, rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars import col

from benchmark.compare.panel import anchor_among
from benchmark.compare.study.agreement import agreements
from benchmark.compare.study.form import Answers, Key, read_answers, read_key
from benchmark.compare.study.points import FILE, parquet_of, points_of, preference_panel
from benchmark.compare.study.published import read_ratings
from benchmark.compare.study.scores import (
    EqualPreference,
    Scores,
    equal_preference,
    far_raters,
    scores_of,
)
from benchmark.compare.study.votes import (
    LeftOut,
    Votes,
    consistency,
    votes_of,
    why_left_out,
)
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.measure import protocols
from benchmark.rows.experiment import are_of, pairs_of
from benchmark.rows.means import summarise
from benchmark.rows.systems import find_label, label_of, short_names
from benchmark.show.bd_tables import ends_text
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.style import styles
from benchmark.show.page.document import sheet_html
from benchmark.show.paper.request import FigureRequest
from benchmark.show.paper.results import PaperFigure, PaperResults, every_measure, write_figure
from benchmark.show.sections import html, made_by, markdown, section
from benchmark.show.table import Column, Table
from benchmark.system.atomic import write_files
from benchmark.system.text import counted

NAME = "preference"
TWICE = "of a rater who is there with more answers"
FAR_RULE = "far less in agreement with all others than chance allows"


def _percents(ends: tuple[float, float]) -> str:
    return f"[{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]"


SCORES = (
    Column("codec", "name"),
    Column("at", "level"),
    Column("bpp", "bpp", ".3f"),
    Column("score", NAME, "+.2f"),
    Column(
        "95 %",
        lambda row: None if row["low"] is None else row,
        "[{low:+.2f}, {high:+.2f}]".format_map,
    ),
    Column("answers", "answers", "d"),
)
BITS = (
    Column("codec", "name"),
    Column("bits at equal preference", "change", lambda change: f"{change:+.1f} %"),
    Column("95 %", "interval", lambda ends: f"{ends_text(ends)} %"),
    Column("note", "why", str),
)
AGREEMENT = (
    Column("metric", "name"),
    Column("answers alike", "share", ".0%"),
    Column("95 %", "interval", _percents),
    Column("at equal rate", "equal_rate", ".0%"),
    Column("95 % ", "equal_rate_interval", _percents),
    Column("answers", "answers", "d"),
)


class StudyReport(NamedTuple):
    """Results of the answers to a study."""

    dataset: str
    scores: Scores
    bits: list[EqualPreference]
    left_out: list[LeftOut]
    points: list[dict[str, Any]]  # a row for each stimulus
    tables: list[tuple[str, Table]]  # by title
    lines: list[str]  # who answered, who was left out, how consistent the answers are
    published: bool


def read_study(study: Path, paths: Sequence[Path], asked: FigureRequest) -> StudyReport:
    """Return what answers to a study, or published ratings, say.

    study: its folder, or a file of ratings as `published` reads it, without paths. asked: anchor
    and folders. Raises `UsageError` where too few answers are left.
    """
    if study.is_file():
        votes, dataset, rows = read_ratings(study), study.stem, None
        left_out, values = list[LeftOut](), dict[tuple[int, int], dict[str, float]]()
    else:
        key = read_key(study)
        paths = [
            file
            for path in paths
            for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])
        ]
        if not paths:
            raise UsageError("no answers: name the files that raters saved, or a folder of them")
        votes, left_out = _votes(key, paths)
        dataset = key.dataset
        rows = PaperResults(asked.results, asked.data_dir).contents(dataset.partition(":")[0]).table
        values = _values(key, votes, rows)
    scores = scores_of(votes)
    names = short_names([*dict.fromkeys(stimulus.system for stimulus in votes.stimuli)])
    against = find_label(asked.anchor, names) if asked.anchor else _anchor([*names], rows)
    bits = equal_preference(votes, scores, against)
    agreed = agreements(votes, values, every_measure())
    points = points_of(votes, scores, dataset, study.name if rows is None else key.study)
    named = [{**point, "name": names[point["codec"]]} for point in points]
    rated = [change for change in bits if any(stimulus.bpp for stimulus in votes.stimuli)]
    changes = [{**change._asdict(), "name": names[change.system]} for change in rated]
    tables = [
        ("Scores", Table.of(SCORES, named)),
        (f"Bits against {names[against]}", Table.of(BITS, changes)),
        ("Which metric agrees with people", Table.of(AGREEMENT, agreed)),
    ]
    tables = [(title, table.filled(2)) for title, table in tables if table.rows]
    lines = _lines(votes, left_out, dataset, len(paths))
    return StudyReport(dataset, scores, bits, left_out, points, tables, lines, rows is None)


def _anchor(systems: Sequence[str], rows: pl.DataFrame | None) -> str:
    """Return the anchor that every verb has among these codecs; of published ones the first."""
    if rows is None:
        return systems[0]
    own = [pair for pair in pairs_of(rows) if label_of(*pair) in systems]
    anchor = anchor_among(summarise(rows.filter(are_of(own)), protocols(["psnr"]))).label
    return anchor if anchor in systems else systems[0]


def _votes(key: Key, paths: Sequence[Path]) -> tuple[Votes, list[LeftOut]]:
    """Return the answers of the raters who are not left out by any rule, and who is by which."""
    best: dict[str, tuple[Path, Answers]] = {}
    left_out = []
    for path in paths:
        answers = read_answers(path, key)
        if isinstance(answers, str):
            left_out.append(LeftOut(path.name, "a file that is no answers to this study", answers))
            continue
        this, earlier = (path, answers), best.get(answers.rater)
        if earlier:
            less, this = sorted((earlier, this), key=lambda of: len(of[1].answers))
            left_out.append(LeftOut(less[0].name, TWICE))
        best[answers.rater] = this
    why = {path: why_left_out(answers, key) for path, answers in best.values()}
    left_out += [LeftOut(path.name, rule) for path, rule in why.items() if rule]
    kept = [of for of in best.values() if not why[of[0]]]
    if not kept:
        rules = "; ".join(f"{gone.name}: {gone.rule}" for gone in left_out[:3])
        raise UsageError(f"no rater is left of {counted(len(paths), 'file')}: {rules}")
    votes = votes_of(key, [answers for _, answers in kept])
    far = far_raters(votes)
    left_out += [LeftOut(kept[rater][0].name, FAR_RULE) for rater in far]
    return votes.of(~pl.Series(votes.rater).is_in(far).to_numpy()), left_out


def _values(key: Key, votes: Votes, table: pl.DataFrame) -> dict[tuple[int, int], dict[str, float]]:
    """Return values of metric columns by image and stimulus, of the rows that are stored now."""
    columns = [m.column for m in every_measure() if m.column in table.columns]
    cells = {picture.cell: picture for picture in key.pictures if picture.cell}
    images = {image: n for n, image in enumerate(votes.images)}
    rows = table.filter(col("cell").cast(pl.String).is_in([*cells])).select("cell", *columns)
    return {
        (images[cells[row["cell"]].image], cells[row["cell"]].stimulus): {
            column: row[column] for column in columns if row[column] is not None
        }
        for row in rows.rows(named=True)
    }


def _lines(votes: Votes, left_out: Sequence[LeftOut], dataset: str, files: int) -> list[str]:
    of = consistency(votes)
    raters, images = len({*votes.rater.tolist()}), len({*votes.image.tolist()})
    gone = f"; {len(left_out)} of {counted(files, 'file')} left out" if files else ""
    result = [
        f"{counted(len(votes.won), 'answer')} of {counted(raters, 'rater')} on "
        f"{counted(images, 'image')} of {profile(dataset).title}{gone}."
    ]
    rules = Counter(gone.rule for gone in left_out)
    result += [f"Left out: {count}, {rule}." for rule, count in rules.items()]
    if of.agreement is not None:
        result.append(
            f"Raters agree with Kendall's u = {of.agreement:.2f} on {counted(of.pairs, 'pair')} "
            "(1: all alike, 0: by chance)."
        )
    result.append(
        f"Circular triads: {of.circular} of {of.triads} of the majorities, "
        f"{of.own_circular} of {of.own_triads} of single raters (one in four by chance)."
    )
    return result


def write_report(report: StudyReport, out: Path, results: Path, command: str) -> list[Path]:
    """Write text, page, figure and rows of a report, the rows to the results too; return files."""
    dataset = profile(report.dataset).title
    title = f"Preference on {dataset}"
    parts = [section(heading.lower(), heading, table) for heading, table in report.tables]
    gone = [": ".join(filter(None, of)) for of in report.left_out]
    rule = "Scores are logarithms of odds, of mean 0 (Bradley and Terry, 1952)."
    whole = section(
        "study", title, report.lines, rule, *parts, section("files", "Left out", gone),
        made_by(command),
    )  # fmt: skip
    body = "".join(f"<section><h2>{of.heading.title}</h2>{html(of, {})}</section>" for of in parts)
    rows = parquet_of(report.points)
    files: Mapping[str, str | bytes] = {
        f"{NAME}.md": markdown(whole),
        f"{NAME}.html": sheet_html(title, " ".join(report.lines), f"<main>{body}</main>"),
        FILE: rows,
    }
    write_files(out, files, what="report")
    names = short_names([*dict.fromkeys(point["codec"] for point in report.points)])
    panel = preference_panel(report.points, names, not report.published)
    drawing = draw_rate_curves([panel], styles(names), dataset) if panel.curves else None
    figures = write_figure(NAME, PaperFigure(drawing), out, command)
    stored = results / report.dataset.partition(":")[0]
    if not report.published:
        write_files(stored, {FILE: rows}, what="rows")
    return [*(out / name for name in files), *figures]
