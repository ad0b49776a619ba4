"""`bench encode`: code one image file to a stream of our codec."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options

MAP_HELP = (
    "A grey picture of any size, stretched over the image: black is 0, white {}; each block of "
    "64 x 64 pixels takes its mean value, rounded to 16 levels."
)


def encode(
    image: Annotated[Path, typer.Argument(help="Image file: PNG, JPEG, WebP, TIFF or PPM.")],
    stream: Annotated[Path, typer.Argument(help="Stream to write: out.crdr.")],
    q: Annotated[
        float, typer.Option("--q", help="Rate level, 0 (lowest) to 4, in steps of 1/16.")
    ] = 2.0,
    beta: Annotated[
        float,
        typer.Option(help="Realism weight for the header, 0 to 5.12; a decoder may use another."),
    ] = 0.0,
    q_map: Annotated[Path | None, typer.Option(help=MAP_HELP.format("q = 4"))] = None,
    beta_map: Annotated[Path | None, typer.Option(help=MAP_HELP.format("beta = 5.12"))] = None,
    checkpoint: options.Checkpoint = "",
    device: options.DeviceName = "cpu",
    weights_dir: options.WeightsDir = None,
    flatten: options.Flatten = False,
) -> None:
    """Encode an image with our codec; --q-map and --beta-map control it block by block."""
    from baselines.commands.stream import our_codec, read_image, written
    from benchmark.codec import Setting

    codec = our_codec(beta, checkpoint, device, weights_dir)
    pixels = read_image(image, flatten)
    maps = {
        name: read_image(path, flatten=True) if path else None
        for name, path in (("q_map", q_map), ("beta_map", beta_map))
    }
    data = codec.encode(pixels, Setting("q", q), **maps)
    written(stream, data)
    height, width, _ = pixels.shape
    print(f"{stream}: {len(data)} bytes, {8 * len(data) / (height * width):.4f} bpp")
