"""Baseline JPEG by jpegli, the encoder of the JPEG XL authors; any JPEG decoder reads it."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from baselines.formats.pillow_jpeg import JPEGDecoder, jpeg_files, jpeg_version
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import Reason, Unavailable
from benchmark.facts import Facts, Memory, Typical
from benchmark.system.digest import files_sha256


class Jpegli(JPEGDecoder):
    """JPEG, 4:2:0, sequential, with jpegli's adaptive quantisation; the package has no options.

    The stream is decoded by Pillow's libjpeg-turbo, as in a browser: on Kodak at low rates this is
    .1 dB better than jpegli's own decoder.
    """

    name = "jpegli"
    sweep = tuple(Setting("quality", value) for value in (1, 15, 35, 55, 75, 90))
    accepts = Between("quality", 1, 100, whole=True)
    facts = Facts(
        "jpegli", "standard", colour="#999933", marker="p", memory=Memory(15, 0, torch=False),
        typical=(Typical("quality", ((1, 0.03), (90, 0.04))),),
    )  # fmt: skip

    def __init__(self) -> None:
        try:
            import pyjpegli
        except ImportError as error:
            raise Unavailable(
                "jpegli needs pyjpegli: install the Python package", Reason("package", "pyjpegli")
            ) from error
        self._library = Path(pyjpegli.__file__)

    def describe(self) -> CodecInfo:
        """Return the versions of pyjpegli and the decoder; fingerprint their compiled files."""
        return CodecInfo(
            version=f"pyjpegli {version('pyjpegli')}, decoded by {jpeg_version()}",
            command="pyjpegli.encode(pixels, width, height, quality={quality}): 4:2:0, sequential",
            licence="BSD-3-Clause",
            fingerprint=files_sha256([self._library, *jpeg_files()]),
            revision=1,
            timed="one call in this process",
            chroma="4:2:0",
            tuned_for="Butteraugli",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a JPEG stream; `BadOption` unless quality is a whole number from 1 to 100."""
        from pyjpegli import encode

        require_accepted(self, setting)
        height, width, _ = pixels.shape
        packed = np.ascontiguousarray(pixels)
        return bytes(encode(packed, width, height, quality=int(setting.value)))
