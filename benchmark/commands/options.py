"""Options that several commands share, with their help texts, panels and completion."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark import registry
from benchmark.commands.completion import (
    complete_codecs,
    complete_dataset,
    complete_metrics,
    complete_stored,
)
from benchmark.commands.refusals import stored_folder, target_file, target_folder

# Panels of every verb's help, in their order on the terminal.
MEASURED = "What to measure"
COMPARED = "What to compare"
EXPORTED = "What to export"
TRAINED = "What to train"
CODED = "What to code"
ORIGIN = "Where from"
MANNER = "How"
DRAWING = "How to draw"
TARGET = "Where to"
PANELS = (COMPARED, MEASURED, EXPORTED, TRAINED, CODED, ORIGIN, MANNER, DRAWING, TARGET)

_METRICS = "Comma-separated metrics, each a name or path.py:Class, or 'all'."
_STORED = "A dataset that has results, or 'all' of them."
_KEPT = "Comma-separated codecs to keep, or 'all' that have results."
_RESULTS = "Folder of results."

# What to measure

Codecs = Annotated[
    str,
    typer.Option(
        help="Comma-separated codecs, each name[:key=value]... or path.py:Class; "
        "'all' are those that can run on this machine.",
        rich_help_panel=MEASURED,
        autocompletion=complete_codecs,
    ),
]
SkipMissing = Annotated[
    bool,
    typer.Option(
        "--skip-missing",
        help="Leave out the codecs that cannot run on this machine, with their reasons; the others "
        "run.",
        rich_help_panel=MEASURED,
    ),
]
DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="A dataset by name, a folder of images, or path.py:function.",
        rich_help_panel=MEASURED,
        autocompletion=complete_dataset,
    ),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        help="Settings to measure, else a codec's default ones: jpeg.quality=10,30 (repeatable).",
        rich_help_panel=MEASURED,
    ),
]
Metrics = Annotated[
    str,
    typer.Option(help=_METRICS, rich_help_panel=MEASURED, autocompletion=complete_metrics),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Only the first N images of the dataset.", rich_help_panel=MEASURED),
]
Draws = Annotated[
    int | None,
    typer.Option(min=2, help="Draw N times where a decoder draws.", rich_help_panel=MEASURED),
]
Flatten = Annotated[
    bool,
    typer.Option(
        "--flatten",
        help="Accept images with alpha (blended with white) or in CMYK.",
        rich_help_panel=MEASURED,
    ),
]
USUAL_METRICS = ",".join(registry.USUAL_METRICS)

# What to compare

StoredDataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="A dataset that has results.",
        rich_help_panel=COMPARED,
        autocompletion=complete_stored,
    ),
]
StoredDatasets = Annotated[
    str,
    typer.Option(
        "--dataset", help=_STORED, rich_help_panel=COMPARED, autocompletion=complete_stored
    ),
]
StoredCodecs = Annotated[
    str,
    typer.Option("--codecs", help=_KEPT, rich_help_panel=COMPARED, autocompletion=complete_codecs),
]
ComparedMetrics = Annotated[
    str,
    typer.Option(
        "--metrics", help=_METRICS, rich_help_panel=COMPARED, autocompletion=complete_metrics
    ),
]
Attribute = Annotated[
    str,
    typer.Option(
        help="A metric, to list the images that influence it most at each setting.",
        rich_help_panel=COMPARED,
        autocompletion=complete_metrics,
    ),
]
VerifiedOnly = Annotated[
    bool,
    typer.Option(
        "--verified-only",
        help="Only rows that an independent decode has verified (`bench run --verify`).",
        rich_help_panel=COMPARED,
    ),
]

# What to export

ExportedCodecs = Annotated[
    str,
    typer.Option("--codecs", help=_KEPT, rich_help_panel=EXPORTED, autocompletion=complete_codecs),
]
ExportedDataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="A dataset that has results.",
        rich_help_panel=EXPORTED,
        autocompletion=complete_stored,
    ),
]

# Where from

Results = Annotated[
    Path,
    typer.Option("--results", help=_RESULTS, rich_help_panel=ORIGIN, callback=stored_folder),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder that holds datasets (kodak/kodim01.png ...), searched first; then those that "
        "$BENCH_DATA names and the user's cache.",
        rich_help_panel=ORIGIN,
    ),
]
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder searched for weight files first; then $BENCH_WEIGHTS and torch's cache.",
        rich_help_panel=ORIGIN,
    ),
]
VtmDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of VTM's programs; default: $VTM_DIR, else the PATH.", rich_help_panel=ORIGIN
    ),
]
Packs = Annotated[
    list[Path] | None,
    typer.Option(
        "--pack",
        help="A pack, folder or tar, whose streams are used instead of encoding (repeatable).",
        rich_help_panel=ORIGIN,
    ),
]
Checkpoint = Annotated[
    str,
    typer.Option(
        help="A checkpoint of our codec; default: ours.safetensors in the weights folder, else "
        "the bundled one.",
        rich_help_panel=ORIGIN,
    ),
]

# How

AllowFew = Annotated[
    bool,
    typer.Option(
        "--allow-few",
        help="Compute FID and KID of fewer than 50 images too, marked as such.",
        rich_help_panel=MANNER,
    ),
]
Timing = Annotated[
    bool,
    typer.Option(
        "--timing",
        help="Measure one cell at a time, so that its seconds are comparable.",
        rich_help_panel=MANNER,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Cells to run at the same time; default: one per core, fewer for lack of memory.",
        rich_help_panel=MANNER,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0.1,
        metavar="SECONDS",
        help="Give a cell up as failed when encoding, decoding or scoring its image takes longer; "
        "default: never, since VTM takes hours.",
        rich_help_panel=MANNER,
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="local: this machine; ray: the nodes of a Ray cluster.",
        rich_help_panel=MANNER,
    ),
]
Address = Annotated[
    str,
    typer.Option(
        help="Address of the Ray cluster, HOST:PORT; auto: the cluster of this machine.",
        rich_help_panel=MANNER,
    ),
]
GpusPerWorker = Annotated[
    float,
    typer.Option(
        min=0.01,
        help="With Ray, GPUs per worker of a GPU codec; 0.5: two share one.",
        rich_help_panel=MANNER,
    ),
]
Nodes = Annotated[
    int | None,
    typer.Option(min=1, help="Also simulate a Ray cluster of N nodes.", rich_help_panel=MANNER),
]
WorkersPerNode = Annotated[
    int,
    typer.Option(min=1, help="Cells to run at the same time on each node.", rich_help_panel=MANNER),
]
DeviceName = Annotated[
    str,
    typer.Option(
        "--device",
        help="Device for neural networks: auto, cpu or cuda.",
        rich_help_panel=MANNER,
    ),
]

# How to draw

StyleName = Annotated[
    str,
    typer.Option(
        "--style",
        help="Style of the figures: usual, or another of the table.",
        rich_help_panel=DRAWING,
    ),
]
Font = Annotated[
    str,
    typer.Option(
        "--font",
        help="Typeface of the figures: sans, or serif as LaTeX's Times.",
        rich_help_panel=DRAWING,
    ),
]
USUAL_PAGE_IMAGES = "14MB"
PageImages = Annotated[
    str,
    typer.Option(
        help="Decoded images in the page: files of a total size (14MB), those of a number of "
        "photographs (2), or 'all'.",
        rich_help_panel=DRAWING,
    ),
]

# Where to

ResultsTarget = Annotated[
    Path,
    typer.Option("--results", help=_RESULTS, rich_help_panel=TARGET, callback=target_folder),
]
Page = Annotated[
    bool | None,
    typer.Option(
        "--page/--no-page",
        help="Also write page.html, where each point of a curve opens its images; default: where "
        "the report's folder has a page, which then is written again.",
        show_default=False,
        rich_help_panel=TARGET,
    ),
]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Also write the table to this csv file, at full precision.",
        rich_help_panel=TARGET,
        callback=target_file,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print every sentence that is summed up in one line for each kind.",
        rich_help_panel=TARGET,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the summary as JSON and nothing else.", rich_help_panel=TARGET
    ),
]
