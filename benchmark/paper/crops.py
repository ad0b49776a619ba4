"""The paper's figure of crops: part of a photograph as decoded by several codecs at one rate."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmark.analysis.nearest_rate import FARTHEST, nearest
from benchmark.codec import Pixels
from benchmark.datasets.dataset import profile
from benchmark.datasets.image import read_image
from benchmark.errors import UsageError
from benchmark.figures.pictures import PictureTile, draw_pictures
from benchmark.metrics.measure import Measure
from benchmark.paper.crop import CropWindow, busiest, matched_rate
from benchmark.paper.results import PaperFigure, PaperResults
from benchmark.paper.streams import DecodedStream, best_photograph, decode_streams

METRICS = ("psnr", "ms_ssim", "lpips")
CROP_PX = 160
MOST_CROPS, CROPS_PER_ROW = 6, 4  # the photograph and its own crop come first
BPP = "Rate (bpp)"


class CropRequest(NamedTuple):
    """Choices of the crops; what is not given is chosen by the rows and the photograph."""

    photograph: str = ""  # dataset/image
    window: tuple[int, int, int] | None = None  # left, top, side
    bpp: float | None = None


def crops(results: PaperResults, request: CropRequest) -> PaperFigure:
    """Draw one part of a photograph, as codecs have it at about one rate."""
    found = best_photograph(results, request.photograph)
    if isinstance(found, str):
        return PaperFigure(None, (f"no crops: {found}",))
    bpp = request.bpp or matched_rate(
        {name: [row["bpp"] for row in rows] for name, rows in found.rows.items()}
    )
    chosen, far = nearest(found.rows, bpp)
    kept, failed = decode_streams(results.contents(found.dataset), chosen)
    said = [f"crops lack {name}: {why}" for name, why in failed.items()]
    if far:
        said.append(
            f"crops lack {', '.join(far)}: no setting within a factor of {FARTHEST:g} of "
            f"{bpp:.3g} bpp"
        )
    if len(kept) < 2:
        few = "no crops: fewer than two codecs can be decoded; `bench run` keeps streams of others"
        return PaperFigure(None, (few, *said))
    shown, rest = kept[:MOST_CROPS], kept[MOST_CROPS:]
    if rest:
        said.append(f"crops omit for lack of space: {', '.join(one.name for one in rest)}")
    original = read_image(found.source.file.path).pixels
    window = _window(original, request.window)
    image, measures = found.source.file.name, [Measure.named(name) for name in METRICS]
    tiles = [
        PictureTile("Photograph", original, {}, {}, (window.left, window.top, window.side)),
        PictureTile("Source", window.of(original), {}, {}),
        *(_tile(one, window, image, measures) for one in shown),
    ]
    caption = _caption(profile(found.dataset).title, image, window, bpp, shown, measures)
    return PaperFigure(draw_pictures(tiles, min(CROPS_PER_ROW, len(tiles)), caption), tuple(said))


def _window(pixels: Pixels, asked: tuple[int, int, int] | None) -> CropWindow:
    if asked is None:
        return busiest(pixels, CROP_PX)
    window = CropWindow(*asked)
    height, width, _ = pixels.shape
    if window.left + window.side > width or window.top + window.side > height:
        raise UsageError(
            f"--window {','.join(map(str, asked))} is not inside a picture of {width} x {height}"
        )
    return window


def _tile(
    one: DecodedStream, window: CropWindow, image: str, measures: Sequence[Measure]
) -> PictureTile:
    row = one.row
    record = {
        "system": one.name,
        "codec": row["codec"],
        "variant": row["variant"],
        "setting": f"{row['setting_name']}={row['setting_value']:g}",
        "image": image,
        **window._asdict(),
        "bpp": row["bpp"],
        **{m.column: row[m.column] for m in measures},
        **{f"{m.column}_protocol": row[f"{m.column}_protocol"] for m in measures},
        "recorded": bool(row["recorded"]),
        "version": row["codec_version"],
        "caveat": row["caveat"],
        "stream_sha256": row["stream_sha256"],
    }
    values = {BPP: row["bpp"], **{m.label: row[m.column] for m in measures}}
    caveats = (row["caveat"],) if row["caveat"] else ()
    return PictureTile(one.name, window.of(one.pixels), values, record, None, caveats)


def _caption(
    dataset: str,
    image: str,
    window: CropWindow,
    bpp: float,
    kept: Sequence[DecodedStream],
    measures: Sequence[Measure],
) -> str:
    sources = "; ".join(
        f"{one.name}: {one.row['codec_version']} at {one.row['setting_name']}="
        f"{one.row['setting_value']:g}"
        + ", recorded elsewhere" * bool(one.row["recorded"])
        + (f", {one.row['caveat']}" if one.row["caveat"] else "")
        for one in kept
    )
    rules = dict.fromkeys(one.row[f"{m.column}_protocol"] for one in kept for m in measures)
    told = ", ".join(filter(None, ["coding/1", *rules]))
    return (
        f"{window.side} x {window.side} pixels at ({window.left}, {window.top}) of {image} "
        f"({dataset}, 1 image), decoded from real streams. Each codec is at its setting nearest to "
        f"{bpp:.3f} bpp; rate and metrics under a crop are of the whole photograph "
        f"(protocols {told}).\nMeasured: {sources}."
    )
