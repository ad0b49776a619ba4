"""Options that several commands share, with their help texts."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark import registry

Codecs = Annotated[
    str,
    typer.Option(
        help="Comma-separated codecs, each name[:key=value]... or path.py:Class; "
        "'all' is everything that runs here.",
        show_default=True,
    ),
]
DatasetName = Annotated[
    str, typer.Option("--dataset", help="A dataset by name, or a folder of images.")
]
Points = Annotated[
    list[str] | None,
    typer.Option(help="Settings instead of a codec's own: jpeg.quality=10,30,50 (repeatable)."),
]
Metrics = Annotated[str, typer.Option(help="Comma-separated metrics, or 'all'.")]
AllowFew = Annotated[
    bool, typer.Option("--allow-few", help="FID and KID of fewer than 50 images, marked as such.")
]
Attribute = Annotated[
    str, typer.Option(help="A metric: also name the images that move it most at each setting.")
]
USUAL_METRICS = ",".join(registry.USUAL_METRICS)
Results = Annotated[Path, typer.Option(help="Folder of results.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder that holds datasets; then $BENCH_DATA and the user's cache."),
]
WeightsDir = Annotated[
    Path | None,
    typer.Option(help="Folder that holds weight files; then $BENCH_WEIGHTS and torch's cache."),
]
VtmDir = Annotated[
    Path | None,
    typer.Option(help="Folder of VTM's EncoderAppStatic; then $VTM_DIR and the PATH."),
]
Packs = Annotated[
    list[Path] | None,
    typer.Option(
        "--pack", help="A pack of recorded streams to take a codec's from, DIR or TAR (repeatable)."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N images of the dataset.")]
Flatten = Annotated[
    bool, typer.Option("--flatten", help="Accept images with alpha (on white) or CMYK.")
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Cells at the same time; default: one a core.")
]
EngineName = Annotated[
    str, typer.Option("--engine", help="local, or ray: the machines of a Ray cluster.")
]
Address = Annotated[
    str, typer.Option(help="Of the Ray cluster, HOST:PORT; auto: that of this machine.")
]
GpusPerWorker = Annotated[
    float, typer.Option(min=0.01, help="With Ray, GPUs for each worker of a GPU codec; 0.5 shares.")
]
Nodes = Annotated[
    int | None, typer.Option(min=1, help="Also simulate a cluster of N nodes (--engine ray).")
]
WorkersPerNode = Annotated[int, typer.Option(min=1, help="Cells at the same time on each node.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the summary as json, and nothing else.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Run programs and Python files that rows or a pack name as their codec."
    ),
]
AttestedOnly = Annotated[
    bool,
    typer.Option(
        "--verified-only",
        help="Only rows that an independent decode has verified (`bench run --verify`).",
    ),
]
Checkpoint = Annotated[
    str,
    typer.Option(help="A checkpoint of our codec; default: ours.safetensors where weights are."),
]
StyleName = Annotated[
    str,
    typer.Option("--style", help="Style of the figures: usual, serif, or another of the table."),
]
Page = Annotated[
    bool,
    typer.Option("--page", help="Also write page.html, where a point opens into pictures."),
]
USUAL_PAGE_IMAGES = "4"
PageImages = Annotated[
    str,
    typer.Option(help="Photographs whose pictures the page shows: how many, or 'all'."),
]
