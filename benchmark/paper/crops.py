"""The paper's figure of crops: part of a photograph as decoded by several codecs at one rate."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmark import registry
from benchmark.analysis.comparable import label_of
from benchmark.analysis.match import FARTHEST, nearest
from benchmark.analysis.systems import measured_names
from benchmark.codec import Pixels
from benchmark.codec_spec import CodecSpec
from benchmark.datasets.dataset import Source, profile
from benchmark.datasets.image import read_image
from benchmark.errors import Unavailable, UsageError
from benchmark.figures.pictures import PictureTile, draw_pictures
from benchmark.measure.reconstruct import reconstruct_all
from benchmark.metrics.measure import Measure
from benchmark.packs.contents import DatasetContents
from benchmark.paper.results import PaperFigure, PaperResults
from benchmark.plan.matrix import open_sources
from benchmark.plan.request import Request
from benchmark.protocol import CODING
from benchmark.registry import CODECS, DATASETS
from benchmark.rows.codecs import why_not_run
from benchmark.rows.editions import newest_rows

METRICS = ("psnr", "ms_ssim", "lpips")
CROP_PX, STRIDE_PX = 160, 8
MOST_CROPS, CROPS_PER_ROW = 6, 4  # the photograph and its own crop come first
BPP = "Rate (bpp)"
LEAST_BPP, MOST_BPP = 0.1, 0.6  # between which codecs look different
CLOSE = 1.12
FAVOURITES = ("kodim", "motorcycle")  # how names of photographs begin that are shown first

StreamRow = Mapping[str, Any]


class CropRequest(NamedTuple):
    """Choices of the crops; what is not given is chosen by the rows and the photograph."""

    photograph: str = ""  # dataset/image
    window: tuple[int, int, int] | None = None  # left, top, side
    bpp: float | None = None


class CropWindow(NamedTuple):
    """Square part of a picture, in pixels."""

    left: int
    top: int
    side: int

    def of(self, pixels: Pixels) -> Pixels:
        """Return that part of a picture, of shape (side, side, 3)."""
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]


class MeasuredPhotograph(NamedTuple):
    """An available photograph, and the rows with streams of it by system."""

    dataset: str
    source: Source
    rows: dict[str, list[StreamRow]]


def crops(results: PaperResults, request: CropRequest) -> PaperFigure:
    """Draw one part of a photograph, as codecs have it at about one rate."""
    found = best_photograph(results, request.photograph)
    if isinstance(found, str):
        return PaperFigure(None, (f"no crops: {found}",))
    rates = {name: [row["bpp"] for row in rows] for name, rows in found.rows.items()}
    bpp = request.bpp or matched_rate(rates)
    chosen, far = nearest(found.rows, bpp)
    contents, rows = results.contents(found.dataset), list(chosen.values())
    allowed = [row for row in rows if contents.codecs.may_run(_spec(row))]
    decoded = dict(one for one in reconstruct_all(allowed, contents, "cpu", 1) if one)
    pixels: dict[str, Pixels] = {}
    sentences = []
    for name, row in chosen.items():
        made = decoded[allowed.index(row)] if row in allowed else why_not_run(_spec(row))
        if isinstance(made, np.ndarray):
            pixels[name] = made
        else:
            sentences.append(f"crops lack {name}: {getattr(made, 'reason', made)}")
    if far:
        within = f"no setting within a factor of {FARTHEST:g} of {bpp:.3g} bpp"
        sentences.append(f"crops lack {', '.join(far)}: {within}")
    if len(pixels) < 2:
        few = "no crops: fewer than two codecs can be decoded; `bench run` keeps streams of others"
        return PaperFigure(None, (few, *sentences))
    shown, rest = list(pixels)[:MOST_CROPS], list(pixels)[MOST_CROPS:]
    sentences += [f"crops omit for lack of space: {', '.join(rest)}"] * bool(rest)
    original = read_image(found.source.file.path).pixels
    window = busiest(original, CROP_PX) if request.window is None else CropWindow(*request.window)
    if window.of(original).shape != (window.side, window.side, 3):
        size = f"{original.shape[1]} x {original.shape[0]}"
        raise UsageError(f"--window {window.left},{window.top},{window.side} is not inside {size}")
    tiles = [
        PictureTile("Photograph", original, {}, {}, (window.left, window.top, window.side)),
        PictureTile("Source", window.of(original), {}, {}),
    ]
    for name in shown:
        row, cut = chosen[name], window.of(pixels[name])
        values = {BPP: row["bpp"]}
        record = {
            "system": name,
            "codec": row["codec"],
            "variant": row["variant"],
            "setting": f"{row['setting_name']}={row['setting_value']:g}",
            "image": found.source.file.name,
            **window._asdict(),
            "bpp": row["bpp"],
            "recorded": bool(row["recorded"]),
            "version": row["codec_version"],
            "caveat": row["caveat"],
            "stream_sha256": row["stream_sha256"],
        }
        for measure in map(Measure.named, METRICS):
            values[measure.label] = row[measure.column]
            record |= {key: row[key] for key in (measure.column, f"{measure.column}_protocol")}
        caveats = (row["caveat"],) if row["caveat"] else ()
        tiles.append(PictureTile(name, cut, values, record, None, caveats))
    caption = _caption(found, bpp, [tile.record for tile in tiles[2:]])
    columns = min(CROPS_PER_ROW, len(tiles))
    return PaperFigure(draw_pictures(tiles, columns, caption), tuple(sentences))


def _spec(row: StreamRow) -> CodecSpec:
    return CodecSpec.of(row["codec"], row["variant"])


def _caption(found: MeasuredPhotograph, bpp: float, records: Sequence[StreamRow]) -> str:
    origins = []
    for one in records:
        source = f"{one['system']}: {one['version']} at {one['setting']}"
        words = [source, "recorded elsewhere" * one["recorded"], one["caveat"]]
        origins.append(", ".join(filter(None, words)))
    columns = [f"{Measure.named(name).column}_protocol" for name in METRICS]
    rules = dict.fromkeys(one[column] for one in records for column in columns)
    first, protocols = records[0], ", ".join(filter(None, [CODING, *rules]))
    return (
        f"{first['side']} x {first['side']} pixels at ({first['left']}, {first['top']}) of "
        f"{first['image']} ({profile(found.dataset).title}, 1 image), decoded from real streams. "
        f"Each codec is at its setting nearest to {bpp:.3f} bpp; rate and metrics under a crop are "
        f"of the whole photograph (protocols {protocols}).\nMeasured: {'; '.join(origins)}."
    )


def matched_rate(rates: Mapping[str, Sequence[float]]) -> float:
    """Return a rate in bpp that the settings of all codecs come near to; `rates` are by codec.

    It is the lowest from which the nearest settings differ by a factor of at most CLOSE in the
    geometric mean, since codecs differ most at low rates; else the one from which they differ
    least. Only rates of settings from LEAST_BPP to MOST_BPP are candidates, if there are any.

    >>> matched_rate({"a": [0.1, 0.2], "b": [0.19, 0.5], "c": [0.22, 1.0]})
    0.19
    """
    every = sorted({rate for of_codec in rates.values() for rate in of_codec})
    usual = [rate for rate in every if LEAST_BPP <= rate <= MOST_BPP] or every

    def spread(rate: float) -> float:
        off = [min(abs(math.log(one / rate)) for one in of_codec) for of_codec in rates.values()]
        return sum(off) / len(off)

    close = [rate for rate in usual if spread(rate) <= math.log(CLOSE)]
    return close[0] if close else min(usual, key=spread)


def busiest(pixels: Pixels, side: int) -> CropWindow:
    """Return the square with the largest sum of absolute differences of neighbouring samples.

    A picture smaller than the square gives the largest square inside it.
    """
    height, width, _ = pixels.shape
    side = min(side, height, width)
    luma = pixels.astype(np.float64).mean(axis=2)
    detail = np.zeros((height, width))
    detail[:, 1:] += np.abs(np.diff(luma, axis=1))
    detail[1:] += np.abs(np.diff(luma, axis=0))
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    best = max(
        (sums[y + side, x + side] - sums[y, x + side] - sums[y + side, x] + sums[y, x], -y, -x)
        for y in range(0, height - side + 1, STRIDE_PX)
        for x in range(0, width - side + 1, STRIDE_PX)
    )
    return CropWindow(-best[2], -best[1], side)


def rows_with_streams(contents: DatasetContents) -> dict[str, dict[str, list[StreamRow]]]:
    """Return the newest rows with an available stream by image and system, the paper's first.

    Newest are those that means are taken over: under the present protocol, and of each codec
    variant the fingerprint and adapter revision of its latest run. `raw` is left out.
    """
    table = contents.table.take(newest_rows(contents.table).index)
    names = measured_names()
    order = [*names, *CODECS]
    labelled = [(label_of(row["codec"], row["variant"]), row) for row in table.to_pylist()]

    def place(label: str, row: StreamRow) -> int:
        known = [order.index(key) for key in (label, row["codec"]) if key in order]
        return known[0] if known else len(order)

    found: dict[str, dict[str, list[StreamRow]]] = {}
    for label, row in sorted(labelled, key=lambda one: (place(*one), one[1]["variant"])):
        wanted = row["status"] == "ok" and row["stream_sha256"] and row["codec"] != registry.NULL
        if wanted and contents.has_stream(row):
            by_system = found.setdefault(row["image"], {})
            by_system.setdefault(names.get(label, label), []).append(row)
    return found


def best_photograph(results: PaperResults, asked: str) -> MeasuredPhotograph | str:
    """Return the photograph asked for ("dataset/image") or the best one, or why there is none.

    The best one has streams of most codecs, in the first dataset that has one with two codecs.
    Raises `UsageError` where the one asked for has no stream.
    """
    dataset, _, image = asked.partition("/")
    reasons = []
    for name in [dataset] if asked else results.datasets():
        by_image = rows_with_streams(results.contents(name))
        if asked:
            by_image = {image: by_image[image]} if image in by_image else {}
            if not by_image:
                raise UsageError(f"--photograph {asked}: {results.folder} has no kept stream of it")
        elif not any(len(rows) > 1 for rows in by_image.values()):
            reasons.append(f"{name} has no photograph with kept streams of two codecs")
            continue
        if name not in DATASETS:
            reasons.append(f"{name} is no dataset of the registry: its photographs are not found")
            continue
        try:
            opened = open_sources(Request(dataset=name, data_dir=results.data_dir))
        except Unavailable as missing:
            reasons.append(str(missing))
            continue
        measured = set(results.contents(name).table["image_sha256"].to_pylist())
        sources = {one.file.name: one for one in opened.images if one.sha256 in measured}
        there = [one for one in by_image if one in sources]
        if there:
            best = min(there, key=lambda one: (-len(by_image[one]), _rank(one), one))
            return MeasuredPhotograph(name, sources[best], by_image[best])
        reasons.append(f"the photographs of {name} are not those that were measured")
    return "; ".join(reasons + ["`./run_all.sh` measures some"] * (not asked))


def _rank(image: str) -> int:
    starts = [image.rpartition("/")[2].startswith(one) for one in FAVOURITES]
    return starts.index(True) if any(starts) else len(FAVOURITES)
