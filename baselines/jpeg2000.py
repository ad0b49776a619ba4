"""JPEG 2000 codestreams (9/7 wavelet) through the OpenJPEG that imagecodecs brings."""

from ctypes import CDLL
from dataclasses import replace

from baselines.formats.imagecodecs_wheel import (
    bundled_libraries,
    describe_part,
    require_imagecodecs,
)
from baselines.formats.openjpeg import encode_at_ratio, open_library
from benchmark.codec import (
    Between,
    CodecInfo,
    Facts,
    Memory,
    Pixels,
    Setting,
    Typical,
    require_accepted,
)
from benchmark.errors import BadOption, CorruptStream, Unavailable

SWEEPS = {
    control: tuple(Setting(control, value) for value in values)
    for control, values in (
        ("ratio", (240, 144, 96, 64, 48, 32, 20, 12)),  # .1 to 2 bpp
        ("psnr", (22, 25, 28, 31, 34, 37, 40, 43)),
    )
}
# imagecodecs takes levels below 1 for lossless
RANGES = {"ratio": Between("ratio", 1, 2400), "psnr": Between("psnr", 1, 100)}
START_OF_TILE_PART, COMMENT = b"\xff\x90", b"\xff\x64"  # ISO/IEC 15444-1, table A.2


class JPEG2000:
    """Option: control, by which OpenJPEG chooses what to keep, "ratio" (default) or "psnr".

    ratio: 24 bits per pixel divided by the stream's, so that all images have nearly one rate at one
    setting. The stream is that of `opj_compress -r RATIO -I`: one tile, one layer, six resolutions.

    psnr: dB, the only control of imagecodecs, with at most six resolutions, RPCL order, precincts
    of 256 x 256. All images have nearly one quality and rates far apart.

    Both: irreversible wavelet and colour transform, no chroma subsampling.
    """

    name = "jpeg2000"
    sweep = SWEEPS["ratio"]
    accepts = RANGES["ratio"]
    facts = Facts(
        "JPEG 2000", "standard", colour="#8C510A", marker="D", chroma="4:4:4", tuned_for="PSNR",
        memory=Memory(35, 0, torch=False),
        typical=(Typical("ratio", ((12, 0.45), (240, 0.4))),),
    )  # fmt: skip

    def __init__(self, *, control: str = "ratio") -> None:
        require_imagecodecs("jpeg2000", "JPEG2K")
        if control not in SWEEPS:
            raise BadOption(f"jpeg2000: control is {' or '.join(SWEEPS)}, not {control!r}")
        self._control = control
        self.sweep, self.accepts = SWEEPS[control], RANGES[control]

    def describe(self) -> CodecInfo:
        """Return the versions of OpenJPEG and imagecodecs; fingerprint their files."""
        by_ratio = self._control == "ratio"
        if by_ratio:
            _library()
        info = describe_part(
            "jpeg2k",
            ("libopenjp2",),
            command="OpenJPEG's opj_encode as opj_compress -r {ratio} -I calls it, comment removed"
            if by_ratio
            else "imagecodecs.jpeg2k_encode(level={psnr}, codecformat='j2k', reversible=False, "
            "mct=True, resolutions=6, planar=False, numthreads=1), comment removed",
            licence="BSD-2-Clause",
            timed="one call in this process, removal of the comment included",
            chroma="4:4:4",
            tuned_for="PSNR",
        )
        return replace(info, revision=2) if by_ratio else info

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a bare codestream; `BadOption` for a setting out of range.

        A ratio is from 1 to 2400, a psnr from 1 to 100 dB. `Unavailable` where a ratio is asked
        for and imagecodecs comes without OpenJPEG's shared library.
        """
        require_accepted(self, setting)
        if self._control == "ratio":
            return _without_comments(encode_at_ratio(_library(), pixels, setting.value))
        from imagecodecs import jpeg2k_encode

        return _without_comments(
            bytes(
                jpeg2k_encode(
                    pixels,
                    setting.value,  # type: ignore[arg-type]  # a float works; the stub says int
                    codecformat="j2k",
                    reversible=False,
                    mct=True,
                    resolutions=6,
                    planar=False,
                    numthreads=1,
                )
            )
        )

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; raises imagecodecs' `Jpeg2kError` for anything but a codestream."""
        from imagecodecs import jpeg2k_decode

        decoded: Pixels = jpeg2k_decode(data, planar=False, numthreads=1)
        return decoded

    def container_bytes(self, data: bytes) -> int:
        """Return 0: the stream is a bare codestream."""
        return 0


def _library() -> CDLL:
    """Return OpenJPEG as imagecodecs' wheel brings it, or raise `Unavailable`."""
    files = bundled_libraries("libopenjp2")
    if not files:
        raise Unavailable(
            "this imagecodecs comes without OpenJPEG's shared library, which jpeg2000 calls for a "
            "ratio: install imagecodecs as a wheel, or use jpeg2000:control=psnr"
        )
    return open_library(files[0])


def _without_comments(stream: bytes) -> bytes:
    """Remove the COM segments of the main header, where OpenJPEG signs with 39 bytes."""
    kept, start = [stream[:2]], 2
    while (marker := stream[start : start + 2]) != START_OF_TILE_PART:
        if len(marker) < 2:
            raise CorruptStream("OpenJPEG wrote a JPEG 2000 header without a tile part")
        end = start + 2 + int.from_bytes(stream[start + 2 : start + 4])
        if marker != COMMENT:
            kept.append(stream[start:end])
        start = end
    return b"".join([*kept, stream[start:]])
