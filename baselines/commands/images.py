"""`bench encode` and `bench decode`: code single images, with our codec or any other."""

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import benchmark
from benchmark.codec import bits_per_pixel
from benchmark.commands import options
from benchmark.errors import BenchError, CorruptStream, ImageRefused, Unavailable, UsageError
from benchmark.measure.request import Request
from benchmark.option import ARGUMENT, CODED, MANNER, opt, some
from benchmark.plugins import one_line
from benchmark.system.atomic import write_file
from benchmark.system.settings import use_device

if TYPE_CHECKING:
    from baselines.crdr import CRDR
    from benchmark.codec import Pixels

OURS = "ours"
Q, BETA = 2.0, 0.0  # unless others are asked for
# Beginnings of streams that are recognised: ours, and files of a standard format.
BEGINNINGS = {
    OURS: rb"C\xd2",  # baselines.neural.bitstream.container
    "jpeg": rb"\xff\xd8\xff",
    "webp": rb"RIFF.{4}WEBP",
    "jpeg2000": rb"\xff\x4f\xff\x51",  # a codestream: .j2k
    "jpegxl": rb"\xff\x0a",  # a codestream
    "avif": rb".{4}ftypavif",
    "bpg": rb"BPG\xfb",
}
MAP_HELP = (
    "A grey picture of any size, stretched over the image: black is 0, white {}; each block of "
    "64 x 64 pixels takes its mean value, rounded to 16 levels."
)
CODEC = "The codec, name[:key=value]... or path.py:Class"


def encode(
    request: Annotated[Request, some("device weights_dir flatten", device="cpu")],
    image: Annotated[Path, opt(ARGUMENT, "Image file: PNG, JPEG, WebP, TIFF or PPM.")],
    stream: Annotated[Path, opt(ARGUMENT, "Stream to write: out.crdr, out.jpg.")],
    codec: Annotated[str, opt(CODED, f"{CODEC}.", completes="codecs")] = OURS,
    point: Annotated[
        str, opt(CODED, "Setting of another codec: quality=30; default: its middle one.")
    ] = "",
    q: Annotated[
        float | None, opt(CODED, "Rate level, 0 (lowest) to 4, in steps of 1/16; default: 2.")
    ] = None,
    beta: Annotated[
        float | None, opt(CODED, "Realism weight in the header, 0 to 5.12 (default: 0).")
    ] = None,
    q_map: Annotated[Path | None, opt(CODED, MAP_HELP.format("q = 4"))] = None,
    beta_map: Annotated[Path | None, opt(CODED, MAP_HELP.format("beta = 5.12"))] = None,
    bpp: Annotated[
        float | None, opt(CODED, "Rate to reach in bits per pixel, within 1 %, instead of --q.")
    ] = None,
    psnr: Annotated[float | None, opt(CODED, "PSNR to reach in dB, instead of --q.")] = None,
    effort: Annotated[
        int | None,
        opt(CODED, "0 (default) to 3: how long to search for fewer bits at equal quality."),
    ] = None,
    search_for: Annotated[
        str | None,
        opt(CODED, "Aim of --effort: psnr (default), or realism, LPIPS at this beta as well."),
    ] = None,
    check_latents: Annotated[
        bool, opt(CODED, "Add two bytes by which a decoder detects wrong latents, on any machine.")
    ] = False,
    checkpoint: options.Checkpoint = "",
) -> None:
    """Encode an image with our codec, or with another.

    --q-map and --beta-map control our codec block by block. --q, --beta, their maps, --bpp, --psnr,
    --effort, --search-for, --check-latents and --checkpoint are for our codec, --point for others.

    Examples:
      bench encode in.png out.crdr --q 2.5 --beta 3.84
      bench encode in.png out.crdr --q-map importance.png
      bench encode in.png out.crdr --bpp 0.25 --effort 2
      bench encode in.png out.jpg --codec jpeg --point quality=30
    """
    from baselines.crdr import PSNR
    from benchmark.codec import Setting

    own = {
        "q": q, "q-map": q_map, "bpp": bpp, "psnr": psnr, "beta": beta, "beta-map": beta_map,
        "effort": effort, "search-for": search_for, "checkpoint": checkpoint or None,
        "check-latents": check_latents or None,
    }  # fmt: skip
    for choices in (("q", "q-map", "bpp", "psnr"), ("beta", "beta-map")):
        flags = [f"--{name}" for name in choices if own[name] is not None]
        if len(flags) > 1:
            raise UsageError(f"{' and '.join(flags)} exclude each other: leave one of them out")
    if codec == OURS:
        if point:
            raise UsageError(f"--point {point}: the setting of our codec is given by --q")
        targets = {name: of for name, of in (("bpp", bpp), ("psnr", psnr)) if of is not None}
        for name, value in targets.items():
            if not value > 0:
                raise UsageError(f"--{name} {value:g}: it is above 0")
        if search_for is not None and not effort:
            raise UsageError(f"--search-for {search_for}: it says what --effort 1 to 3 is for")
        search = {"effort": effort or 0, "search_for": search_for or PSNR, **targets}
        coder = _our_codec(checkpoint, request, BETA if beta is None else beta, **search)
        pixels = read_image(image, request.flatten)
        maps = {
            name: read_image(path, flatten=True) if path else None
            for name, path in (("q_map", q_map), ("beta_map", beta_map))
        }
        setting = coder.sweep[0] if targets else Setting("q", Q if q is None else q)
        at = "" if targets or q_map else f" at {setting}"
        data = coder.encode(pixels, setting, **maps)
        data = coder.checked(data) if check_latents else data
    else:
        _refuse(codec, own)
        bound = benchmark.open_codec(codec, device=request.device, weights_dir=request.weights_dir)
        pixels = read_image(image, request.flatten)
        at = f" at {point or bound.settings[len(bound.settings) // 2]}"
        try:
            data = bound.encode(pixels, **_setting(point))
        except BenchError:
            raise
        except Exception as error:  # adapters run foreign code
            raise BenchError(f"{codec} cannot encode {image}: {one_line(error)}") from error
    _write(stream, data)
    height, width, _ = pixels.shape
    print(f"{stream}: {len(data)} bytes, {bits_per_pixel(len(data), height * width):.4f} bpp{at}")


def decode(
    request: Annotated[Request, some("device weights_dir", device="cpu")],
    stream: Annotated[
        Path, opt(ARGUMENT, "The stream: of `bench encode`, or a file of its format.")
    ],
    image: Annotated[Path, opt(ARGUMENT, "PNG file to write.")],
    codec: Annotated[
        str, opt(CODED, f"{CODEC}; default: as the stream begins.", completes="codecs")
    ] = "",
    beta: Annotated[
        float | None,
        opt(CODED, "Of our codec: realism weight, 0 to 5.12, instead of the stream's."),
    ] = None,
    exact: Annotated[
        bool, opt(MANNER, "Of our codec: compute the same pixels on every machine; slower.")
    ] = False,
    checkpoint: options.Checkpoint = "",
) -> None:
    """Decode a stream of any codec to an image.

    Streams of ours, JPEG, WebP, JPEG 2000, JPEG XL, AVIF and BPG are recognised; --codec names
    others. Streams kept by `bench run` are decoded by `bench export images`.

    Examples:
      bench decode out.crdr out.png
      bench decode out.crdr out.png --beta 5.12 --exact
      bench decode stream.bin out.png --codec vtm
    """
    from PIL.Image import fromarray

    from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

    if image.suffix.lower() != ".png":
        raise UsageError(f"{image}: what is decoded becomes a PNG, so its name ends in .png")
    use_device(request.device)  # a device that is not here is refused before the stream is read
    try:
        data = read_regular(stream, LARGEST_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"{stream} cannot be read: {error.strerror}") from error
    name = codec or codec_of(data, stream)
    if name == OURS:
        our = _our_codec(checkpoint or _bundled_checkpoint(data), request, 0.0, exact=int(exact))
        try:
            pixels = our.decode(data, beta=beta)
        except CorruptStream as why:
            raise UsageError(f"{stream} cannot be decoded: {why}{_remedy(why, data)}") from why
    else:
        _refuse(name, {"beta": beta, "exact": exact or None, "checkpoint": checkpoint or None})
        bound = benchmark.open_codec(name, device=request.device, weights_dir=request.weights_dir)
        refused = f"{stream} cannot be decoded as {name}"
        try:
            pixels = bound.decode(data)
        except Unavailable:
            raise
        except Exception as error:  # adapters run foreign code
            remedy = _remedy(error, data, name)
            raise UsageError(f"{refused}: {one_line(error)}{remedy}") from error
        if getattr(pixels, "dtype", None) != "uint8" or pixels.shape[2:] != (3,):
            raise UsageError(f"{refused}: what comes out is no 8-bit RGB")
    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    _write(image, png.getvalue())
    print(f"{image}: {pixels.shape[1]} x {pixels.shape[0]} pixels, decoded by {name}")


def codec_of(stream: bytes, path: Path) -> str:
    """Return the name of the codec whose streams begin as this one; raise `UsageError` if none."""
    for name, beginning in BEGINNINGS.items():
        if re.match(beginning, stream, re.DOTALL):
            return name
    raise UsageError(
        f"{path} does not begin as a stream of {', '.join(BEGINNINGS)}: --codec says which codec "
        "made it"
    )


def read_image(path: Path, flatten: bool = False) -> "Pixels":
    """Return an image's pixels by the harness's rules; raises `UsageError` where it has none."""
    try:
        return benchmark.read_image(path, flatten).pixels
    except ImageRefused as why:
        raise UsageError(str(why)) from why


def _our_codec(checkpoint: str, request: Request, beta: float, **more: Any) -> "CRDR":
    from baselines.crdr import CRDR

    request.use_folders()
    use_device(request.device)
    return CRDR(beta=beta, checkpoint=checkpoint, **more)


def _bundled_checkpoint(stream: bytes) -> str:
    """Return the path of our bundled checkpoint that a stream names; empty if it names another."""
    from baselines.neural.bitstream.container import checkpoint_of
    from baselines.neural.card import load_card
    from baselines.neural.network_codec import BUNDLED

    try:
        named = checkpoint_of(stream)
    except CorruptStream:
        return ""  # the decoder reports it
    paths = sorted(BUNDLED.glob(f"{OURS}*.safetensors.*"))
    return next((str(path) for path in paths if load_card(path).identity.startswith(named)), "")


def _remedy(error: Exception, stream: bytes, codec: str = OURS) -> str:
    """Return the clause on the option that takes the checkpoint of a stream; empty for no other."""
    from baselines.neural.bitstream.container import OtherCheckpoint

    if not isinstance(error, OtherCheckpoint):
        return ""
    name, bundled = codec.partition(":")[0], Path(_bundled_checkpoint(stream)).stem
    option = "--checkpoint " if bundled or name == OURS else f"--codec {name}:checkpoint="
    return f"; {option}{bundled or 'FILE'} takes its file, without another --codec"


def _refuse(codec: str, options: Mapping[str, object]) -> None:
    if name := next((name for name, value in options.items() if value is not None), ""):
        raise UsageError(f"--{name} is for our codec alone, not for {codec}: leave it out")


def _setting(point: str) -> dict[str, float]:
    if not point:
        return {}
    name, _, value = point.partition("=")
    try:
        return {name.strip(): float(value)}
    except ValueError:
        raise UsageError(f"--point {point!r} is not of the form quality=30") from None


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.stat()  # a misspelt folder is an error, not a new folder
        write_file(path, data)
    except OSError as error:
        there = f"; make the folder {path.parent} first" * isinstance(error, FileNotFoundError)
        raise UsageError(f"{path} cannot be written: {error.strerror}{there}") from error
