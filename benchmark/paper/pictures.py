"""The paper's figures that show pictures: kept streams decoded again, a photograph distorted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.errors import BenchError, StoreError, Unavailable, UsageError
from benchmark.paper.plates import Made, Paper

if TYPE_CHECKING:
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.codec import Pixels
    from benchmark.datasets.source import Source
    from benchmark.figures.pictures import Tile
    from benchmark.packs.contents import DatasetContents
    from benchmark.paper.crop import Window
    from benchmark.paper.recorded import Recorded

METRICS = ("psnr", "ms_ssim", "lpips")
CROP_PX = 160
MOST_CROPS, CROPS_A_ROW = 6, 4  # the photograph and its own crop come first
FAVOURITES = ("kodim", "motorcycle")  # how names of photographs begin that are cropped first
DISTORTED, DISTORTED_PSNR_DB = "astronaut.png", 24.0
RECORDED = Path("paper", "distortions.csv")  # in the results: the figure's csv, drawn elsewhere
BPP = "Rate (bpp)"


class Wanted(NamedTuple):
    """What the crops are to show; nothing given is chosen here."""

    photograph: str  # dataset/image
    window: tuple[int, int, int] | None  # left, top, side
    bpp: float | None


class Crop(NamedTuple):
    """A codec's row and what its stream decodes to."""

    name: str
    row: Mapping[str, Any]
    pixels: "Pixels"


def crops(paper: Paper, wanted: Wanted) -> Made:
    """One part of a photograph, as codecs have it at about one rate."""
    from benchmark.analysis.systems import titled
    from benchmark.figures.pictures import draw_pictures
    from benchmark.paper.crop import FARTHEST, matched_rate, nearest

    found = _photograph(paper, wanted.photograph)
    if isinstance(found, str):
        return Made(None, (f"no crops: {found}",))
    dataset, source, rows = found
    bpp = wanted.bpp or matched_rate(
        {name: [row["bpp"] for row in of_codec] for name, of_codec in rows.items()}
    )
    chosen, far = nearest(rows, bpp)
    kept, failed = _decoded(paper.evidence(dataset), chosen)
    said = [f"crops lack {name}: {why}" for name, why in failed.items()]
    if far:
        said.append(
            f"crops lack {', '.join(far)}: no setting within a factor of {FARTHEST:g} of "
            f"{bpp:.3g} bpp"
        )
    if len(kept) < 2:
        return Made(None, ("no crops: fewer than two codecs can be decoded", *said))
    original = _pixels(source)
    window = _window(original, wanted.window)
    shown = kept[:MOST_CROPS]
    if len(kept) > len(shown):
        names = ", ".join(one.name for one in kept[MOST_CROPS:])
        said.append(f"crops leave out for want of room: {names}")
    caption = _crops_caption(titled(dataset), source.file.name, window, bpp, shown)
    tiles = _crop_tiles(original, window, shown, source.file.name)
    return Made(draw_pictures(tiles, min(CROPS_A_ROW, len(tiles)), caption), tuple(said))


def distortions(paper: Paper) -> Made:
    """A photograph changed in three ways by one mean squared error, and what metrics say of it.

    A metric whose weights are not here comes from RECORDED, of the same pixels by the same rules.
    """
    from benchmark.datasets.image import read_image
    from benchmark.datasets.sample import open_sample
    from benchmark.figures.pictures import Tile, draw_pictures
    from benchmark.measure.extract import HashedImage
    from benchmark.measure.score import Scorer
    from benchmark.paper.distortion import equal_distortions, squared_error
    from benchmark.system.digest import pixels_sha256

    try:
        files = {one.name: one.path for one in open_sample().images}
    except Unavailable as missing:
        return Made(None, (f"no distortions: {missing}",))
    photograph = read_image(files[DISTORTED]).pixels
    scorer, measures = Scorer(tuple(METRICS), "cpu"), _measures()
    known = _recorded(paper.results / RECORDED, [one.column for one in measures])
    elsewhere: dict[str, None] = {}
    tiles = [Tile("Source", photograph, {}, {})]
    reasons: dict[str, str] = {}
    for name, pixels in equal_distortions(photograph, DISTORTED_PSNR_DB):
        digest = pixels_sha256(pixels)
        changed = HashedImage(digest, pixels)
        columns = scorer.score(HashedImage(DISTORTED, photograph), changed, tuple(METRICS)).columns
        for one in measures:
            key = digest, one.column, columns[f"{one.column}_protocol"]
            if columns[one.column] is None and key in known:
                columns[one.column] = known[key]
                elsewhere[one.label] = None
        values = {one.label: columns[one.column] for one in measures}
        reasons |= {
            one.label: columns[f"{one.column}_reason"]
            for one in measures
            if columns[one.column] is None
        }
        record = {
            "distortion": name,
            "photograph": f"sample/{DISTORTED}",
            "squared_error": squared_error(photograph, pixels),
            "samples": photograph.size,
            "pixels_sha256": digest,
            **{one.column: columns[one.column] for one in measures},
            **{f"{one.column}_protocol": columns[f"{one.column}_protocol"] for one in measures},
        }
        tiles.append(Tile(name, pixels, values, record))
    mse = tiles[1].record["squared_error"] / photograph.size
    rules = ", ".join(tiles[1].record[f"{one.column}_protocol"] for one in measures)
    caption = (
        f"One photograph (sample/{DISTORTED}, 1 image), changed in three ways by exactly the same "
        f"mean squared error, {mse:.2f}, and so of one PSNR. Contrast is taken away towards each "
        f"channel's mean, the blur is Gaussian, the noise white. Measured (protocols {rules}). "
        "LPIPS: lower is better."
    )
    if elsewhere:
        caption += f" {', '.join(elsewhere)}: recorded, of the same pixels."
    said = tuple(f"distortions have no {label}: {why}" for label, why in reasons.items())
    caption += "".join(f"\nNo {label}: {why}." for label, why in reasons.items())
    return Made(draw_pictures(tiles, len(tiles), caption), said)


def _recorded(path: Path, columns: Sequence[str]) -> "Recorded":
    from benchmark.paper.recorded import recorded_values

    try:
        return recorded_values(path.read_text(encoding="utf-8"), columns)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _measures() -> "list[Measure]":
    from benchmark.analysis.rate_distortion import Measure

    return [Measure.named(name) for name in METRICS]


def _photograph(
    paper: Paper, asked: str
) -> "tuple[str, Source, dict[str, list[Mapping[str, Any]]]] | str":
    """Dataset, source and rows by codec of the photograph asked for, or of the best one.

    The best one has streams of most codecs, in the first dataset that has one with two codecs.
    """
    dataset, _, image = asked.partition("/")
    reasons = []
    for name in [dataset] if asked else paper.datasets():
        by_image = _rows(paper, name)
        if asked and image not in by_image:
            raise UsageError(f"--photograph {asked}: {paper.results} has no kept stream of it")
        several = {one: rows for one, rows in by_image.items() if len(rows) > 1}
        if not asked and not several:
            reasons.append(f"{name} has no photograph with kept streams of two codecs")
            continue
        sources = _sources(paper, name)
        if isinstance(sources, str):
            reasons.append(sources)
            continue
        candidates = {one: rows for one, rows in by_image.items() if one in sources}
        if asked:
            candidates = {image: candidates[image]} if image in candidates else {}
        if candidates:
            best = min(candidates, key=lambda one: (-len(candidates[one]), _rank(one), one))
            return name, sources[best], candidates[best]
        reasons.append(f"the photographs of {name} are not those that were measured")
    reasons.append("`./run_all.sh` measures some") if not asked else None
    return "; ".join(reasons)


def _rank(image: str) -> int:
    starts = [image.rpartition("/")[2].startswith(one) for one in FAVOURITES]
    return starts.index(True) if any(starts) else len(FAVOURITES)


def _rows(paper: Paper, dataset: str) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """By image and codec, rows with a stream at hand, the paper's systems first."""
    from benchmark.analysis.comparable import label_of
    from benchmark.analysis.systems import measured_names
    from benchmark.registry import CODECS

    evidence = paper.evidence(dataset)
    names = measured_names()
    order = [*names, *CODECS]
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    newest: dict[tuple[str, str], str] = {}
    rows = [
        row
        for row in evidence.table.to_pylist()
        if row["status"] == "ok" and row["stream_sha256"] and row["codec"] != "raw"
    ]
    rows.sort(key=lambda row: (row["run"], row["finished_utc"] or ""))
    for row in rows:  # one program a codec: that of its latest row
        newest[row["codec"], row["variant"]] = row["fingerprint"]
    labels = {key: label_of(*key) for key in newest}
    place = {
        label: order.index(label) if label in order else
        order.index(codec) if codec in order else len(order)
        for (codec, _), label in labels.items()
    }  # fmt: skip
    rows.sort(key=lambda row: (place[labels[row["codec"], row["variant"]]], row["variant"]))
    for row in rows:
        key = row["codec"], row["variant"]
        if newest[key] == row["fingerprint"] and evidence.has_stream(row):
            name = names.get(labels[key], labels[key])
            found.setdefault(row["image"], {}).setdefault(name, []).append(row)
    return found


def _sources(paper: Paper, dataset: str) -> "dict[str, Source] | str":
    """The photographs that are at hand and are those that rows are of, by name."""
    from benchmark.plan.matrix import open_sources
    from benchmark.plan.request import Request
    from benchmark.registry import DATASETS

    if dataset not in DATASETS:
        return f"{dataset} is a folder that no name leads back to"
    try:
        opened = open_sources(Request(dataset=dataset, data_dir=paper.data_dir))
    except Unavailable as missing:
        return str(missing)
    measured = set(paper.evidence(dataset).table["image_sha256"].to_pylist())
    return {one.file.name: one for one in opened.images if one.sha256 in measured}


def _decoded(
    evidence: "DatasetContents", chosen: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Crop], dict[str, str]]:
    """What streams decode to, and why others do not, by name."""
    from benchmark.measure.engine.local import pin_pools
    from benchmark.measure.execute import Failed
    from benchmark.measure.reconstruct import reconstruct
    from benchmark.registry import CodecSpec, load_codec

    pin_pools()  # as in a run's workers: sums of floats, and so pixels, depend on the threads
    kept, failed = [], {}
    for name, row in chosen.items():
        try:
            decoder = load_codec(CodecSpec.of(row["codec"], row["variant"]))
            pixels = reconstruct(decoder, row, evidence.stream(row))
        except BenchError as error:
            failed[name] = str(error)
            continue
        if isinstance(pixels, Failed):
            failed[name] = pixels.reason
        else:
            kept.append(Crop(name, row, pixels))
    return kept, failed


def _pixels(source: "Source") -> "Pixels":
    from benchmark.datasets.image import read_image

    return read_image(source.file.path).pixels


def _window(pixels: "Pixels", asked: tuple[int, int, int] | None) -> "Window":
    from benchmark.paper.crop import Window, busiest

    if asked is None:
        return busiest(pixels, CROP_PX)
    window = Window(*asked)
    height, width, _ = pixels.shape
    if window.left + window.side > width or window.top + window.side > height:
        raise UsageError(
            f"--window {','.join(map(str, asked))} is not inside a picture of {width} x {height}"
        )
    return window


def _crop_tiles(
    original: "Pixels", window: "Window", kept: Sequence[Crop], image: str
) -> "list[Tile]":
    from benchmark.figures.pictures import Tile

    tiles = [
        Tile("Photograph", original, {}, {}, (window.left, window.top, window.side)),
        Tile("Source", window.of(original), {}, {}),
    ]
    for one in kept:
        values = {BPP: one.row["bpp"], **{m.label: one.row[m.column] for m in _measures()}}
        record = {
            "system": one.name,
            "codec": one.row["codec"],
            "variant": one.row["variant"],
            "setting": f"{one.row['setting_name']}={one.row['setting_value']:g}",
            "image": image,
            "left": window.left,
            "top": window.top,
            "side": window.side,
            "bpp": one.row["bpp"],
            **{m.column: one.row[m.column] for m in _measures()},
            **{f"{m.column}_protocol": one.row[f"{m.column}_protocol"] for m in _measures()},
            "recorded": bool(one.row["recorded"]),
            "version": one.row["codec_version"],
            "caveat": one.row["caveat"],
            "stream_sha256": one.row["stream_sha256"],
        }
        caveats = (one.row["caveat"],) if one.row["caveat"] else ()
        tiles.append(Tile(one.name, window.of(one.pixels), values, record, None, caveats))
    return tiles


def _crops_caption(
    dataset: str, image: str, window: "Window", bpp: float, kept: Sequence[Crop]
) -> str:
    sources = "; ".join(
        f"{one.name}: {one.row['codec_version']} at {one.row['setting_name']}="
        f"{one.row['setting_value']:g}"
        + ", recorded elsewhere" * bool(one.row["recorded"])
        + (f", {one.row['caveat']}" if one.row["caveat"] else "")
        for one in kept
    )
    rules = dict.fromkeys(
        one.row[f"{measure.column}_protocol"] for one in kept for measure in _measures()
    )
    told = ", ".join(filter(None, ["coding/1", *rules]))
    return (
        f"{window.side} x {window.side} pixels at ({window.left}, {window.top}) of {image} "
        f"({dataset}, 1 image), decoded from real streams. Each codec is at its setting nearest to "
        f"{bpp:.3f} bpp; rate and metrics under a crop are of the whole photograph "
        f"(protocols {told}).\nMeasured: {sources}."
    )
