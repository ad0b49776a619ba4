"""Python functions that call codecs with arrays, decode stored results, and measure codecs."""

from collections.abc import Mapping, Sequence
from contextvars import copy_context
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.codec import Codec, CodecInfo, Pixels, Setting
from benchmark.errors import CorruptStream, Unavailable, UnknownName, UsageError
from benchmark.measure.request import Request
from benchmark.option import flatten
from benchmark.spec import SEED, CodecSpec, load_codec, parse_codec
from benchmark.system.settings import isolated, use_device, use_weights_folder

if TYPE_CHECKING:
    from benchmark.measure.record import Outcome, ProgressFactory


class BoundCodec:
    """Codec for calls from Python; separate instances encode and decode."""

    def __init__(self, name: str) -> None:
        spec = parse_codec(name)
        self.name: str = spec.label
        self._encoder: Codec = load_codec(spec)
        self._decoder: Codec = load_codec(spec)
        self._context = copy_context()  # has the device and folders of `open_codec`

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The codec's default settings, lowest rate first: ``Setting("quality", 5.0)``, ..."""
        return self._encoder.sweep

    @property
    def info(self) -> CodecInfo:
        """Version, command, licence and fingerprint of the encoder."""
        return self._context.copy().run(self._encoder.describe)

    def encode(
        self,
        pixels: Pixels,
        setting: Setting | float | Mapping[str, float] | None = None,
        **named_settings: float,
    ) -> bytes:
        """Encode an sRGB image, uint8 of shape (height, width, 3).

        setting: a `Setting`, a value, or a value by name, as in ``encode(pixels, quality=50)`` or a
        mapping; default: the middle of `settings`. Raises `UsageError`, and the codec's errors.
        """
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise UsageError(
                f"an image must be uint8 of shape (height, width, 3), not {pixels.dtype} of shape "
                f"{pixels.shape}"
            )
        setting_to_code = self._resolve_setting(setting, named_settings)
        return self._context.copy().run(
            self._encoder.encode, np.ascontiguousarray(pixels), setting_to_code
        )

    def decode(self, data: bytes) -> Pixels:
        """Decode a stream to an image, uint8 of shape (height, width, 3)."""
        return self._context.copy().run(self._decoder.decode, data)

    def __repr__(self) -> str:
        values = ", ".join(str(setting) for setting in self.settings)
        return f"<codec {self.name}: {values}>"

    def _resolve_setting(
        self,
        setting: Setting | float | Mapping[str, float] | None,
        named_settings: Mapping[str, float],
    ) -> Setting:
        if isinstance(setting, Mapping):
            return self._resolve_setting(None, {**setting, **named_settings})
        for value in (*named_settings.values(), 0 if setting is None else setting):
            if not isinstance(value, Setting | Real):
                raise UsageError(
                    f"{value!r} is not a setting of {self.name}: give a number, or encode(pixels, "
                    f"{self.settings[0].name}={self.settings[0].value:g})"
                )
        if named_settings and (setting is not None or len(named_settings) > 1):
            raise UsageError("a stream has only one setting: give one setting")
        names = sorted({default.name for default in self.settings})
        for name, value in named_settings.items():
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
    """Open a codec that encodes and decodes arrays.

    name: a spec such as ``"jpeg"``, ``"ours:beta=0"`` or ``"mine.py:Mine"``. device: "auto", "cpu",
    "cuda" or "cuda:1", for learned codecs. weights_dir: first folder to search for weight files.
    Raises `UnknownName`, `BadOption`, or `Unavailable` for a missing program, file or GPU.

    >>> jpeg = open_codec("jpeg")
    >>> jpeg.settings[0]
    Setting(name='quality', value=5)
    >>> jpeg.decode(jpeg.encode(np.full((64, 64, 3), 128, np.uint8), quality=50)).shape
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
    """Decode a stored stream to the pixels that were scored, uint8 of shape (height, width, 3).

    Their sha256 is the row's ``decoded_sha256``. Raises `UsageError` for no row or several rows,
    `Unavailable` for a missing stream or decoder, `CorruptStream` for a damaged stream.

    Parameters
    ----------
    source : path
        The folder of one dataset, ``results/kodak``.
    codec : str
        Name in `summary`, or spec; for a program or Python file, the full spec. If a decoder
        draws random numbers and no seed is given, the first seed is used.
    image : str
        Name of the image, with or without suffix.
    device, weights_dir
        As in `open_codec`.
    **setting : float
        Setting by name, ``quality=30``; optional if there are results at only one setting.
    """
    from benchmark.measure.cells import Failed
    from benchmark.measure.pictures import ABSENT, open_pictures
    from benchmark.rows.edition import label_of
    from benchmark.show.report.exported_pictures import choose_pictures

    use_weights_folder(None if weights_dir is None else Path(weights_dir))
    used_device = use_device(device)
    folder = Path(source)
    if not (folder / "per_image").is_dir():
        raise UsageError(
            f"{folder} holds no rows of a dataset: name a folder such as results/kodak"
        )
    pictures = open_pictures(folder.parent, folder.name, codec)
    points = tuple(f"{codec}.{name}={value:.17g}" for name, value in setting.items())
    rows, absences = choose_pictures(pictures, folder.name, codec, images=[image], points=points)
    if not rows:
        reasons = "; ".join(absence.why for absence in absences)
        raise Unavailable(f"{codec}'s stream of {image} cannot be decoded: {reasons}")
    if len(rows) > 1:  # use the first seed, whose spec has no seed option
        rows = [row for row in rows if SEED not in dict(CodecSpec.parse_row(row).options)] or rows
    if len(rows) > 1:
        pictures_text = ", ".join(
            f"{label_of(CodecSpec.parse_row(row))} "
            f"{Setting(row['setting_name'], row['setting_value'])}"
            for row in rows
        )
        raise UsageError(f"{codec} has several pictures of {image}: choose one of {pictures_text}")
    outcomes = pictures.decode_rows(rows, used_device, 1)
    (pixels,) = (outcome[1] for outcome in outcomes if outcome is not None)
    if isinstance(pixels, Failed):
        error_class = Unavailable if pixels.stage == ABSENT else CorruptStream
        raise error_class(f"{codec}'s stream of {image} cannot be decoded: {pixels.reason}")
    return pixels


@flatten
def run(
    codecs: str | Sequence[str],
    dataset: str | Path = "sample",
    *,
    request: Request,
    progress: "ProgressFactory | None" = None,
) -> "Outcome":
    """Measure codecs on the images of a dataset, like `bench run`; finished cells are skipped.

    Rows and streams are stored below `results`. Before measuring, raises `UsageError` for an
    unknown codec, dataset, metric or setting, and `Unavailable` for a missing one. After
    `KeyboardInterrupt` the same call resumes.

    Parameters
    ----------
    {parameters}
    progress : callable, optional
        Shows progress: `benchmark.commands.output.show_progress` (to standard error), or a similar
        function.

    Returns
    -------
    Outcome
        ``failures``, ``skipped`` and ``refused`` with reasons; ``rows``: the stored rows of the
        requested cells as a polars frame, which `load` converts; ``reached``: result for a target.
    """
    from benchmark.measure.loop import run as measure
    from benchmark.measure.record import no_progress

    progress = progress or no_progress
    request, *other_requests = request.split_datasets()
    if other_requests:
        raise UsageError(f"{dataset} names several datasets: call `run` for each dataset")
    if request.target:
        from benchmark.compare.target import run_to_target

        return run_to_target(request, progress=progress)
    return measure(request, progress=progress)
