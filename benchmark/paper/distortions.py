"""The paper's figure of distortions: pictures of one mean squared error that metrics tell apart."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from benchmark.datasets.image import read_image
from benchmark.datasets.sample import open_sample
from benchmark.errors import StoreError, Unavailable
from benchmark.figures.pictures import PictureTile, draw_pictures
from benchmark.measure.score import HashedImage, Scorer
from benchmark.metrics.measure import Measure
from benchmark.paper.distortion import equal_distortions, squared_error
from benchmark.paper.results import PaperFigure, PaperResults
from benchmark.system.digest import pixels_sha256

METRICS = ("psnr", "ms_ssim", "lpips")
PHOTOGRAPH, PSNR_DB = "astronaut.png", 24.0
RECORDED = Path("paper", "distortions.csv")  # in the results: the figure's csv, drawn elsewhere

RecordedValues = dict[tuple[str, str, str], float]  # by sha256 of the pixels, column and protocol


def distortions(results: PaperResults) -> PaperFigure:
    """Draw a photograph changed in three ways by one mean squared error, with its metrics.

    A metric whose weights are not here comes from RECORDED, of the same pixels by the same rules.
    """
    try:
        files = {one.name: one.path for one in open_sample().images}
    except Unavailable as missing:
        return PaperFigure(None, (f"no distortions: {missing}",))
    photograph = read_image(files[PHOTOGRAPH]).pixels
    scorer, measures = Scorer(METRICS, "cpu"), [Measure.named(name) for name in METRICS]
    known = _read(results.folder / RECORDED, [one.column for one in measures])
    tiles = [PictureTile("Source", photograph, {}, {})]
    elsewhere: dict[str, None] = {}
    reasons: dict[str, str] = {}
    for name, pixels in equal_distortions(photograph, PSNR_DB):
        digest = pixels_sha256(pixels)
        changed = HashedImage(digest, pixels)
        columns = scorer.score(HashedImage(PHOTOGRAPH, photograph), changed, METRICS).columns
        for one in measures:
            key = digest, one.column, columns[f"{one.column}_protocol"]
            if columns[one.column] is None and key in known:
                columns[one.column] = known[key]
                elsewhere[one.label] = None
            if columns[one.column] is None:
                reasons[one.label] = columns[f"{one.column}_reason"]
        record = {
            "distortion": name,
            "photograph": f"sample/{PHOTOGRAPH}",
            "squared_error": squared_error(photograph, pixels),
            "samples": photograph.size,
            "pixels_sha256": digest,
            **{one.column: columns[one.column] for one in measures},
            **{f"{one.column}_protocol": columns[f"{one.column}_protocol"] for one in measures},
        }
        tiles.append(
            PictureTile(name, pixels, {m.label: columns[m.column] for m in measures}, record)
        )
    mse = tiles[1].record["squared_error"] / photograph.size
    rules = ", ".join(tiles[1].record[f"{one.column}_protocol"] for one in measures)
    caption = (
        f"One photograph (sample/{PHOTOGRAPH}, 1 image), changed in three ways by exactly the same "
        f"mean squared error, {mse:.2f}, and so of one PSNR. Contrast is reduced towards each "
        f"channel's mean, the blur is Gaussian, the noise white. Measured (protocols {rules}). "
        "LPIPS: lower is better."
    )
    if elsewhere:
        caption += f" {', '.join(elsewhere)}: recorded, of the same pixels."
    caption += "".join(f"\nNo {label}: {why}." for label, why in reasons.items())
    said = tuple(f"distortions have no {label}: {why}" for label, why in reasons.items())
    return PaperFigure(draw_pictures(tiles, len(tiles), caption), said)


def recorded_values(text: str, columns: Sequence[str]) -> RecordedValues:
    """Return the values of the figure's csv, drawn elsewhere; fields may be empty.

    Raises `ValueError` for a column that is missing and a value that is no number.

    >>> recorded_values("pixels_sha256,psnr_db,psnr_db_protocol\\nab,24.5,psnr/1\\n", ["psnr_db"])
    {('ab', 'psnr_db', 'psnr/1'): 24.5}
    """
    found: RecordedValues = {}
    for row in csv.DictReader(StringIO(text, newline="")):
        for column in columns:
            try:
                if row[column]:
                    key = row["pixels_sha256"], column, row[f"{column}_protocol"]
                    found[key] = float(row[column])
            except KeyError as missing:
                raise ValueError(f"it has no column {missing}") from missing
    return found


def _read(path: Path, columns: Sequence[str]) -> RecordedValues:
    try:
        return recorded_values(path.read_text(encoding="utf-8"), columns)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
