"""`bench encode`: code one image file to a stream of our codec, or of another."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.completion import complete_codecs

Q, BETA = 2.0, 0.0  # unless others are asked for
MAP_HELP = (
    "A grey picture of any size, stretched over the image: black is 0, white {}; each block of "
    "64 x 64 pixels takes its mean value, rounded to 16 levels."
)


def encode(
    image: Annotated[Path, typer.Argument(help="Image file: PNG, JPEG, WebP, TIFF or PPM.")],
    stream: Annotated[Path, typer.Argument(help="Stream to write: out.crdr, out.jpg.")],
    codec: Annotated[
        str,
        typer.Option(
            help="The codec, name[:key=value]... or path.py:Class.",
            rich_help_panel=options.CODED,
            autocompletion=complete_codecs,
        ),
    ] = "ours",
    point: Annotated[
        str,
        typer.Option(
            help="Setting of another codec: quality=30; default: its middle one.",
            rich_help_panel=options.CODED,
        ),
    ] = "",
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
    """Encode an image with our codec, or with another.

    --q-map and --beta-map control our codec block by block. --q, --beta, their maps and
    --checkpoint are for our codec, --point for the others.

    Examples:
      bench encode in.png out.crdr --q 2.5 --beta 3.84
      bench encode in.png out.crdr --q-map importance.png
      bench encode in.png out.jpg --codec jpeg --point quality=30
    """
    import benchmark
    from baselines.commands.any_codec import OURS, encode_as, refuse_options, setting_of
    from baselines.commands.stream import our_codec, read_image, written
    from benchmark.codec import Setting
    from benchmark.errors import UsageError

    for name, level, levels in (("q", q, q_map), ("beta", beta, beta_map)):
        if level is not None and levels is not None:
            raise UsageError(f"--{name} and --{name}-map exclude each other: leave one of them out")
    if codec == OURS:
        if point:
            raise UsageError(f"--point {point}: the setting of our codec is given by --q")
        coder = our_codec(BETA if beta is None else beta, checkpoint, device, weights_dir)
        pixels = read_image(image, flatten)
        maps = {
            name: read_image(path, flatten=True) if path else None
            for name, path in (("q_map", q_map), ("beta_map", beta_map))
        }
        data = coder.encode(pixels, Setting("q", Q if q is None else q), **maps)
    else:
        given = {"q": q, "beta": beta, "q-map": q_map, "beta-map": beta_map}
        refuse_options(codec, {name: value is not None for name, value in given.items()})
        refuse_options(codec, {"checkpoint": bool(checkpoint)})
        bound = benchmark.codec(codec, device=device, weights_dir=weights_dir)
        setting = setting_of(point)
        pixels = read_image(image, flatten)
        data = encode_as(codec, bound.encode, setting, pixels, image)
    written(stream, data)
    height, width, _ = pixels.shape
    print(f"{stream}: {len(data)} bytes, {8 * len(data) / (height * width):.4f} bpp")
