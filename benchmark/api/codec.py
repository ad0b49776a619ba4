"""Codecs called with arrays and bytes, decoded pixels of stored results, `bench run` as a call."""

from collections.abc import Mapping, Sequence
from contextvars import copy_context
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.codec import Codec, CodecInfo, Pixels, Setting
from benchmark.errors import CorruptStream, Unavailable, UnknownName, UsageError
from benchmark.measure.request import Request
from benchmark.option import flat
from benchmark.spec import CodecSpec, load_codec, parse_codec
from benchmark.system.settings import isolated, use_device, use_weights_folder

if TYPE_CHECKING:
    from benchmark.measure.record import Outcome, ShowsProgress


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
        """Version, command, licence and fingerprint of the encoder."""
        return self._context.copy().run(self._encoder.describe)

    def encode(
        self,
        pixels: Pixels,
        setting: Setting | float | Mapping[str, float] | None = None,
        **named: float,
    ) -> bytes:
        """Return the whole stream of an image.

        pixels: uint8 of shape (height, width, 3), sRGB. setting: a `Setting`, or its value, or by
        name as in ``encode(pixels, quality=50)``, also in a mapping; by default the middle one of
        `settings`. Raises
        `UsageError` for other pixels or another name, and the codec's own errors.
        """
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise UsageError(
                f"an image is uint8 of shape (height, width, 3), not {pixels.dtype} of shape "
                f"{pixels.shape}"
            )
        chosen = self._setting(setting, named)
        return self._context.copy().run(self._encoder.encode, np.ascontiguousarray(pixels), chosen)

    def decode(self, data: bytes) -> Pixels:
        """Return the image of a stream, uint8 of shape (height, width, 3)."""
        return self._context.copy().run(self._decoder.decode, data)

    def __repr__(self) -> str:
        values = ", ".join(str(setting) for setting in self.settings)
        return f"<codec {self.name}: {values}>"

    def _setting(
        self, setting: Setting | float | Mapping[str, float] | None, named: Mapping[str, float]
    ) -> Setting:
        if isinstance(setting, Mapping):
            return self._setting(None, {**setting, **named})
        for value in (*named.values(), 0 if setting is None else setting):
            if not isinstance(value, Setting | Real):
                raise UsageError(
                    f"{value!r} is no setting of {self.name}: give a number, or encode(pixels, "
                    f"{self.settings[0].name}={self.settings[0].value:g})"
                )
        if named and (setting is not None or len(named) > 1):
            raise UsageError("a stream has one setting: give it once")
        names = sorted({known.name for known in self.settings})
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

    name: a spec such as ``"jpeg"``, ``"ours:beta=0"`` or ``"mine.py:Mine"``. device: "auto", "cpu",
    "cuda" or a card, "cuda:1", of learned codecs. weights_dir: the folder to search first for
    weight files. Raises `UnknownName`, `BadOption` or, where a program, weight file or card is
    missing, `Unavailable`.

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


@isolated
def decoded(
    source: str | Path,
    codec: str,
    image: str,
    *,
    device: str = "auto",
    weights_dir: str | Path | None = None,
    **setting: float,
) -> Pixels:
    """Return the pixels that were scored, decoded from a kept stream or from a pack's.

    Their sha256 is the row's ``decoded_sha256``; uint8 of shape (height, width, 3), sRGB. Raises
    `UsageError` if no row is meant, or several are; `Unavailable` if the stream was not kept, or
    this machine lacks what decodes it; `CorruptStream` if the stream is damaged or decodes to other
    pixels.

    Parameters
    ----------
    source : path
        The folder of one dataset, ``results/kodak``.
    codec : str
        Codec variant with results: its name in `summary`, or its spec. A program or Python file
        runs only if the whole spec is given.
    image : str
        Name of the image, with or without its file's suffix.
    device, weights_dir
        As in `open_codec`.
    **setting : float
        The setting by its name, ``quality=30``; none for a codec with results at one setting.
    """
    from benchmark.measure.cells import Failed
    from benchmark.measure.pictures import ABSENT, pictures_of
    from benchmark.rows.edition import label_of
    from benchmark.show.report.exported_pictures import choose_pictures

    use_weights_folder(None if weights_dir is None else Path(weights_dir))
    chosen_device = use_device(device)
    folder = Path(source)
    if not (folder / "per_image").is_dir():
        raise UsageError(f"{folder} holds no rows of one dataset: name a folder as results/kodak")
    pictures = pictures_of(folder.parent, folder.name, codec)
    points = tuple(f"{codec}.{name}={value:.17g}" for name, value in setting.items())
    rows, absent = choose_pictures(pictures, folder.name, codec, images=[image], points=points)
    if not rows:
        whys = "; ".join(of.why for of in absent)
        raise Unavailable(f"{codec} of {image} cannot be decoded: {whys}")
    if len(rows) > 1:
        known = ", ".join(
            f"{label_of(CodecSpec.of_row(row))} "
            f"{Setting(row['setting_name'], row['setting_value'])}"
            for row in rows
        )
        raise UsageError(f"{codec} of {image} has several pictures: {known}; name one of them")
    result = pictures.decoded(rows, chosen_device, 1)
    (pixels,) = (done[1] for done in result if done is not None)
    if isinstance(pixels, Failed):
        kind = Unavailable if pixels.stage == ABSENT else CorruptStream
        raise kind(f"{codec} of {image} cannot be decoded: {pixels.reason}")
    return pixels


@flat
def run(
    codecs: str | Sequence[str],
    dataset: str | Path = "sample",
    *,
    request: Request,
    progress: "ShowsProgress | None" = None,
) -> "Outcome":
    """Measure codecs on the images of a dataset, as `bench run` does; finished cells are skipped.

    A cell is one image coded by one codec at one setting. Rows and streams are stored below
    `results`, where `bench report` and every other command find them. Raises `UsageError` for an
    unknown codec, dataset, metric or setting, and `Unavailable` if one that was named is not on
    this machine, before anything is measured. After `KeyboardInterrupt` the same call resumes.

    Parameters
    ----------
    {parameters}
    progress : callable, optional
        Shows how far the run is: `benchmark.commands.output.show_progress`, which writes to
        standard error, or any function like it.

    Returns
    -------
    Outcome
        ``failures``, ``skipped`` and ``refused`` with reasons, and the stored rows of the cells
        that were asked for (``rows``, a polars frame); of a ``target``, what was ``reached``.
        `load` makes a data frame of it.
    """
    from benchmark.measure.loop import run as measure
    from benchmark.measure.record import silent

    progress = progress or silent
    request, *others = request.of_each_dataset()
    if others:
        raise UsageError(f"{dataset} names several datasets: call this function for each")
    if request.target:
        from benchmark.compare.target import run_to_target

        return run_to_target(request, progress=progress)
    return measure(request, progress=progress)
