"""VVC intra pictures: the reference software VTM encodes, ffmpeg decodes.

VTM's stream is unchanged. It does not state matrix and range: this adapter always uses BT.709, full
range, 4:4:4 and the configuration `encoder_intra_vtm.cfg`. The encoder pads sides to multiples of
8, and writes a conformance window, to which the decoder crops them.
"""

from functools import cached_property
from pathlib import Path

from baselines.formats import ffmpeg, ycbcr
from baselines.formats.external import query_version, run_encoder
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted, require_options
from benchmark.errors import CorruptStream, Unavailable
from benchmark.system import programs
from benchmark.system.atomic import private_folder
from benchmark.system.digest import files_sha256
from benchmark.system.settings import program_folders

REMEDY = "build VTM, and set $VTM_DIR to its folder, or use vvenc, which needs no program"
CONFIGURATION = "encoder_intra_vtm.cfg"
COMMAND = (
    "{program} -i {source} -c {configuration} -q {qp} -o /dev/null -b {stream} -wdt {width} "
    "-hgt {height} -fr 1 -f 1 --InputChromaFormat=444 --InputBitDepth={depth} "
    "--ConformanceWindowMode=1"
)
INTERNAL_DEPTH = 10  # bits of coded samples, set by the configuration for any input
# On an old core the lowest QP takes some 250 s per megapixel; after 3600 s it is taken to hang.
SECONDS_PER_MEGAPIXEL = 3600
MIN_TIMEOUT_SECONDS = 600


class VTM:
    """VVC by VTM, always coded with 10 bits; option: depth, 8 (default) or 10 bits of the input.

    With 8, decoded samples are rounded to 8-bit YCbCr before RGB: PSNR is at most about 53 dB.
    """

    name = "vtm"
    sweep = tuple(Setting("qp", value) for value in (47, 42, 37, 32, 27, 22))
    accepts = Between("qp", 0, 63, whole=True)

    def __init__(self, *, depth: int = 8):
        require_options(self.name, depth=(depth, (8, 10)))
        self._layout = ffmpeg.PictureFormat(depth, 444)
        self._decoder = ffmpeg.find_ffmpeg("decoding vvc", decoder="vvc")

    def describe(self) -> CodecInfo:
        """Return versions of VTM and decoder, and a fingerprint of encoder and configuration."""
        release = query_version(
            self._encoder, "--help", rb"VTM Encoder Version (\S+)", "VTM", REMEDY
        )
        return CodecInfo(
            version=f"VTM {release}, decoded by {ffmpeg.ffmpeg_version(self._decoder)}",
            command=self.command_text(),
            licence="BSD-3-Clause",
            fingerprint=files_sha256([self._encoder, _find_configuration(self._encoder)]),
            timed="program start, colour conversion in numpy, samples through files; ffmpeg's "
            "decoder",
            chroma=self._layout.chroma,
            tuned_for="PSNR",
        )

    def command_text(self) -> str:
        """Return the command lines in a form that is the same on every machine."""
        files = {"program": "EncoderAppStatic", "source": "IN.yuv", "stream": "OUT.vvc"}
        placeholders = {name: f"{{{name}}}" for name in ("qp", "width", "height")}
        command = self._command(**files, **placeholders, configuration=CONFIGURATION)
        return f"{' '.join(command)}; {self._layout}; decoded by ffmpeg's native VVC decoder"

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return VTM's stream of an intra picture; `BadOption` unless qp is whole, 0 to 63."""
        require_accepted(self, setting)
        height, width, _ = pixels.shape
        with private_folder() as folder:
            source, stream = folder / "in.yuv", folder / "out.vvc"
            planes = ycbcr.rgb_to_ycbcr(pixels, self._layout.depth)
            source.write_bytes(ffmpeg.raw_samples(planes, self._layout.depth))
            command = self._command(
                program=self._encoder, configuration=_find_configuration(self._encoder),
                source=source, stream=stream, qp=f"{setting.value:g}", width=width, height=height,
            )  # fmt: skip
            limit = max(MIN_TIMEOUT_SECONDS, SECONDS_PER_MEGAPIXEL * height * width / 1e6)
            return run_encoder(command, stream, (height, width), limit)

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless there is one picture."""
        if not data:
            raise CorruptStream("the stream is empty")
        picture = ffmpeg.read_y4m(ffmpeg.decode_to_y4m(self._decoder, "vvc", data))
        if picture.depth != INTERNAL_DEPTH or len({plane.shape for plane in picture.planes}) > 1:
            raise CorruptStream(f"the stream is not {INTERNAL_DEPTH}-bit 4:4:4")
        if self._layout.depth == 8:
            return ycbcr.ycbcr_to_rgb(ycbcr.reduce_to_8_bits(picture.planes), 8)
        return ycbcr.ycbcr_to_rgb(picture.planes, INTERNAL_DEPTH)

    @cached_property
    def _encoder(self) -> Path:
        return programs.find_program("EncoderAppStatic", REMEDY, program_folders("VTM_DIR"))

    def _command(self, **values: object) -> list[str]:
        return [word.format(**values, depth=self._layout.depth) for word in COMMAND.split()]


def _find_configuration(program: Path) -> Path:
    real_path = program.resolve()
    for folder in (real_path.parent, real_path.parent / "cfg", real_path.parent.parent / "cfg"):
        if (folder / CONFIGURATION).is_file():
            return folder / CONFIGURATION
    raise Unavailable(
        f"{real_path} has no {CONFIGURATION} next to it or in ../cfg: copy that file from VTM's "
        "sources next to the program"
    )
