"""JPEG 2000 codestreams (9/7 wavelet) through the OpenJPEG of Pillow or of imagecodecs."""

from dataclasses import replace
from io import BytesIO

from baselines.formats.imagecodecs_wheel import describe_part, part_files, require_imagecodecs
from baselines.formats.pillow_jpeg import pillow_files, pillow_version
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import BadOption, CorruptStream, Unavailable
from benchmark.facts import Facts, Memory, Typical
from benchmark.system.digest import files_sha256

SWEEPS = {
    control: tuple(Setting(control, value) for value in values)
    for control, values in (
        ("ratio", (240, 144, 96, 64, 48, 32, 20, 12)),  # .1 to 2 bpp
        ("psnr", (22, 25, 28, 31, 34, 37, 40, 43)),
    )
}
# imagecodecs takes levels below 1 for lossless
RANGES = {"ratio": Between("ratio", 1, 2400), "psnr": Between("psnr", 1, 100)}
MOST_RESOLUTIONS = 6  # opj_compress's number of resolutions
START_OF_TILE_PART, COMMENT = b"\xff\x90", b"\xff\x64"  # ISO/IEC 15444-1, table A.2


class JPEG2000:
    """Option: control, by which OpenJPEG chooses what to keep, "ratio" (default) or "psnr".

    ratio: 24 bits per pixel divided by the stream's. Encoded by Pillow; the stream is that of
    `opj_compress -r RATIO -I`: one tile, one layer, six resolutions (fewer under 32 px).
    psnr: dB, the only control of imagecodecs: RPCL order, precincts of 256 x 256.
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
        """Return the versions of OpenJPEG and of its wrappers; fingerprint their files."""
        part = describe_part(
            "jpeg2k",
            ("libopenjp2",),
            command="imagecodecs.jpeg2k_encode(level={psnr}, codecformat='j2k', reversible=False, "
            "mct=True, resolutions=6, planar=False, numthreads=1), comment removed",
            licence="BSD-2-Clause",
            timed="one call in this process, removal of the comment included",
            chroma="4:4:4",
            tuned_for="PSNR",
        )
        if self._control == "psnr":
            return part
        return replace(
            part,
            version=f"openjpeg {_pillows_openjpeg()}, {pillow_version()}, "
            f"decoded by {part.version}",
            command="PIL.Image.save(format='JPEG2000', no_jp2=True, quality_mode='rates', "
            "quality_layers=[{ratio}], irreversible=True, mct=1, num_resolutions=6): "
            "opj_compress -r {ratio} -I, comment removed",
            fingerprint=files_sha256(
                [*pillow_files("libopenjp2"), *part_files("jpeg2k", ("libopenjp2",))]
            ),
            revision=2,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a bare codestream; a ratio is from 1 to 2400, a psnr from 1 to 100 dB.

        `Unavailable` where a ratio is asked for and Pillow was built without OpenJPEG.
        """
        require_accepted(self, setting)
        if self._control == "ratio":
            return _without_comments(_encode_at_ratio(pixels, setting.value))
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


def _pillows_openjpeg() -> str:
    """Return the version of OpenJPEG in Pillow, or raise `Unavailable`."""
    from PIL import features

    if result := features.version("jpg_2000"):
        return result
    raise Unavailable(
        "this Pillow was built without OpenJPEG, which jpeg2000 calls for a ratio: install Pillow "
        "as a wheel, or use jpeg2000:control=psnr"
    )


def _encode_at_ratio(pixels: Pixels, ratio: float) -> bytes:
    from PIL import Image

    _pillows_openjpeg()
    stream = BytesIO()
    Image.fromarray(pixels).save(
        stream,
        "JPEG2000",
        no_jp2=True,
        quality_mode="rates",
        quality_layers=[ratio],
        irreversible=True,
        mct=1,
        num_resolutions=min(MOST_RESOLUTIONS, min(pixels.shape[:2]).bit_length()),
    )
    return stream.getvalue()


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
