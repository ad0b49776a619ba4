# Written by tools/signatures.py
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from matplotlib.axes import Axes
from pandas import DataFrame

from benchmark.api.codec import decoded, open_codec
from benchmark.api.rows import Rows, load, missing
from benchmark.datasets.dataset import open_dataset
from benchmark.datasets.image import read_image
from benchmark.measure.record import Outcome, ProgressFactory
from benchmark.metrics.maps import error_map

__all__ = [
    "bd_rate",
    "decoded",
    "error_map",
    "load",
    "match",
    "missing",
    "open_codec",
    "open_dataset",
    "plot",
    "rank",
    "read_image",
    "run",
    "summary",
    "tradeoff",
]

Text: TypeAlias = str | float | Path | Sequence[str | float | Path]
Texts: TypeAlias = str | Collection[str | float | Path]

def run(
    codecs: Texts,
    dataset: Text = "sample",
    *,
    points: Texts = ...,
    metrics: Texts = ...,
    anchor: Text = "",
    bundled: Text = "",
    part: Text = "",
    draws: int | None = None,
    target: Text = "",
    packs: Texts = ...,
    skip_missing: bool = False,
    timing: bool = False,
    jobs: int | None = None,
    timeout_seconds: float | None = None,
    device: Text = "auto",
    engine: Text = "local",
    keep: bool = True,
    verify: bool = False,
    results: str | Path = ...,
    weights_dir: str | Path | None = None,
    limit: int | None = None,
    flatten: bool = False,
    data_dir: str | Path | None = None,
    progress: ProgressFactory | None = None,
) -> Outcome: ...
def bd_rate(
    source: Rows,
    anchor: Text,
    metric: Text = "psnr",
    *,
    bd: Literal["akima", "pchip", "cubic"] = "akima",
    up_to_bpp: float | None = None,
    any_overlap: bool = False,
    common: bool = False,
    allow_few: bool = False,
) -> DataFrame: ...
def match(
    source: Rows,
    codec: Text,
    against: Text,
    metric: Text = "psnr",
    *,
    tolerance: Text = "0.1",
    each_pair: bool = False,
    images: Texts = ...,
) -> DataFrame: ...
def plot(
    source: Rows,
    metric: str = "psnr",
    *,
    label: Texts = ...,
    colour: Texts = ...,
    order: Texts = ...,
    style: str | Path | None = None,
    font: Text = "sans",
    width: Text = "",
    format: Texts = ...,
    linear_rate: bool = False,
    values: Texts = ...,
    every_curve: bool = False,
    ax: Axes | None = None,
    codecs: str = "all",
    bundled: str = "",
    anchor: str = "",
    images: Texts = ...,
    common: bool = False,
    allow_few: bool = False,
) -> Axes: ...
def rank(
    source: Rows,
    at: Texts = ...,
    *,
    metrics: Text = "psnr,lpips_squeeze",
    codecs: Text = "all",
    bundled: Text = "",
    published: Text = "",
    anchor: Text = "",
    budget: Text = "image",
    common: bool = False,
    images: Texts = ...,
    allow_few: bool = False,
) -> DataFrame: ...
def summary(
    source: Rows,
    *,
    metrics: Text = "all",
    common: bool = False,
    average: Text = "per_image",
    allow_few: bool = False,
) -> DataFrame: ...
def tradeoff(
    source: Rows,
    codec: Text,
    against: Text,
    *,
    distortion: Text = "psnr",
    realism: Text = "fid256",
    build: Text = "",
    images: Texts = ...,
    allow_few: bool = False,
) -> DataFrame: ...
