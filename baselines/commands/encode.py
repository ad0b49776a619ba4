"""`bench encode`: code one image file to a stream of our codec."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options

Q, BETA = 2.0, 0.0  # unless others are asked for
MAP_HELP = (
    "A grey picture of any size, stretched over the image: black is 0, white {}; each block of "
    "64 x 64 pixels takes its mean value, rounded to 16 levels."
)


def encode(
    image: Annotated[Path, typer.Argument(help="Image file: PNG, JPEG, WebP, TIFF or PPM.")],
    stream: Annotated[Path, typer.Argument(help="Stream to write: out.crdr.")],
    q: Annotated[
        float | None,
        typer.Option(
            "--q",
            help="Rate level, 0 (lowest) to 4, in steps of 1/16; default: 2.",
            rich_help_panel=options.CODED,
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help="Realism weight for the header, 0 to 5.12; a decoder may use another. Default: 0.",
            rich_help_panel=options.CODED,
        ),
    ] = None,
    q_map: Annotated[
        Path | None,
        typer.Option(help=MAP_HELP.format("q = 4"), rich_help_panel=options.CODED),
    ] = None,
    beta_map: Annotated[
        Path | None,
        typer.Option(help=MAP_HELP.format("beta = 5.12"), rich_help_panel=options.CODED),
    ] = None,
    checkpoint: options.Checkpoint = "",
    device: options.DeviceName = "cpu",
    weights_dir: options.WeightsDir = None,
    flatten: options.Flatten = False,
) -> None:
    """Encode an image with our codec; --q-map and --beta-map control it block by block.

    Examples:
      bench encode in.png out.crdr --q 2.5 --beta 3.84
      bench encode in.png out.crdr --q-map importance.png
    """
    from baselines.commands.stream import our_codec, read_image, written
    from benchmark.codec import Setting
    from benchmark.errors import UsageError

    for name, level, levels in (("q", q, q_map), ("beta", beta, beta_map)):
        if level is not None and levels is not None:
            raise UsageError(f"--{name} and --{name}-map exclude each other: leave one of them out")
    codec = our_codec(BETA if beta is None else beta, checkpoint, device, weights_dir)
    pixels = read_image(image, flatten)
    maps = {
        name: read_image(path, flatten=True) if path else None
        for name, path in (("q_map", q_map), ("beta_map", beta_map))
    }
    data = codec.encode(pixels, Setting("q", Q if q is None else q), **maps)
    written(stream, data)
    height, width, _ = pixels.shape
    print(f"{stream}: {len(data)} bytes, {8 * len(data) / (height * width):.4f} bpp")
