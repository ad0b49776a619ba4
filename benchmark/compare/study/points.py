"""Scores of a study as rows, stored beside those of a dataset, and as a panel of curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.codec import CODING
from benchmark.compare.interval import Interval
from benchmark.compare.panel import CurvePoint, Panel, SystemCurve
from benchmark.compare.study.scores import Scores
from benchmark.compare.study.votes import Votes
from benchmark.errors import UsageError
from benchmark.metrics.metric import PREFERENCE
from benchmark.rows.summary import Edition
from benchmark.rows.systems import System

FILE = "preference.parquet"  # in a dataset's folder of results: the study that was read last
PROTOCOL = "preference/1"


def points_of(votes: Votes, scores: Scores, dataset: str, study: str) -> list[dict[str, Any]]:
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


def stored_panel(folder: Path, names: Mapping[str, str]) -> Panel:
    """Return the curves in a dataset's folder of these codec variants; `UsageError` for none."""
    try:
        panel = preference_panel(pl.read_parquet(folder / FILE).to_dicts(), names)
    except (OSError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"{folder / FILE} has no scores of people's choices: `bench study read` writes it"
        ) from error
    if not panel.curves:
        raise UsageError(f"the study in {folder / FILE} shows none of these codecs at a rate")
    return panel


def preference_panel(
    points: Sequence[Mapping[str, Any]], names: Mapping[str, str], measured: bool = True
) -> Panel:
    """Return the curves of rows that have a rate. names: by label; measured: not published."""
    curves = []
    for label, name in names.items():
        own = [row for row in points if row["codec"] == label and row["bpp"]]
        made = tuple(
            CurvePoint(
                row["bpp"], row[PREFERENCE.column], row["level"],
                "measured" if measured else "author_csv", row["images"], row["protocol"], CODING,
                f"study {row['study']}",
                interval=None if row["low"] is None else Interval(row["low"], row["high"]),
            )
            for row in sorted(own, key=lambda row: row["bpp"])
        )  # fmt: skip
        system = System(name, label, published=() if measured else ((name, ""),))
        edition = Edition(label, label, "", "", "", (), ()) if measured else None
        curves += [SystemCurve(system, made, edition)] if made else []
    return Panel(PREFERENCE, tuple(curves))
