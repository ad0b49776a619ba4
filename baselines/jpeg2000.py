"""JPEG 2000 codestreams (9/7 wavelet) through imagecodecs' OpenJPEG."""

from baselines.formats.imagecodecs_wheel import describe_part, require_imagecodecs
from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import BadOption, CorruptStream

START_OF_TILE_PART, COMMENT = b"\xff\x90", b"\xff\x64"  # ISO/IEC 15444-1, table A.2


class JPEG2000:
    """JPEG 2000 controlled by PSNR (dB), the only rate control of imagecodecs; no options.

    One tile, one layer, at most six resolutions, RPCL order, precincts of 256 x 256, irreversible
    colour transform, no chroma subsampling.
    """

    name = "jpeg2000"
    sweep = tuple(Setting("psnr", value) for value in (22, 25, 28, 31, 34, 37, 40, 43))

    def __init__(self) -> None:
        require_imagecodecs("jpeg2000", "JPEG2K")

    def describe(self) -> CodecInfo:
        """Return the versions of OpenJPEG and imagecodecs; fingerprint their files."""
        return describe_part(
            "jpeg2k",
            ("libopenjp2",),
            command="imagecodecs.jpeg2k_encode(level={psnr}, codecformat='j2k', reversible=False, "
            "mct=True, resolutions=6, planar=False, numthreads=1), comment removed",
            licence="BSD-2-Clause",
            timed="one call in this process, removal of the comment included",
            chroma="4:4:4",
            tuned_for="PSNR",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a bare codestream; `BadOption` unless psnr is from 1 to 100 dB."""
        from imagecodecs import jpeg2k_encode

        # imagecodecs takes levels below 1 for lossless
        if setting.name != "psnr" or not 1 <= setting.value <= 100:
            raise BadOption(f"jpeg2000 takes a psnr from 1 to 100, not {setting}")
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
