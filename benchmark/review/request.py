"""Choices of `bench review` and `bench site`, which their verbs read without the rest."""

from dataclasses import dataclass
from pathlib import Path

from benchmark import option as choices
from benchmark.option import COMPARED, DRAWING, MANNER, ORIGIN, TARGET, opt, option, shared

SEED = opt(
    MANNER, "Seed that chooses the pictures encoded again; default: one drawn now, and printed."
)


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """Choices of a review."""

    dataset: str = option(
        "",
        COMPARED,
        "Dataset, or folder of images, of what was sent; default: that of its rows, else kodak.",
        completes="dataset",
    )
    claims: tuple[str, ...] = option(
        (),
        COMPARED,
        "A claim to judge: 'SYSTEM N % fewer bits than ANCHOR [in METRIC]' (repeatable).",
        "--claim",
        many="repeated",
    )
    trained_on: str = option(
        "", COMPARED, "Comma-separated metrics that the author says the system was trained on."
    )
    year: int | None = option(
        None, MANNER, "Year of the paper, which decides the anchors; default: this year."
    )
    seed: int | None = shared(None, SEED)


@dataclass(frozen=True, slots=True)
class SiteRequest:
    """Choices of a site."""

    submissions: Path | None = option(
        None, ORIGIN, "Folder of submissions: packs NAME.tar, each with an optional NAME.toml."
    )
    audits: Path | None = option(
        None,
        ORIGIN,
        "Folder of earlier audits, which are taken as they are and added to; who can write there "
        "decides what is verified. Default: every pack is decoded again.",
        refuses="folder",
    )
    anchor: str = shared("", choices.ANCHOR)
    publisher: str = option("rdrbench", DRAWING, "Publisher of the entries in citations.")
    page_images: str = shared("14MB", choices.PAGE_IMAGES)
    seed: int | None = shared(None, SEED)
    out: Path | None = option(
        None, TARGET, "Folder of the site; default: RESULTS/site.", refuses="folder"
    )
