"""Report of what raters of a study preferred: tables, a figure, a page, rows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmark.compare.study.agreement import Agreement, agreements
from benchmark.compare.study.form import Answers, Key, read_answers, read_key
from benchmark.compare.study.scores import (
    EqualPreference,
    Scores,
    equal_preference,
    scores_of,
    scores_without,
)
from benchmark.compare.study.votes import (
    Consistency,
    LeftOut,
    Votes,
    consistency,
    far_raters,
    votes_of,
    why_left_out,
)
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.facts import reference_codecs
from benchmark.metrics.measure import Measure
from benchmark.registry import METRICS
from benchmark.rows.systems import find_label, short_names
from benchmark.show.bd_tables import ends_text
from benchmark.show.figures.preference import draw_preference
from benchmark.show.figures.style import styles
from benchmark.show.page.document import sheet_html
from benchmark.show.paper.results import PaperFigure, PaperResults, write_figure
from benchmark.show.sections import Section, html, made_by, markdown, section
from benchmark.show.table import Column, Table
from benchmark.system.atomic import write_files
from benchmark.system.text import counted

PROTOCOL = "preference/1"
NAME = "preference"
TWICE = "of a rater who is there with more answers"
FAR_RULE = "far less in agreement with all others than chance allows"


def _ends(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:+.2f}, {ends[1]:+.2f}]"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _percents(ends: tuple[float, float]) -> str:
    return f"[{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]"


SCORES = (
    Column("codec", "name"),
    Column("at", "level"),
    Column("bpp", "bpp", ".3f", "bpp"),
    Column("score", "preference", "+.2f", "preference"),
    Column("95 %", "ends", _ends),
    Column("answers", "answers", "d", "answers"),
)
BITS = (
    Column("codec", "name"),
    Column("bits at equal preference", "change", lambda change: f"{change:+.1f} %"),
    Column("95 %", "interval", lambda ends: f"{ends_text(ends)} %"),
    Column("note", "why", lambda why: why),
)
AGREEMENT = (
    Column("metric", "name"),
    Column("answers alike", "share", _percent),
    Column("95 %", "interval", _percents),
    Column("at equal rate", "equal_rate", _percent),
    Column("95 % ", "equal_rate_interval", _percents),
    Column("answers", "answers", "d"),
)


class StudyReport(NamedTuple):
    """Results of the answers to a study."""

    key: Key
    votes: Votes
    scores: Scores
    bits: list[EqualPreference]
    consistency: Consistency
    agreements: list[Agreement]
    left_out: list[LeftOut]
    files: int
    anchor: str
    points: list[dict[str, Any]]  # a record for each stimulus
    tables: list[tuple[str, Table]]  # by title


def read_study(
    folder: Path, paths: Sequence[Path], results: Path, anchor: str, data_dir: Path | None
) -> StudyReport:
    """Return what answers to a study say; raises `UsageError` where too few are left."""
    key = read_key(folder)
    kept, left_out = _kept(key, paths)
    votes = votes_of(key, [answers for _, answers in kept])
    if not kept:
        rules = "; ".join(f"{gone.name}: {gone.rule}" for gone in left_out[:3])
        raise UsageError(f"no rater is left of {counted(len(paths), 'file')}: {rules}")
    far = far_raters(votes, scores_without(votes))
    left_out += [LeftOut(kept[rater][0].name, FAR_RULE) for rater in far]
    if far:
        votes = votes.of(~pl.Series(votes.rater).is_in(far).to_numpy())
    scores = scores_of(votes)
    systems = [*dict.fromkeys(stimulus.system for stimulus in key.stimuli)]
    against = find_label(anchor, systems) if anchor else _anchor(systems)
    bits = equal_preference(votes, scores, against)
    names = short_names(systems)
    points = _points(key, votes, scores, names)
    agreed = agreements(votes, _values(key, votes, results, data_dir), _measures())
    tables = [
        ("Scores", Table.of(SCORES, points)),
        (
            f"Bits against {names[against]}",
            Table.of(
                BITS, [{**change._asdict(), "name": names[change.system]} for change in bits]
            ).filled(2),
        ),
        ("Which metric agrees with people", Table.of(AGREEMENT, agreed)),
    ]
    return StudyReport(
        key, votes, scores, bits, consistency(votes), agreed, left_out, len(paths), against,
        points, tables,
    )  # fmt: skip


def _anchor(systems: Sequence[str]) -> str:
    """Return the codec that readers know best, else the first."""
    for known in reversed(reference_codecs()):
        for system in systems:
            if system.partition(":")[0] == known:
                return system
    return systems[0]


def _kept(key: Key, paths: Sequence[Path]) -> tuple[list[tuple[Path, Answers]], list[LeftOut]]:
    """Return the answers of raters who are not left out by a rule of their own answers."""
    best: dict[str, tuple[Path, Answers]] = {}
    left_out = []
    for path in paths:
        answers = read_answers(path, key)
        if isinstance(answers, str):
            left_out.append(LeftOut(path.name, "a file that is no answers to this study", answers))
            continue
        earlier = best.get(answers.rater)
        if earlier and len(earlier[1].answers) >= len(answers.answers):
            left_out.append(LeftOut(path.name, TWICE))
            continue
        if earlier:
            left_out.append(LeftOut(earlier[0].name, TWICE))
        best[answers.rater] = path, answers
    kept = []
    for path, answers in best.values():
        if why := why_left_out(answers, key):
            left_out.append(LeftOut(path.name, why))
        else:
            kept.append((path, answers))
    return kept, left_out


def _measures() -> list[Measure]:
    return [Measure.named(name) for name in METRICS]


def _points(
    key: Key, votes: Votes, scores: Scores, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    result = []
    for number, stimulus in enumerate(key.stimuli):
        own = (votes.first == number) | (votes.second == number)
        ends = scores.interval(number)
        low, high = ends or (None, None)
        result.append(
            {
                "dataset": key.dataset,
                "codec": stimulus.system,
                "name": names[stimulus.system],
                "level": stimulus.level,
                "bpp": stimulus.bpp,
                NAME: float(scores.values[number]),
                "low": low,
                "high": high,
                "ends": ends,
                "answers": int(own.sum()),
                "raters": len({*votes.rater[own].tolist()}),
                "images": len({*votes.image[own].tolist()}),
                "protocol": PROTOCOL,
                "study": key.study,
            }
        )
    return result


def _values(
    key: Key, votes: Votes, results: Path, data_dir: Path | None
) -> dict[tuple[int, int], dict[str, float]]:
    """Return values of metric columns by image and stimulus, of the rows that are stored now."""
    table = PaperResults(results, data_dir).contents(key.dataset.partition(":")[0]).table
    columns = [m.column for m in _measures() if m.column in table.columns]
    cells = {picture.cell: picture for picture in key.pictures if picture.cell}
    rows = table.filter(pl.col("cell").cast(pl.String).is_in([*cells]))
    images = {image: n for n, image in enumerate(votes.images)}
    result = {}
    for row in rows.select(["cell", *columns]).rows(named=True):
        picture = cells[row["cell"]]
        values = {column: row[column] for column in columns if row[column] is not None}
        result[images[picture.image], picture.stimulus] = values
    return result


def sentences(report: StudyReport) -> list[str]:
    """Return who answered, who was left out, and how consistent the answers are."""
    votes, of = report.votes, report.consistency
    raters, images = len({*votes.rater.tolist()}), len({*votes.image.tolist()})
    rules = Counter(gone.rule for gone in report.left_out)
    result = [
        f"{counted(len(votes.won), 'answer')} of {counted(raters, 'rater')} on "
        f"{counted(images, 'image')} of {profile(report.key.dataset).title}; "
        f"{len(report.left_out)} of {counted(report.files, 'file')} left out."
    ]
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


def write_report(report: StudyReport, out: Path, command: str) -> list[Path]:
    """Write text, page, figure and rows of a report; return the files."""
    systems = dict.fromkeys(stimulus.system for stimulus in report.key.stimuli)
    named = short_names([*systems])
    title = f"Preference on {profile(report.key.dataset).title}"
    caption = (
        "What people preferred against rate: 1.1 more is preferred in three of four answers. Lines "
        "are 95 % intervals over raters and images."
    )
    drawing = draw_preference(
        report.points, styles(systems), named, profile(report.key.dataset).title, caption
    )
    figures = write_figure(NAME, PaperFigure(drawing), out, command)
    lines = sentences(report)
    parts = [section(name.lower(), name, table) for name, table in report.tables]
    files = section("files", "Left out", [_line(gone) for gone in report.left_out])
    rule = "Scores are logarithms of odds, of mean 0 (Bradley and Terry, 1952)."
    whole = section("study", title, lines, rule, *parts, files, made_by(command))
    shown = ("dataset", "codec", "level", "bpp", NAME, "low", "high", "answers", "raters", "images")
    records = [{k: p[k] for k in (*shown, "protocol", "study")} for p in report.points]
    parquet = BytesIO()
    pl.DataFrame(records).write_parquet(parquet)
    body = "".join(map(_html, parts))
    write_files(
        out,
        {
            f"{NAME}.md": markdown(whole),
            f"{NAME}.html": sheet_html(title, " ".join(lines), f"<main>{body}</main>"),
            f"{NAME}.parquet": parquet.getvalue(),
        },
        what="report",
    )
    return [out / f"{NAME}.md", out / f"{NAME}.html", out / f"{NAME}.parquet", *figures]


def _html(of: Section) -> str:
    return f"<section><h2>{of.heading.title}</h2>{html(of, {})}</section>"


def _line(gone: LeftOut) -> str:
    return ": ".join(filter(None, [gone.name, gone.rule, gone.detail]))


def answer_files(paths: Iterable[Path]) -> list[Path]:
    """Return answers files, those in folders among them; raises `UsageError` for none."""
    result: list[Path] = []
    for path in paths:
        result += sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not result:
        raise UsageError("no answers: name the files that raters saved, or a folder of them")
    return result
