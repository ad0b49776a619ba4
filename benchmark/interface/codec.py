"""A codec that is called directly with arrays and bytes."""

from collections.abc import Mapping
from contextvars import copy_context
from pathlib import Path

import numpy as np

from benchmark.codec import Codec, CodecInfo, Pixels, Setting
from benchmark.codec_spec import load_codec, parse_codec
from benchmark.errors import UnknownName, UsageError
from benchmark.system.settings import isolated, use_device, use_weights_folder


class BoundCodec:
    """A codec on this machine, called directly: no harness, no clock, nothing stored.

    Encoding and decoding use separate instances, so a stream is decoded from its bytes alone.
    """

    def __init__(self, name: str) -> None:
        spec = parse_codec(name)
        self.name: str = spec.label
        self._encoder: Codec = load_codec(spec)
        self._decoder: Codec = load_codec(spec)
        self._context = copy_context()  # of the device and folders that it was opened with

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The codec's own settings, lowest rate first: ``Setting("quality", 5.0)``, ..."""
        return self._encoder.sweep

    @property
    def info(self) -> CodecInfo:
        """Version, command, licence and fingerprint of what does the coding."""
        return self._context.run(self._encoder.describe)

    def encode(
        self, pixels: Pixels, setting: Setting | float | None = None, **named: float
    ) -> bytes:
        """Return the whole stream of an image.

        pixels: uint8 of shape (height, width, 3), sRGB. setting: a `Setting`, or its value, or by
        name as in ``encode(pixels, quality=50)``; by default the middle one of `settings`. Raises
        `UsageError` for other pixels or another name, and the codec's own errors.
        """
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise UsageError(
                f"an image is uint8 of shape (height, width, 3), not {pixels.dtype} of shape "
                f"{pixels.shape}"
            )
        chosen = self._setting(setting, named)
        return self._context.run(self._encoder.encode, np.ascontiguousarray(pixels), chosen)

    def decode(self, data: bytes) -> Pixels:
        """Return the image of a stream, uint8 of shape (height, width, 3)."""
        return self._context.run(self._decoder.decode, data)

    def __repr__(self) -> str:
        values = ", ".join(str(one) for one in self.settings)
        return f"<codec {self.name}: {values}>"

    def _setting(self, setting: Setting | float | None, named: Mapping[str, float]) -> Setting:
        if named and (setting is not None or len(named) > 1):
            raise UsageError("a stream has one setting: give it once")
        names = sorted({one.name for one in self.settings})
        for name, value in named.items():
            if name not in names:
                raise UnknownName(f"setting of {self.name}", name, names)
            return Setting(name, value)
        if setting is None:
            return self.settings[len(self.settings) // 2]
        return setting if isinstance(setting, Setting) else Setting(self.settings[0].name, setting)


@isolated
def open_codec(
    name: str, *, device: str = "auto", weights_dir: str | Path | None = None
) -> BoundCodec:
    """Open a codec to encode and decode arrays with.

    name: a spec such as ``"jpeg"``, ``"ours:beta=0"`` or ``"mine.py:Mine"``. device: "auto", "cpu"
    or "cuda", of learned codecs. weights_dir: the folder to search first for weight files. Raises
    `UnknownName`, `BadOption` or, where a program or weight file is missing, `Unavailable`.

    >>> grey = np.full((64, 64, 3), 128, np.uint8)
    >>> jpeg = open_codec("jpeg")
    >>> jpeg.settings[0]
    Setting(name='quality', value=5)
    >>> jpeg.decode(jpeg.encode(grey, quality=50)).shape
    (64, 64, 3)
    """
    use_device(device)
    use_weights_folder(None if weights_dir is None else Path(weights_dir))
    return BoundCodec(name)
