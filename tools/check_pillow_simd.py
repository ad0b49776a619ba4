"""Check that `import PIL` is pillow-simd and codes images right: exit code 0, or the reason."""

import warnings
from io import BytesIO

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

SIZE = 64
LARGEST_MEAN_ERROR = 2.0  # of 255; a smooth image at quality 90 loses about 0.4


def refuse(reason: str) -> None:
    """Exit with the reason, unless it is empty."""
    if reason:
        raise SystemExit(reason)


def through(image: Image.Image, kind: str, **options: object) -> NDArray[np.uint8]:
    """Return the pixels of an image after encoding and decoding."""
    stream = BytesIO()
    image.save(stream, kind, **options)
    with Image.open(BytesIO(stream.getvalue())) as decoded:
        return np.asarray(decoded.convert("RGB"))


def main() -> None:
    """Check the name, the libraries inside, and how they code and resize a smooth image."""
    warnings.simplefilter("error")
    refuse("" if ".post" in PIL.__version__ else f"PIL is Pillow {PIL.__version__}")
    refuse("" if features.check("zlib") else "it was built without zlib")
    refuse("" if features.check("libjpeg_turbo") else "it was built without libjpeg-turbo")

    ramp = np.arange(SIZE, dtype=np.float64) / (SIZE - 1)
    pixels = np.stack([*np.meshgrid(ramp, ramp), np.full((SIZE, SIZE), 0.5)], axis=-1)
    pixels = np.round(255 * pixels).astype(np.uint8)
    image = Image.fromarray(pixels)

    refuse("" if np.array_equal(through(image, "PNG"), pixels) else "it alters PNG images")
    for subsampling in ("4:2:0", "4:4:4"):
        decoded = through(image, "JPEG", quality=90, subsampling=subsampling)
        error = np.abs(decoded.astype(np.float64) - pixels).mean()
        refuse(f"its JPEG is off by {error:.1f}" if error > LARGEST_MEAN_ERROR else "")
    for filter_ in (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS):
        small = np.asarray(image.resize((SIZE // 2, SIZE // 2), filter_)).astype(np.float64)
        means = pixels.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean(axis=(1, 3))
        error = np.abs(small - means).mean()
        refuse(f"its resizing is off by {error:.1f}" if error > LARGEST_MEAN_ERROR else "")


if __name__ == "__main__":
    main()
