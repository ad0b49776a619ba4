"""The paper's figure of distortions: pictures of one mean squared error that metrics distinguish.

Wang and Bovik's example ("Mean Squared Error: Love It or Leave It?", 2009): pictures that are
equally far from the source, and do not look it. Pixels have shape (height, width, 3), uint8.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.codec import Float64Array, Pixels
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.errors import StoreError, Unavailable
from benchmark.measure.score import HashedImage, Scorer
from benchmark.metrics.measure import Measure
from benchmark.show.figures.pictures import PictureTile, draw_pictures
from benchmark.show.paper.results import PaperFigure, PaperResults
from benchmark.system.digest import pixels_sha256
from benchmark.system.text import read_sheet

METRICS = ("psnr", "ms_ssim", "lpips")
PHOTOGRAPH, PSNR_DB = "astronaut.png", 24.0
SEED = 20
STEPS = 40  # of the bisection: the strength to 12 digits
RECORDED = Path("paper", "distortions.csv")  # in the results: the figure's csv, made elsewhere


def equal_distortions(photograph: Pixels, psnr_db: float) -> dict[str, Pixels]:
    """Return less contrast, a blur, and noise, each with exactly the same sum of squared errors.

    That sum is the PSNR's, rounded up to a whole number. Raises `ValueError` where a distortion
    cannot reach it on this photograph (a flat picture cannot be blurred).
    """
    from scipy.ndimage import gaussian_filter

    wanted = int(np.ceil(255**2 * 10 ** (-psnr_db / 10) * photograph.size))
    signal = photograph.astype(np.float64)
    mean = signal.mean(axis=(0, 1))
    chance = np.random.default_rng(SEED)
    noise = chance.standard_normal(signal.shape)
    # else all samples of a level would be rounded to the next one together, and the error jump
    dither = chance.uniform(-0.5, 0.5, signal.shape)

    makers: dict[str, Callable[[float], Float64Array]] = {  # of a strength, 0..1
        "Less contrast": lambda x: signal + x * (mean - signal) + dither,
        "Blur": lambda x: gaussian_filter(signal, (20 * x, 20 * x, 0), mode="nearest"),
        "Noise": lambda x: signal + 128 * x * noise,
    }
    return {name: _of_error(photograph, make, wanted, name) for name, make in makers.items()}


def squared_error(reference: Pixels, changed: Pixels) -> int:
    """Return the sum of squared differences over all samples.

    >>> squared_error(np.uint8([[[0, 7, 7]]]), np.uint8([[[255, 7, 5]]]))
    65029
    """
    difference = reference.astype(np.int64) - changed.astype(np.int64)
    return int((difference**2).sum())


def _of_error(
    photograph: Pixels, make: Callable[[float], Float64Array], wanted: int, name: str
) -> Pixels:
    """Return the strongest distortion below the error, with the rest in steps of one level."""

    def changed(strength: float) -> Pixels:
        return np.clip(np.rint(make(strength)), 0, 255).astype(np.uint8)

    low, high = 0.0, 1.0
    if squared_error(photograph, changed(high)) < wanted:
        raise ValueError(f"{name} cannot change this photograph that much")
    for _ in range(STEPS):
        middle = (low + high) / 2
        below = squared_error(photograph, changed(middle)) <= wanted
        low, high = (middle, high) if below else (low, middle)
    flat = changed(low).ravel()
    rest = wanted - squared_error(photograph, changed(low))
    right = np.flatnonzero(flat == photograph.ravel())  # a level more or less adds one to the error
    if rest > len(right):
        raise ValueError(f"{name} cannot reach exactly this error on this photograph")
    # spread over the picture, where they cannot be seen
    chosen = right[np.linspace(0, len(right) - 1, rest).astype(int)] if rest else right[:0]
    flat[chosen] = np.where(flat[chosen] < 255, flat[chosen] + 1, 254)
    return flat.reshape(photograph.shape)


def distortions(results: PaperResults) -> PaperFigure:
    """Draw a photograph changed in three ways by one mean squared error, with its metrics.

    A metric whose weights are not here comes from RECORDED, of the same pixels by the same rules.
    """
    try:
        files = {image.name: image.path for image in open_sample().images}
    except Unavailable as missing:
        return PaperFigure(None, (f"no distortions: {missing}",))
    photograph = read_image(files[PHOTOGRAPH]).pixels
    scorer, measures = Scorer(METRICS, "cpu"), [Measure.named(name) for name in METRICS]
    recorded = _recorded(results.folder / RECORDED)
    tiles = [PictureTile("Source", photograph, {}, {})]
    elsewhere: dict[str, None] = {}
    reasons: dict[str, str] = {}
    source = HashedImage(PHOTOGRAPH, photograph)
    for name, pixels in equal_distortions(photograph, PSNR_DB).items():
        digest = pixels_sha256(pixels)
        columns = scorer.score(source, HashedImage(digest, pixels), METRICS).columns
        for column, label in ((measure.column, measure.label) for measure in measures):
            value = recorded.get((digest, column, columns[f"{column}_protocol"]))
            if columns[column] is None and value:
                columns[column] = float(value)
                elsewhere[label] = None
            elif columns[column] is None:
                reasons[label] = columns[f"{column}_reason"]
        record = {
            "distortion": name,
            "photograph": f"sample/{PHOTOGRAPH}",
            "squared_error": squared_error(photograph, pixels),
            "samples": photograph.size,
            "pixels_sha256": digest,
            **{
                measure.column + suffix: columns[measure.column + suffix]
                for suffix in ("", "_protocol")
                for measure in measures
            },
        }
        values = {measure.label: columns[measure.column] for measure in measures}
        tiles.append(PictureTile(name, pixels, values, record))
    mse = tiles[1].record["squared_error"] / photograph.size
    rules = ", ".join(tiles[1].record[f"{measure.column}_protocol"] for measure in measures)
    caption = (
        f"One photograph (sample/{PHOTOGRAPH}), changed in three ways by exactly the same mean "
        f"squared error, {mse:.2f}, and so of one PSNR. Lower LPIPS is better."
    )
    details = [
        "Contrast is reduced towards each channel's mean, the blur is Gaussian, the noise white.",
        f"Measured (protocols {rules}).",
    ]
    if elsewhere:
        details.append(f"{', '.join(elsewhere)}: recorded, of the same pixels.")
    details += (f"No {label}: {why}." for label, why in reasons.items())
    sentences = tuple(f"distortions have no {label}: {why}" for label, why in reasons.items())
    return PaperFigure(draw_pictures(tiles, len(tiles), caption, details), sentences)


def _recorded(path: Path) -> dict[tuple[str, Any, str], str]:
    """Return the values of the figure's csv by sha256 of the pixels, column and protocol."""
    columns = [Measure.named(name).column for name in METRICS]
    try:
        return {(row["pixels_sha256"], name, row[f"{name}_protocol"]): row[name]
                for row in read_sheet(path).records() for name in columns}  # fmt: skip
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read: {error!r}") from error
