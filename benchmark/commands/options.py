"""Options that several commands share, with their help texts."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark import registry

Codecs = Annotated[
    str,
    typer.Option(
        help="Comma-separated codecs, each name[:key=value]... or path.py:Class; "
        "'all' are those that can run on this machine.",
        show_default=True,
    ),
]
DatasetName = Annotated[
    str, typer.Option("--dataset", help="A dataset by name, or a folder of images.")
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        help="Settings to measure, else a codec's default ones: jpeg.quality=10,30,50 (repeatable)."
    ),
]
Metrics = Annotated[str, typer.Option(help="Comma-separated metrics, or 'all'.")]
AllowFew = Annotated[
    bool,
    typer.Option(
        "--allow-few", help="Compute FID and KID of fewer than 50 images too, marked as such."
    ),
]
Attribute = Annotated[
    str, typer.Option(help="A metric, to list the images that influence it most at each setting.")
]
USUAL_METRICS = ",".join(registry.USUAL_METRICS)
Results = Annotated[Path, typer.Option(help="Folder of results.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder that holds datasets (kodak/kodim01.png ...), searched first; then those that "
        "$BENCH_DATA names and the user's cache."
    ),
]
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder searched for weight files first; then $BENCH_WEIGHTS and torch's cache."
    ),
]
VtmDir = Annotated[
    Path | None,
    typer.Option(help="Folder of VTM's programs; default: $VTM_DIR, else the PATH."),
]
Packs = Annotated[
    list[Path] | None,
    typer.Option(
        "--pack",
        help="A pack, folder or tar, whose streams are used instead of encoding (repeatable).",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N images of the dataset.")]
Flatten = Annotated[
    bool,
    typer.Option("--flatten", help="Accept images with alpha (blended with white) or in CMYK."),
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Cells to run at the same time; default: one per core.")
]
EngineName = Annotated[
    str, typer.Option("--engine", help="local: this machine; ray: the nodes of a Ray cluster.")
]
Address = Annotated[
    str,
    typer.Option(help="Address of the Ray cluster, HOST:PORT; auto: the cluster of this machine."),
]
GpusPerWorker = Annotated[
    float,
    typer.Option(min=0.01, help="With Ray, GPUs per worker of a GPU codec; 0.5: two share one."),
]
Nodes = Annotated[int | None, typer.Option(min=1, help="Also simulate a Ray cluster of N nodes.")]
WorkersPerNode = Annotated[
    int, typer.Option(min=1, help="Cells to run at the same time on each node.")
]
DeviceName = Annotated[
    str, typer.Option("--device", help="Device for neural networks: auto, cpu or cuda.")
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Say everything that is summed up in one line for each kind."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Allow codecs that are programs or Python files named by the rows or the pack.",
    ),
]
VerifiedOnly = Annotated[
    bool,
    typer.Option(
        "--verified-only",
        help="Only rows that an independent decode has verified (`bench run --verify`).",
    ),
]
Checkpoint = Annotated[
    str,
    typer.Option(
        help="A checkpoint of our codec; default: ours.safetensors in the weights folder, else "
        "the bundled one."
    ),
]
StyleName = Annotated[
    str,
    typer.Option("--style", help="Style of the figures: usual, or another of the table."),
]
Font = Annotated[
    str, typer.Option("--font", help="Typeface of the figures: sans, or serif as LaTeX's Times.")
]
Page = Annotated[
    bool | None,
    typer.Option(
        "--page/--no-page",
        help="Also write page.html, where each point of a curve opens its images; default: where "
        "the report's folder has a page, which then is written again.",
        show_default=False,
    ),
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder to write the report to, with a folder for each dataset where --dataset is "
        "'all'; default: RESULTS/DATASET/report. An earlier report there is replaced.",
    ),
]
USUAL_PAGE_IMAGES = "4"
PageImages = Annotated[
    str,
    typer.Option(help="Number of photographs whose decoded images the page shows, or 'all'."),
]
