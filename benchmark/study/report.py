"""Report on a study's answers: tables, a figure, a page and rows."""

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
from benchmark.compare.anchor import choose_anchor
from benchmark.compare.curve import Curve, CurvePoint
from benchmark.compare.interval import Interval
from benchmark.compare.rule import USUAL_RULE
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, protocols
from benchmark.rows.edition import Edition, label_of, parse_spec, titles_of_texts
from benchmark.rows.means import summarise
from benchmark.rows.names import find_variant
from benchmark.rows.packs.contents import dataset_contents, packs_with_results
from benchmark.rows.schema import metric_names
from benchmark.rows.variants import has_variant, specs_of
from benchmark.show.bd_rates import ends_text
from benchmark.show.figures.choice import pick_curves
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.style import styles
from benchmark.show.figures.texts import write_figure
from benchmark.show.page.document import sheet_html
from benchmark.show.sections import command_sentence, html, markdown, section
from benchmark.show.table import Table
from benchmark.study.agreement import agreements
from benchmark.study.form import Answers, Key, read_answers, read_key
from benchmark.study.scores import (
    EqualPreference,
    PreferenceScores,
    equal_preference,
    find_outliers,
    score_votes,
)
from benchmark.study.votes import Votes, collect_votes, consistency, exclusion_rule
from benchmark.system.atomic import write_files
from benchmark.system.text import counted

PREFERENCE = Metric("preference", "Preference (log of odds)", "higher")
PROTOCOL = "preference/1"
PARTIAL_RULE = "the same rater has a more complete file"
OUTLIER_RULE = "the rater disagrees with all other raters far more than by chance"
format_interval = "[{0[0]:+z.2f}, {0[1]:+z.2f}]".format
format_shares = "[{0[0]:.0%}, {0[1]:.0%}]".format
SCORES = (
    Column("codec", "name"),
    Column("at", "level"),
    Column("bpp", "bpp", ".3f"),
    Column("score", PREFERENCE.column, "+z.2f"),
    Column("95 %", lambda row: row["low"] and (row["low"], row["high"]), format_interval),
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
    Column("answers in agreement", "share", ".0%"),
    Column("95 %", "interval", format_shares),
    Column("at equal rate", "equal_rate", ".0%"),
    Column("95 % ", "equal_rate_interval", format_shares),
    Column("answers", "answers", "d"),
)


class StudyReport(NamedTuple):
    """Results of the answers to a study."""

    dataset: str
    scores: PreferenceScores
    bits: list[EqualPreference]  # at equal preference, against the anchor
    exclusions: list[Absent]
    points: list[dict[str, Any]]  # one row per stimulus
    answers: list[Answer]  # scores, bits against the anchor, agreement of metrics
    lines: list[str]  # on raters, answers, exclusions and consistency


def read_study(
    study: Path,
    paths: Sequence[Path],
    results: Path = Path("results"),
    anchor: str = "",
) -> StudyReport:
    """Read answers to the study in a folder; raise `UsageError` if too few can be used."""
    key = read_key(study)
    folders = [sorted(path.glob("*.json")) if path.is_dir() else [path] for path in paths]
    files = [file for folder in folders for file in folder]
    if not files:
        raise UsageError("no answers were given: name the files that raters saved, or their folder")
    votes, exclusions = _read_votes(key, files)
    contents = dataset_contents(results, key.dataset.partition(":")[0], packs_with_results(results))
    rows = contents.table
    metrics = [*map(Metric.named, metric_names("all"))]
    values = _metric_values(key, votes, rows, metrics)
    scores = score_votes(votes)
    names = titles_of_texts(stimulus.system for stimulus in votes.stimuli)
    anchor_label = next(iter(names))
    if anchor:
        anchor_label = label_of(
            find_variant(anchor, [Edition.create(parse_spec(text)) for text in names])
        )
    else:  # the anchor that other verbs would choose
        specs = [spec for spec in specs_of(rows) if label_of(spec) in names]
        usual_label = choose_anchor(
            summarise(rows.filter(has_variant(specs)), protocols(["psnr"]))
        ).label
        anchor_label = usual_label if usual_label in names else anchor_label
    bits = equal_preference(votes, scores, anchor_label)
    points = _stimulus_rows(votes, scores, key.dataset, key.study)
    lines = _summary_lines(votes, exclusions, key.dataset, len(files))
    tables = (
        ("Scores", SCORES, [{**point, "name": names[point["codec"]]} for point in points]),
        (
            f"Bits against {names[anchor_label]}",
            BITS,
            [change._asdict() | {"system": names[change.system]} for change in bits],
        ),
        (
            "Which metric agrees with people",
            AGREEMENT,
            [agreement._asdict() for agreement in agreements(votes, values, metrics)],
        ),
    )
    answers = [
        Answer(records, columns, facts={"kind": title}, title=title)
        for title, columns, records in tables
        if records
    ]
    answers[-1] = answers[-1]._replace(summary="\n".join(lines), absent=exclusions)
    return StudyReport(key.dataset, scores, bits, exclusions, points, answers, lines)


def _read_votes(key: Key, paths: Sequence[Path]) -> tuple[Votes, list[Absent]]:
    """Return the votes of raters that no rule excludes, and the excluded files with the rules."""
    fullest_files: dict[str, tuple[Path, Answers]] = {}
    exclusions = []
    for path in paths:
        answers = read_answers(path, key)
        if isinstance(answers, str):
            exclusions.append(Absent(path.name, "not a file of answers to this study"))
            continue
        files = [fullest_files[answers.rater]] if answers.rater in fullest_files else []
        files = sorted([*files, (path, answers)], key=lambda file: len(file[1].answers))
        *partial_files, fullest_files[answers.rater] = files
        exclusions += [Absent(partial_path.name, PARTIAL_RULE) for partial_path, _ in partial_files]
    rules = {path: exclusion_rule(answers, key) for path, answers in fullest_files.values()}
    exclusions += [Absent(path.name, rule) for path, rule in rules.items() if rule]
    raters = [(path, answers) for path, answers in fullest_files.values() if not rules[path]]
    if not raters:
        reasons = "; ".join(f"{file.what}: {file.why}" for file in exclusions[:3])
        raise UsageError(f"all raters in {counted(len(paths), 'file')} are excluded: {reasons}")
    votes = collect_votes(key, [answers for _, answers in raters])
    outliers = find_outliers(votes)
    exclusions += [Absent(raters[rater][0].name, OUTLIER_RULE) for rater in outliers]
    return votes.select(~np.isin(votes.rater, outliers)), exclusions


def _metric_values(
    key: Key, votes: Votes, table: pl.DataFrame, metrics: Sequence[Metric]
) -> dict[tuple[int, int], dict[str, float]]:
    columns = [metric.column for metric in metrics if metric.column in table.columns]
    stimuli = {
        picture.cell: (votes.images.index(picture.image), picture.stimulus)
        for picture in key.pictures
        if picture.cell
    }
    is_in_study = col("cell").cast(pl.String).is_in([*stimuli])
    return {
        stimuli[cell]: {
            column: value
            for column, value in zip(columns, values, strict=True)
            if value is not None
        }
        for cell, *values in table.filter(is_in_study).select("cell", *columns).rows()
    }


def _summary_lines(votes: Votes, exclusions: list[Absent], dataset: str, files: int) -> list[str]:
    result = consistency(votes)
    raters, images = len({*votes.rater.tolist()}), len({*votes.image.tolist()})
    excluded_text = f"; {len(exclusions)} of {counted(files, 'file')} excluded" if files else ""
    rules = Counter(file.why for file in exclusions)
    agreement_text = ""
    if result.agreement is not None:
        agreement_text = (
            f"Agreement of raters: Kendall's u = {result.agreement:.2f} on "
            f"{counted(result.pairs, 'pair')} (1: complete agreement, 0: by chance)."
        )
    lines = (
        f"{counted(len(votes.won), 'answer')} of {counted(raters, 'rater')} on "
        f"{counted(images, 'image')} of {profile(dataset).title}{excluded_text}.",
        *(f"Excluded: {count} ({rule})." for rule, count in rules.items()),
        agreement_text,
        f"Circular triads (chance: one in four): {result.circular} of {result.triads} in majority "
        f"votes, {result.rater_circular} of {result.rater_triads} in votes of single raters.",
    )
    return [line for line in lines if line]


def _stimulus_rows(
    votes: Votes, scores: PreferenceScores, dataset: str, study: str
) -> list[dict[str, Any]]:
    result = []
    for number, stimulus in enumerate(votes.stimuli):
        is_involved = (votes.first == number) | (votes.second == number)
        low, high = scores.interval(number) or (None, None)
        raters, images = (
            len({*labels[is_involved].tolist()}) for labels in (votes.rater, votes.image)
        )
        result.append(
            {
                "dataset": dataset, "codec": stimulus.system, "level": stimulus.level,
                "bpp": stimulus.bpp, PREFERENCE.column: float(scores.values[number]), "low": low,
                "high": high, "answers": int(is_involved.sum()), "raters": raters, "images": images,
                "protocol": PROTOCOL, "study": study,
            }
        )  # fmt: skip
    return result


def _preference_curves(
    points: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> list[Curve]:
    curves = []
    for label, name in names.items():
        rows = [row for row in points if row["codec"] == label]
        curve_points = tuple(
            CurvePoint(
                row["bpp"], row[PREFERENCE.column], row["level"], "measured", row["images"],
                row["protocol"], CODING, f"study {row['study']}",
                interval=None if row["low"] is None else Interval(row["low"], row["high"]),
            )
            for row in sorted(rows, key=lambda row: row["bpp"])
        )  # fmt: skip
        edition = Edition.create(parse_spec(label))
        curves += [Curve(PREFERENCE, edition, name, curve_points)] if curve_points else []
    return curves


def write_report(report: StudyReport, out: Path, command: str) -> list[Path]:
    """Write a report's text, page, figure and rows; return the paths."""
    title = f"Preference on {profile(report.dataset).title}"
    sections = [
        section(
            answer.title.lower(),
            answer.title,
            Table.create(answer.columns, answer.records).drop_empty_columns(2),
        )
        for answer in report.answers
    ]
    exclusion_lines = [": ".join(filter(None, file)) for file in report.exclusions]
    rule = "Scores are log odds with mean 0 (Bradley and Terry, 1952)."
    document = section(
        "study", title, report.lines, rule, *sections,
        section("files", "Excluded", exclusion_lines), command_sentence(command),
    )  # fmt: skip
    body = "".join(f"<section><h2>{part.title}</h2>{html(part, {})}</section>" for part in sections)
    page = sheet_html(title, " ".join(report.lines), f"<main>{body}</main>")
    pl.DataFrame(report.points).write_parquet(rows := BytesIO())
    files: Mapping[str, str | bytes] = {
        f"{PREFERENCE.column}.md": markdown(document),
        f"{PREFERENCE.column}.html": page,
        f"{PREFERENCE.column}.parquet": rows.getvalue(),
    }
    write_files(out, files, what="report")
    names = titles_of_texts(point["codec"] for point in report.points)
    panels = [_preference_curves(report.points, names)]
    datasets = [(profile(report.dataset).title, panels)]
    drawing = draw_rate_curves(
        datasets, styles(curve.edition for curve in panels[0]), pick_curves(panels, USUAL_RULE)
    )
    figures = write_figure(PREFERENCE.column, drawing, out, command)
    return [*(out / name for name in files), *figures]
