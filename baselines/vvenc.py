"""VVC intra pictures: VVenC encodes, ffmpeg's own decoder decodes."""

from collections.abc import Mapping
from typing import ClassVar

from baselines.formats.ffmpeg import IntraCodec, PictureFormat, VideoCodec
from benchmark.codec import Between
from benchmark.errors import BadOption
from benchmark.facts import Facts, Typical

PRESETS = ("faster", "fast", "medium", "slow", "slower")
LAYOUT = PictureFormat(10, 420)  # the only one that libvvenc takes
# intraqpoffset: an intra picture would be coded at 3 below the QP asked for.
# bim: no QP of its own for any block. alfspeed: what an intra picture gets anyway, said silently.
PARAMETERS = (
    "verbosity=0:intraqpoffset=0:bim=0:intraperiod=1:gopsize=1:alfspeed=0:"
    "accessunitdelimiter=0:hrdparameterspresent=0:videofullrange=1"
)


class VVenC(IntraCodec):
    """Options: preset faster, fast (default), medium, slow or slower. 10-bit 4:2:0, one thread.

    The perceptual QP adaptation is off (`-qpa 0`), so that the QP is the same in every block.
    4:2:0 loses chroma detail for good: PSNR ends at about 46 dB however low the QP, 0 to 63.
    """

    name = "vvenc"
    video = VideoCodec("libvvenc", "vvc")
    accepts = Between("qp", 0, 63, whole=True)

    # preset and chroma format are in every name: they tell a fast encoder from the others
    @staticmethod
    def facts(options: Mapping[str, str]) -> Facts:
        """Return the facts of a preset."""
        return Facts(
            f"VVenC {options.get('preset', 'fast')} 4:2:0", "standard", colour="#0072B2",
            marker="o", chroma="4:2:0", tuned_for="PSNR", titled=("preset",),
            typical=(Typical("qp", ((22, 14), (32, 10), (37, 7), (42, 5.5), (47, 4))),),
        )  # fmt: skip

    banner = r"libvvenc version: (\S+)"
    licence = "BSD-3-Clause-Clear"
    conversions: ClassVar[tuple[Mapping[str, str], ...]] = ({},)

    def __init__(self, *, preset: str = "fast"):
        if preset not in PRESETS:
            raise BadOption(f"vvenc: preset is one of {', '.join(PRESETS)}, not {preset}")
        options = ["-threads", "1", "-preset", preset, "-qpa", "0", "-qp", "{qp}"]
        super().__init__(LAYOUT, [*options, "-vvenc-params", PARAMETERS])
