"""Curves whose difference from a reference has a known cause, made by coding pictures.

How often `bench explain` names the right one, over PNG files of a folder and five codecs:
PYTHONPATH=tests python -m support.review.causes path/to/kodak
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmark.metrics.psnr import psnr
from benchmark.review.explain.curve_rules import Images, Reference, colour_errors, to_rgb
from benchmark.review.explain.explain import explain

CODECS = {  # Pillow's options, and the qualities of a curve
    "jpeg": ("JPEG", {"optimize": True}, (15, 30, 45, 60, 75, 88)),
    "jpeg444": ("JPEG", {"subsampling": 0}, (15, 30, 45, 60, 75, 88)),
    "webp": ("WEBP", {"method": 2}, (5, 20, 40, 60, 75, 90)),
    "avif": ("AVIF", {"speed": 9, "subsampling": "4:4:4"}, (30, 42, 54, 64, 74, 84)),
    "avif420": ("AVIF", {"speed": 9}, (30, 42, 54, 64, 74, 84)),
}
OTHERS = {"jpeg": "webp", "jpeg444": "avif", "webp": "jpeg444", "avif": "jpeg", "avif420": "webp"}
SEEDS = 3  # of noise: none and all points; printed to .01 dB without one; the same without two
HEADER_BPP, BORDER_PX = 0.005, 16
TO_709, TO_601 = to_rgb("709"), to_rgb("601")
LUMA = (0.299, 0.587, 0.114)


class Case(NamedTuple):
    """A curve, and the causes that may be named for it; none for one that is not known."""

    rates: np.ndarray
    decibels: np.ndarray
    causes: tuple[str, ...]


def coded(picture, codec, quality):
    """Return the bits of a picture, and the decoded pixels."""
    kind, options, _ = CODECS[codec]
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, kind, quality=quality, **options)
    return 8 * stream.tell(), np.asarray(Image.open(stream).convert("RGB"))


def rounded(picture):
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def halved(pixels):
    """Return a picture after 4:2:0 in 8 bits by Pillow's resampling."""
    luma, *chroma = Image.fromarray(pixels).convert("YCbCr").split()
    half = luma.width // 2, luma.height // 2
    box, line = Image.Resampling.BOX, Image.Resampling.BILINEAR
    small = [plane.resize(half, box).resize(luma.size, line) for plane in chroma]
    return np.asarray(Image.merge("YCbCr", (luma, *small)).convert("RGB"))


def limited(pixels):
    """Return a picture of full range that is shown as one of limited range."""
    ycc = pixels @ np.linalg.inv(TO_709).T
    wide = np.concatenate([(ycc[..., :1] - 16) * 255 / 219, ycc[..., 1:] * 255 / 224], axis=2)
    return wide @ TO_709.T


def truncated(pixels):
    """Return a picture that is truncated on its way to Y'CbCr of 8 bits and back."""
    return np.floor(np.floor(pixels @ np.linalg.inv(TO_709).T) @ TO_709.T)


MISTAKES = {  # of a decoder: what it shows, and the causes that say so
    "4:2:0 of the decoded picture": (halved, ("chroma_420", "conversion")),
    "Y'CbCr truncated": (truncated, ("conversion",)),
    "BT.709 shown as BT.601": (
        lambda x: x @ np.linalg.inv(TO_709).T @ TO_601.T, ("matrix_601", "conversion")
    ),
    "full range shown as limited": (limited, ("range_expanded", "conversion")),
    "samples a level off": (lambda x: x.astype(float) + 1, ("conversion",)),
}  # fmt: skip


def values_of(picture, codec, quality):
    """Return bits and PSNR (dB) of a picture, by the name of what was measured."""
    bits, pixels = coded(picture, codec, quality)
    error = picture.astype(float) - pixels
    planes = [10 * np.log10(255**2 / np.mean(e**2)) for e in
              np.moveaxis(error @ np.linalg.inv(TO_601).T, 2, 0)]  # fmt: skip
    shifted = psnr(np.ascontiguousarray(picture[:, 1:]), np.ascontiguousarray(pixels[:, :-1]))
    inner = picture[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    inner_bits, inner_pixels = coded(inner, codec, quality)
    half = np.asarray(Image.fromarray(picture).reduce(2))
    half_bits, half_pixels = coded(half, codec, quality)
    luma = 10 * np.log10(255**2 / np.mean((error @ LUMA) ** 2))
    return {
        "bits": bits, "psnr": psnr(picture, pixels), "luma": luma,
        "6:1:1": (6 * planes[0] + planes[1] + planes[2]) / 8, "shifted": shifted,
        "inner": psnr(np.ascontiguousarray(inner), inner_pixels),
        "inner bpp": 3 * inner_bits / inner.size, "half bpp": 3 * half_bits / half.size,
        "half": psnr(half, half_pixels),
        **{name: psnr(picture, rounded(show(pixels))) for name, (show, _) in MISTAKES.items()},
    }  # fmt: skip


def measured(pictures, codec):
    """Return arrays of shape (settings, pictures) by the name of what was measured."""
    made = [[values_of(p, codec, quality) for p in pictures] for quality in CODECS[codec][2]]
    return {name: np.array([[of[name] for of in row] for row in made]) for name in made[0][0]}


def reference_of(values, pictures, colours=True):
    """Return the curve of a codec as `explain` has it from stored rows."""
    pixels = np.array([float(p.shape[0] * p.shape[1]) for p in pictures])
    errors = [colour_errors(p) for p in pictures] if colours else []
    images = Images(
        values["bits"] / pixels,
        values["psnr"],
        pixels,
        tuple(f"{n}.png" for n in range(len(pictures))),
        np.array([p.shape[1] > p.shape[0] for p in pictures]),
        {"psnr_y_db": values["luma"], "psnr_ycbcr_db": values["6:1:1"]},
        {rule: np.array([of[rule] for of in errors]) for rule in errors[0]} if colours else {},
    )
    return Reference("psnr", images.bpp.mean(axis=1), images.values.mean(axis=1), images)


def cases(values, reference, other):
    """Return a curve for each cause, by what was done.

    other: bits per pixel and dB of another codec, each of shape (settings,).
    """
    images = reference.images
    bpp, decibels, pixels = images.bpp, images.values, images.pixels
    rates, means = bpp.mean(axis=1), decibels.mean(axis=1)
    count, at = len(pixels), np.arange(len(pixels))
    squares = (255**2 / 10 ** (decibels / 10)).mean(axis=1)
    first, one = 5 * count // 8, count // 3

    def of(mask):
        return bpp[:, mask].mean(axis=1), decibels[:, mask].mean(axis=1)

    return {
        "nothing": Case(rates, means, ("same",)),
        "dB of the mean error": Case(rates, 10 * np.log10(255**2 / squares), ("mean_error",)),
        "PSNR of luma": Case(rates, values["luma"].mean(axis=1), ("column:psnr_y_db",)),
        "PSNR of Y'CbCr, 6:1:1": Case(rates, values["6:1:1"].mean(1), ("column:psnr_ycbcr_db",)),
        "the first five eighths": Case(*of(at < first), (f"subset:first {first} images",)),
        "one picture left out": Case(*of(at != one), (f"subset:without {one}.png",)),
        "estimated bits, -1.8 %": Case(rates * 0.982, means, ("version",)),
        "another version, +3 %": Case(rates * 1.03, means, ("version",)),
        "pictures cropped": Case(values["inner bpp"].mean(1), values["inner"].mean(1), ("pixels",)),
        "wrong number of pixels": Case(rates * 8 / 7, means, ("pixels",)),
        "bytes for bits": Case(rates / 8, means, ("bytes",)),
        "bits per sample": Case(rates / 3, means, ("samples",)),
        "headers left out": Case(rates - HEADER_BPP, means, ("header_left_out",)),
        "a container more": Case(rates + HEADER_BPP, means, ("container",)),
        **{name: Case(rates, values[name].mean(1), named) for name, (_, named) in MISTAKES.items()},
        "pictures a pixel off": Case(rates, values["shifted"].mean(axis=1), ()),
        "half the resolution": Case(values["half bpp"].mean(1), values["half"].mean(1), ()),
        "another codec": Case(*other, ()),
    }


def noisy(case, seed):
    """Return the points of a case as a paper prints them."""
    random = np.random.default_rng(seed)
    kept = np.sort(random.permutation(len(case.rates))[: len(case.rates) - seed])
    if not seed:
        return case.rates, case.decibels
    decibels = case.decibels[kept] + random.normal(0, 0.005, len(kept))
    return case.rates[kept].round(5 - seed), decibels.round(2)


def verdicts(pictures: Sequence[np.ndarray], colours=True) -> Iterator[tuple[str, str, str]]:
    """Yield what was done, the codec and "right", "wrong" or "undecided", for each seed.

    Where the cause is not known, it is right to name none.
    """
    values = {codec: measured(pictures, codec) for codec in CODECS}
    references = {codec: reference_of(of, pictures, colours) for codec, of in values.items()}
    for codec, other in OTHERS.items():
        theirs = references[other].bpp, references[other].decibels
        for name, case in cases(values[codec], references[codec], theirs).items():
            for seed in range(SEEDS):
                named = {v.cause for v in explain(references[codec], *noisy(case, seed)).named}
                right = bool(named & {*case.causes}) if case.causes else not named
                other_than_named = "wrong" if named - {"same"} else "undecided"
                yield name, codec, "right" if right else other_than_named


def main(folder: Path) -> None:
    """Print a line for each cause, and one for all; curves are of eight pictures each."""
    paths = sorted(folder.glob("*.png"))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for eight in (paths[first : first + 8] for first in range(0, len(paths), 8)):
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in eight]
        for cause, _, verdict in verdicts(pictures):
            counts[cause][verdict] += 1
    counts["all"] = sum(counts.values(), Counter())
    states = ("right", "undecided", "wrong")
    print(f"| what was done | {' | '.join(states)} |\n|---|--:|--:|--:|")
    for cause, of in counts.items():
        print(f"| {cause} | {' | '.join(str(of[state]) for state in states)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
