"""Pixels to a JPEG 2000 codestream (9/7 wavelet) and back, through imagecodecs' OpenJPEG."""

from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import BadOption, CorruptStream, Unavailable
from benchmark.system.digest import files_sha256
from benchmark.system.programs import package_folder

START_OF_TILE_PART, COMMENT = b"\xff\x90", b"\xff\x64"  # ISO/IEC 15444-1, table A.2


class JPEG2000:
    """Rate control by PSNR in dB, the only one that imagecodecs offers; no options.

    One tile, one layer, at most six resolutions, RPCL order, precincts of 256 x 256, irreversible
    colour transform, no chroma subsampling.
    """

    name = "jpeg2000"
    sweep = tuple(Setting("psnr", value) for value in (22, 25, 28, 31, 34, 37, 40, 43))

    def __init__(self) -> None:
        try:
            from imagecodecs import JPEG2K
        except ImportError as error:
            raise Unavailable(
                "jpeg2000 needs the Python package imagecodecs: install it"
            ) from error
        if not JPEG2K.available:
            raise Unavailable("jpeg2000 is missing from this imagecodecs: install a complete wheel")

    def describe(self) -> CodecInfo:
        """OpenJPEG and the imagecodecs around it; the fingerprint is of their compiled files."""
        import imagecodecs

        folder = package_folder("imagecodecs")
        libraries = sorted((folder.parent / "imagecodecs.libs").glob("libopenjp2*"))
        return CodecInfo(
            version=f"{imagecodecs.jpeg2k_version()}, imagecodecs {imagecodecs.__version__}",
            command="imagecodecs.jpeg2k_encode(level={psnr}, codecformat='j2k', reversible=False, "
            "mct=True, resolutions=6, planar=False, numthreads=1), comment removed",
            licence="BSD-2-Clause",
            fingerprint=files_sha256([*sorted(folder.glob("_jpeg2k.*so")), *libraries]),
            revision=1,
            timed="one call in this process, removal of the comment included",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """A bare codestream; `BadOption` unless psnr is from 1 to 100 dB."""
        from imagecodecs import jpeg2k_encode

        # imagecodecs takes levels below 1 for lossless
        if setting.name != "psnr" or not 1 <= setting.value <= 100:
            raise BadOption(f"jpeg2000 takes a psnr from 1 to 100, not {setting}")
        return _without_comments(
            bytes(
                jpeg2k_encode(
                    pixels,
                    setting.value,  # type: ignore[arg-type]  # fractions work; the stub says int
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
        """The pixels; imagecodecs' `Jpeg2kError` for anything but a whole codestream."""
        from imagecodecs import jpeg2k_decode

        decoded: Pixels = jpeg2k_decode(data, planar=False, numthreads=1)
        return decoded


def _without_comments(stream: bytes) -> bytes:
    """The codestream less the COM segments of its main header: OpenJPEG signs with 39 bytes."""
    kept, start = [stream[:2]], 2
    while (marker := stream[start : start + 2]) != START_OF_TILE_PART:
        if len(marker) < 2:
            raise CorruptStream("OpenJPEG wrote a JPEG 2000 header without a tile part")
        end = start + 2 + int.from_bytes(stream[start + 2 : start + 4])
        if marker != COMMENT:
            kept.append(stream[start:end])
        start = end
    return b"".join([*kept, stream[start:]])
