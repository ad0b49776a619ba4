"""Maps of the page: where each decoded picture is worse, as a grey picture of half its size.

Colours and their scale are the page's (where.js). A file is named by what it is made of: adding a
codec changes none.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import BenchError, NotMeasurable
from benchmark.measure.workers import replies
from benchmark.metrics.maps import halved, levels, map_scale, mapped_metric, reach
from benchmark.metrics.metric import Metric, lacking
from benchmark.registry import metric_named
from benchmark.show.page.content import DecodedPicture, ImageKey, SourcePicture
from benchmark.show.report.files import PICTURES
from benchmark.system.atomic import write_files
from benchmark.system.foreign_files import is_regular
from benchmark.system.machine import cores

PERCEPTUAL, LUMA = ("lpips_squeeze", "lpips"), "psnr_y"
SHARE = 0.17  # of an original's bytes, of the maps of a decoded picture


def mapped_metrics(measured: Collection[Metric]) -> list[str]:
    """Return the metrics whose maps a page has: an LPIPS, best a measured one, and luma."""
    columns = {metric.column for metric in measured}
    able = [name for name in PERCEPTUAL if name not in lacking([name])]
    able.sort(key=lambda name: metric_named(name).column not in columns)
    return [*able[:1], LUMA]


def with_maps(
    folder: Path,
    photographs: Mapping[int, SourcePicture],
    decoded: Mapping[ImageKey, DecodedPicture],
    order: Sequence[ImageKey],
    metrics: Sequence[str],
    say: Callable[[str], None],
) -> dict[ImageKey, DecodedPicture]:
    """Write the maps of the pictures of `order` that are not there yet; return pictures with maps.

    Each photograph's features are computed once, in processes of one thread each.
    """
    files: dict[ImageKey, dict[str, str]] = {}
    tasks: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for key in order:
        source, picture = photographs[key[2]].picture, decoded[key].picture
        if not (source and picture and source.endswith(".webp") and picture.endswith(".webp")):
            continue
        files[key] = {metric: _file(source, picture, metric) for metric in metrics}
        for metric, file in files[key].items():
            if not is_regular(folder / file, within=folder):
                tasks[metric, source][file] = picture
    if tasks:
        count = sum(map(len, tasks.values()))
        say(f"page: {count} maps of where pictures are worse, made by {cores()} processes")
    work = [(folder, *key, of) for key, of in tasks.items()]
    for why in replies(_serve, work, cores(), at_work="made its maps"):
        if why:
            say(f"page: maps are missing: {getattr(why, 'reason', why)}")
    result = dict(decoded)
    for key, named in files.items():
        there = {metric: file for metric, file in named.items() if (folder / file).is_file()}
        result[key] = decoded[key]._replace(
            maps={
                metric_named(metric).column: (file, _reach(folder / file, metric))
                for metric, file in there.items()
            }
        )
    return result


def _file(source: str, decoded: str, metric: str) -> str:
    of = f"{source} {decoded} {metric_named(metric).protocol} {map_scale(metric).most}"
    return f"{PICTURES}/{sha256(of.encode()).hexdigest()}.webp"


def _pixels(path: Path) -> Pixels:
    from imagecodecs import webp_decode

    return np.asarray(webp_decode(path.read_bytes()))


def _reach(path: Path, metric: str) -> float:
    return reach(_pixels(path)[..., 0], map_scale(metric))


def _serve(
    connection: Any, folder: Path, name: str, source: str, decoded: Mapping[str, str]
) -> None:
    """Write maps of decoded pictures by file; send why they are missing, empty where none is."""
    from imagecodecs import webp_encode

    try:
        metric, scale = mapped_metric(name), map_scale(name)
        prepared = metric.prepare(_pixels(folder / source))
        for file, picture in decoded.items():
            made = levels(halved(metric.error_map(prepared, _pixels(folder / picture))), scale)
            grey = np.repeat(made[..., None], 3, axis=2)
            encoded = bytes(webp_encode(grey, lossless=True, level=0, method=4))
            write_files(folder, {file: encoded}, what="page's map")
    except NotMeasurable:  # a photograph too small for the network
        connection.send("")
    except BenchError as error:
        connection.send(str(error))
    else:
        connection.send("")
