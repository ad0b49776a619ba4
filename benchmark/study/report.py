"""Report of what raters of a study preferred: tables, a figure, a page, rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from polars import col

from benchmark.answer import Absent, Answer, Column
from benchmark.codec import CODING
from benchmark.compare.anchor import anchor_among
from benchmark.compare.interval import Interval
from benchmark.compare.rule import USUAL_RULE
from benchmark.compare.system_curve import CurvePoint, SystemCurve
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, protocols
from benchmark.rows.edition import Edition, label_of, names_of_texts, spec_in
from benchmark.rows.means import summarise
from benchmark.rows.names import find_variant
from benchmark.rows.packs.contents import dataset_contents, packs_beside
from benchmark.rows.schema import metric_names
from benchmark.rows.variants import are_of, specs_of
from benchmark.show.bd_rates import ends_text
from benchmark.show.figures.choice import choose
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.style import styles
from benchmark.show.figures.texts import write_figure
from benchmark.show.page.document import sheet_html
from benchmark.show.sections import html, made_by, markdown, section
from benchmark.show.table import Table
from benchmark.study.agreement import agreements
from benchmark.study.form import Answers, Key, read_answers, read_key
from benchmark.study.scores import (
    EqualPreference,
    Scores,
    equal_preference,
    far_raters,
    scores_of,
)
from benchmark.study.votes import Votes, consistency, votes_of, why_left_out
from benchmark.system.atomic import write_files
from benchmark.system.text import counted

PREFERENCE = Metric("preference", "Preference (log of odds)", "higher")
PROTOCOL = "preference/1"
NAME = PREFERENCE.column
TWICE = "of a rater who is there with more answers"
FAR_RULE = "far less in agreement with all others than chance allows"
ENDS = "[{0[0]:+z.2f}, {0[1]:+z.2f}]".format
PERCENTS = "[{0[0]:.0%}, {0[1]:.0%}]".format
SCORES = (
    Column("codec", "name"),
    Column("at", "level"),
    Column("bpp", "bpp", ".3f"),
    Column("score", NAME, "+z.2f"),
    Column("95 %", lambda of: of["low"] and (of["low"], of["high"]), ENDS),
    Column("answers", "answers", "d"),
)
BITS = (
    Column("codec", "system"),
    Column("bits at equal preference", "change", lambda change: f"{change:+z.1f} %"),
    Column("95 %", "interval", lambda ends: f"{ends_text(*ends)} %"),
    Column("note", "why", str),
)
AGREEMENT = (
    Column("metric", "name"),
    Column("answers alike", "share", ".0%"),
    Column("95 %", "interval", PERCENTS),
    Column("at equal rate", "equal_rate", ".0%"),
    Column("95 % ", "equal_rate_interval", PERCENTS),
    Column("answers", "answers", "d"),
)


class StudyReport(NamedTuple):
    """Results of the answers to a study."""

    dataset: str
    scores: Scores
    bits: list[EqualPreference]
    left_out: list[Absent]
    points: list[dict[str, Any]]  # a row for each stimulus
    answers: list[Answer]  # scores, bits against the anchor, metrics that agree
    lines: list[str]  # who answered, who was left out, how consistent the answers are


def read_study(
    study: Path,
    paths: Sequence[Path],
    results: Path = Path("results"),
    anchor: str = "",
) -> StudyReport:
    """Return what answers to a study say; raise `UsageError` where too few are left.

    study: its folder.
    """
    key = read_key(study)
    folders = [sorted(path.glob("*.json")) if path.is_dir() else [path] for path in paths]
    if not (files := [file for of in folders for file in of]):
        raise UsageError("no answers: name the files that raters saved, or a folder of them")
    votes, left_out = _votes(key, files)
    contents = dataset_contents(results, key.dataset.partition(":")[0], packs_beside(results))
    rows = contents.table
    metrics = [*map(Metric.named, metric_names("all"))]
    values = _values(key, votes, rows, metrics)
    scores = scores_of(votes)
    names = names_of_texts(stimulus.system for stimulus in votes.stimuli)
    against = next(iter(names))
    if anchor:
        against = label_of(find_variant(anchor, [Edition.of(spec_in(text)) for text in names]))
    else:  # the one that every verb has among these codecs
        own = [spec for spec in specs_of(rows) if label_of(spec) in names]
        usual = anchor_among(summarise(rows.filter(are_of(own)), protocols(["psnr"]))).label
        against = usual if usual in names else against
    bits = equal_preference(votes, scores, against)
    points = _points(votes, scores, key.dataset, key.study)
    lines = _lines(votes, left_out, key.dataset, len(files))
    shown = (
        ("Scores", SCORES, [{**of, "name": names[of["codec"]]} for of in points]),
        (
            f"Bits against {names[against]}",
            BITS,
            [of._asdict() | {"system": names[of.system]} for of in bits],
        ),
        (
            "Which metric agrees with people",
            AGREEMENT,
            [of._asdict() for of in agreements(votes, values, metrics)],
        ),
    )
    answers = [
        Answer(of, columns, facts={"kind": title}, title=title)
        for title, columns, of in shown
        if of
    ]
    answers[-1] = answers[-1]._replace(summary="\n".join(lines), absent=left_out)
    return StudyReport(key.dataset, scores, bits, left_out, points, answers, lines)


def _votes(key: Key, paths: Sequence[Path]) -> tuple[Votes, list[Absent]]:
    """Return the answers of the raters who are not left out by any rule, and who is by which."""
    best: dict[str, tuple[Path, Answers]] = {}
    left_out = []
    for path in paths:
        answers = read_answers(path, key)
        if isinstance(answers, str):
            left_out.append(Absent(path.name, "a file that is no answers to this study"))
            continue
        both = [*filter(None, [best.get(answers.rater)]), (path, answers)]
        *less, best[answers.rater] = sorted(both, key=lambda of: len(of[1].answers))
        left_out += [Absent(file.name, TWICE) for file, _ in less]
    why = {path: why_left_out(answers, key) for path, answers in best.values()}
    left_out += [Absent(path.name, rule) for path, rule in why.items() if rule]
    kept = [of for of in best.values() if not why[of[0]]]
    if not kept:
        rules = "; ".join(f"{gone.what}: {gone.why}" for gone in left_out[:3])
        raise UsageError(f"no rater is left of {counted(len(paths), 'file')}: {rules}")
    votes = votes_of(key, [answers for _, answers in kept])
    far = far_raters(votes)
    left_out += [Absent(kept[rater][0].name, FAR_RULE) for rater in far]
    return votes.of(~np.isin(votes.rater, far)), left_out


def _values(
    key: Key, votes: Votes, table: pl.DataFrame, metrics: Sequence[Metric]
) -> dict[tuple[int, int], dict[str, float]]:
    """Return values of metric columns by image and stimulus, of the rows that are stored now."""
    columns = [m.column for m in metrics if m.column in table.columns]
    cells = {of.cell: (votes.images.index(of.image), of.stimulus) for of in key.pictures if of.cell}
    rows = table.filter(col("cell").cast(pl.String).is_in([*cells])).select("cell", *columns)
    return {
        cells[cell]: {name: of for name, of in zip(columns, values, strict=True) if of is not None}
        for cell, *values in rows.rows()
    }


def _lines(votes: Votes, left_out: Sequence[Absent], dataset: str, files: int) -> list[str]:
    of = consistency(votes)
    raters, images = len({*votes.rater.tolist()}), len({*votes.image.tolist()})
    gone = f"; {len(left_out)} of {counted(files, 'file')} left out" if files else ""
    rules = Counter(gone.why for gone in left_out)
    alike = (
        f"Raters agree with Kendall's u = {of.agreement:.2f} on {counted(of.pairs, 'pair')} "
        "(1: all alike, 0: by chance)."
    ) if of.agreement is not None else ""  # fmt: skip
    lines = (
        f"{counted(len(votes.won), 'answer')} of {counted(raters, 'rater')} on "
        f"{counted(images, 'image')} of {profile(dataset).title}{gone}.",
        *(f"Left out: {count}, {rule}." for rule, count in rules.items()),
        alike,
        f"Circular triads: {of.circular} of {of.triads} of the majorities, "
        f"{of.own_circular} of {of.own_triads} of single raters (one in four by chance).",
    )
    return [line for line in lines if line]


def _points(votes: Votes, scores: Scores, dataset: str, study: str) -> list[dict[str, Any]]:
    """Return a row for each stimulus: its score with interval, and what that is over."""
    result = []
    for number, stimulus in enumerate(votes.stimuli):
        own = (votes.first == number) | (votes.second == number)
        low, high = scores.interval(number) or (None, None)
        raters, images = (len({*of[own].tolist()}) for of in (votes.rater, votes.image))
        result.append(
            {
                "dataset": dataset, "codec": stimulus.system, "level": stimulus.level,
                "bpp": stimulus.bpp, PREFERENCE.column: float(scores.values[number]), "low": low,
                "high": high, "answers": int(own.sum()), "raters": raters, "images": images,
                "protocol": PROTOCOL, "study": study,
            }
        )  # fmt: skip
    return result


def _curves(points: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[SystemCurve]:
    """Return the curves of rows. names: by label."""
    curves = []
    for label, name in names.items():
        own = [row for row in points if row["codec"] == label]
        made = tuple(
            CurvePoint(
                row["bpp"], row[PREFERENCE.column], row["level"], "measured", row["images"],
                row["protocol"], CODING, f"study {row['study']}",
                interval=None if row["low"] is None else Interval(row["low"], row["high"]),
            )
            for row in sorted(own, key=lambda row: row["bpp"])
        )  # fmt: skip
        edition = Edition.of(spec_in(label))
        curves += [SystemCurve(PREFERENCE, edition, name, made)] if made else []
    return curves


def write_report(report: StudyReport, out: Path, command: str) -> list[Path]:
    """Write text, page, figure and rows of a report; return the files."""
    title = f"Preference on {profile(report.dataset).title}"
    parts = [
        section(of.title.lower(), of.title, Table.of(of.columns, of.records).filled(2))
        for of in report.answers
    ]
    gone = [": ".join(filter(None, of)) for of in report.left_out]
    rule = "Scores are logarithms of odds, of mean 0 (Bradley and Terry, 1952)."
    whole = section(
        "study", title, report.lines, rule, *parts, section("files", "Left out", gone),
        made_by(command),
    )  # fmt: skip
    body = "".join(f"<section><h2>{of.title}</h2>{html(of, {})}</section>" for of in parts)
    pl.DataFrame(report.points).write_parquet(rows := BytesIO())
    files: Mapping[str, str | bytes] = {
        f"{NAME}.md": markdown(whole),
        f"{NAME}.html": sheet_html(title, " ".join(report.lines), f"<main>{body}</main>"),
        f"{NAME}.parquet": rows.getvalue(),
    }
    write_files(out, files, what="report")
    names = names_of_texts(point["codec"] for point in report.points)
    panels = [_curves(report.points, names)]
    datasets = [(profile(report.dataset).title, panels)]
    drawing = draw_rate_curves(
        datasets, styles(c.edition for c in panels[0]), choose(panels, USUAL_RULE)
    )
    figures = write_figure(NAME, drawing, out, command)
    return [*(out / name for name in files), *figures]
