"""Options that several commands share, with their help texts."""

from pathlib import Path
from typing import Annotated

import typer

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
USUAL_METRICS = "psnr,psnr_y,ms_ssim,lpips"  # of `bench run`
Results = Annotated[Path, typer.Option(help="Folder of results.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder that holds datasets; then $BENCH_DATA and the user's cache."),
]
WeightsDir = Annotated[
    Path | None,
    typer.Option(help="Folder that holds weight files; then $BENCH_WEIGHTS and torch's cache."),
]
VTM_VARIABLE = "VTM_DIR"
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
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the summary as json, and nothing else.")
]
Checkpoint = Annotated[
    str,
    typer.Option(help="A checkpoint of our codec; default: ours.safetensors where weights are."),
]
