"""A request for a report: every choice that `bench report` offers, with its default and help."""

from dataclasses import dataclass
from pathlib import Path

from benchmark.option import (
    ALL_ROWS,
    ALLOW_FEW,
    ANCHOR,
    ANY_OVERLAP,
    BUNDLED,
    COMPARED,
    DRAWING,
    EXPERIMENT,
    MANNER,
    ORIGIN,
    TARGET,
    VERIFIED_ONLY,
    option,
)


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Choices of a report; texts are as the command line has them."""

    results: Path = option(Path("results"), ORIGIN, "Folder of results.", refuses="stored")
    dataset: str = option(
        "all", COMPARED, "Datasets that have results, or 'all' of them.", completes="stored"
    )
    codecs: str = option("all", COMPARED, EXPERIMENT, completes="codecs")
    bundled: str = option("", COMPARED, BUNDLED, completes="codecs")
    metrics: str = option(
        "all",
        COMPARED,
        "Comma-separated metrics, each a name or path.py:Class, or 'all'.",
        completes="metrics",
    )
    attribute: str = option(
        "", COMPARED, "A metric, to list the images that influence it most.", completes="metrics"
    )
    anchor: str = option("", COMPARED, ANCHOR, completes="codecs")
    up_to_bpp: float | None = option(
        None, MANNER, "Cut curves at this rate before taking BD-rates.", least=0.001
    )
    common: bool = option(False, COMPARED, "Restrict all means to the images that every point has.")
    pooled: bool = option(False, MANNER, "Compute bpp as all bits over all pixels.")
    allow_few: bool = option(False, MANNER, ALLOW_FEW)
    verified_only: bool = option(False, COMPARED, VERIFIED_ONLY)
    all_rows: bool = option(False, COMPARED, ALL_ROWS)
    published: str = option(
        "",
        COMPARED,
        "Published systems to draw beside the curves: crdr,hific,multi-realism:beta=2.56; "
        "or 'all' (`bench list --published`); or a file with your own points, mine.csv.",
    )
    mix_protocols: bool = option(
        False, DRAWING, "Also draw published points of other protocols; the caption names them."
    )
    any_overlap: bool = option(False, MANNER, ANY_OVERLAP)
    out: Path | None = option(
        None,
        TARGET,
        "Folder to write the report to, with a folder for each dataset where --dataset is "
        "'all'; default: RESULTS/DATASET/report. An earlier report there is replaced.",
        refuses="folder",
    )
    command: str = ""  # that makes the report again, for its text
    page: bool = False  # the caller will write a page beside it
    data_dir: Path | None = None  # where datasets are sought
