"""Published human ratings of codecs as votes: CID22, JPEG AIC-3, the pairs of CLIC.

Their files are csv, known by their header:

CID22   reference_img, encoder, setting, bpp, Elo, ...: a mean over all raters, so that a pair of an
        image's pictures is one vote, split as their Elo scores predict
AIC-3   worker, img_num, img_left, img_right, response, is_trap, ...: the side that is more
        distorted; "notsure" is a tie. Boosted and plain comparisons are files of their own
CLIC    no header: original, picture, picture, and 0 or 1 for the one that was preferred. A picture
        is of the codec that its folder names; rows with the original on a side are checks of raters
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmark.compare.study.form import Stimulus
from benchmark.compare.study.votes import TIE, Votes
from benchmark.errors import UsageError
from benchmark.system.foreign_files import BadFile, read_regular
from benchmark.system.text import Sheet, parse_csv, parse_sheet

MOST_BYTES = 1 << 28
ELO = 400.0  # points that are odds of ten to one
Shown = tuple[str, str, float | None]  # codec, level, bit per pixel
AIC3 = {"left": 0.0, "right": 1.0, "notsure": TIE}  # the left picture's share, by response


Rating = tuple[str, str, Shown, Shown, float]  # rater, image, first, second, share of the first


def read_ratings(path: Path) -> Votes:
    """Return the votes in a file of published ratings; raises `UsageError` for any other file."""
    try:
        content = read_regular(path, MOST_BYTES)
        first = content[:4096].partition(b"\n")[0].decode("utf-8-sig").strip().split(",")
        if {"img_left", "img_right", "response"} <= {*first}:
            ratings = [*_aic3(parse_sheet(content))]
        elif {"reference_img", "encoder", "Elo"} <= {*first}:
            ratings = [*_cid22(parse_sheet(content))]
        else:
            ratings = [*_clic([line.cells for line in parse_csv(content)])]
    except (OSError, BadFile, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} is no csv of ratings as CID22, AIC-3 or CLIC have them: {error}"
        ) from error
    if not ratings:
        raise UsageError(f"{path} has no answer that compares two decoded pictures")
    rates: dict[tuple[str, str], list[float]] = {}
    for system, level, bpp in (shown for of in ratings for shown in of[2:4]):
        rates.setdefault((system, level), []).extend([] if bpp is None else [bpp])
    raters = {name: n for n, name in enumerate(dict.fromkeys(of[0] for of in ratings))}
    images = {name: n for n, name in enumerate(dict.fromkeys(of[1] for of in ratings))}
    stimuli = {name: n for n, name in enumerate(rates)}
    rows = [
        (raters[rater], images[image], stimuli[first[:2]], stimuli[second[:2]], won)
        for rater, image, first, second, won in ratings
    ]
    shown = [Stimulus(*key, float(np.mean(of)) if of else None) for key, of in rates.items()]
    return Votes.of_rows(shown, raters, images, rows)


def _cid22(sheet: Sheet) -> Iterator[Rating]:
    by_image: dict[str, list[tuple[Shown, float]]] = {}
    for row in sheet.records():
        if row["encoder"] != "Reference":
            shown = row["encoder"], row["setting"], float(row["bpp"])
            by_image.setdefault(row["reference_img"], []).append((shown, float(row["Elo"])))
    for image, of in by_image.items():
        for (first, elo), (second, other) in combinations(of, 2):
            yield "all", image, first, second, 1 / (1 + 10 ** ((other - elo) / ELO))


def _aic3(sheet: Sheet) -> Iterator[Rating]:
    for row in sheet.records():
        left, right = (_named(row[side]) for side in ("img_left", "img_right"))
        if row["is_trap"] == "0" and row["response"] in AIC3 and left != right:
            yield row["worker"], row["img_num"], left, right, AIC3[row["response"]]


def _named(file: str) -> Shown:
    """Return what a file of AIC-3 is of: "BTC_00002_JPEG-AI_02.png" of JPEG-AI at level 02."""
    *_, codec, level = Path(file).stem.split("_")
    return codec, level, None


def _clic(rows: Iterable[list[str]]) -> Iterator[Rating]:
    for cells in rows:
        if len(cells) != 4 or cells[3] not in {"0", "1"}:
            raise BadFile(f"a line has {len(cells)} cells, the last of them {cells[-1]!r}")
        original, first, second, answer = cells
        if original not in {first, second} and first != second:
            left, right = ((Path(n).parent.name or Path(n).stem, "", None) for n in (first, second))
            yield "all", original, left, right, float(answer == "0")
