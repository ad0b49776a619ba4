"""`bench decode`: decode one stream of our codec to a PNG file."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options


def decode(
    stream: Annotated[Path, typer.Argument(help="The stream, as written by `bench encode`.")],
    image: Annotated[Path, typer.Argument(help="PNG file to write.")],
    beta: Annotated[
        float | None,
        typer.Option(
            help="Realism weight, 0 to 5.12, instead of the stream's.",
            rich_help_panel=options.CODED,
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Compute the same pixels on every machine; slower.",
            rich_help_panel=options.MANNER,
        ),
    ] = False,
    checkpoint: options.Checkpoint = "",
    device: options.DeviceName = "cpu",
    weights_dir: options.WeightsDir = None,
) -> None:
    """Decode a stream of our codec to an image.

    Examples:
      bench decode out.crdr out.png
      bench decode out.crdr out.png --beta 5.12 --exact
    """
    from io import BytesIO

    from PIL.Image import fromarray

    from baselines.commands.stream import our_codec, read, written
    from benchmark.errors import CorruptStream, UsageError

    if image.suffix.lower() != ".png":
        raise UsageError(f"{image}: what is decoded becomes a PNG, so its name ends in .png")
    codec = our_codec(0.0, checkpoint, device, weights_dir, exact)
    data = read(stream)
    try:
        pixels = codec.decode(data, beta=beta)
    except CorruptStream as why:
        raise UsageError(f"{stream} cannot be decoded: {why}") from why
    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    written(image, png.getvalue())
    print(f"{image}: {pixels.shape[1]} x {pixels.shape[0]} pixels")
