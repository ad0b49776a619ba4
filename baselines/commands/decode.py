"""`bench decode`: decode one stream of any codec to a PNG file."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import opt
from benchmark.commands.verb import takes
from benchmark.option import CODED, MANNER
from benchmark.plan.request import Request


@takes(Request, "device weights_dir", device="cpu")
def decode(
    request: Request,
    stream: Annotated[
        Path, typer.Argument(help="The stream: of `bench encode`, or a file of its format.")
    ],
    image: Annotated[Path, typer.Argument(help="PNG file to write.")],
    codec: Annotated[
        str,
        opt(
            CODED,
            "The codec, name[:key=value]... or path.py:Class; default: as the stream begins.",
            completes="codecs",
        ),
    ] = "",
    beta: Annotated[
        float | None,
        opt(CODED, "Of our codec: realism weight, 0 to 5.12, instead of the stream's."),
    ] = None,
    exact: Annotated[
        bool,
        opt(MANNER, "Of our codec: compute the same pixels on every machine; slower.", "--exact"),
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
    from io import BytesIO

    from PIL.Image import fromarray

    from baselines.commands.any_codec import OURS, codec_of, decode_as, refuse_options
    from baselines.commands.stream import bundled_checkpoint_of, our_codec, read, written
    from benchmark.errors import CorruptStream, UsageError
    from benchmark.system.settings import use_device

    if image.suffix.lower() != ".png":
        raise UsageError(f"{image}: what is decoded becomes a PNG, so its name ends in .png")
    use_device(request.device)  # a device that is not here is found before the stream is read
    data = read(stream)
    name = codec or codec_of(data, stream)
    if name == OURS:
        checkpoint = checkpoint or bundled_checkpoint_of(data)
        our = our_codec(checkpoint, request, beta=0.0, exact=int(exact))
        try:
            pixels = our.decode(data, beta=beta)
        except CorruptStream as why:
            raise UsageError(f"{stream} cannot be decoded: {why}") from why
    else:
        given = {"beta": beta is not None, "exact": exact, "checkpoint": bool(checkpoint)}
        refuse_options(name, given)
        pixels = decode_as(name, data, stream, request)
    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    written(image, png.getvalue())
    print(f"{image}: {pixels.shape[1]} x {pixels.shape[0]} pixels, decoded by {name}")
