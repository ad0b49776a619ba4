"""`bench encode`: code one image file to a stream of our codec, or of another."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import opt
from benchmark.commands.verb import takes
from benchmark.option import CODED
from benchmark.plan.request import Request

Q, BETA = 2.0, 0.0  # unless others are asked for
MAP_HELP = (
    "A grey picture of any size, stretched over the image: black is 0, white {}; each block of "
    "64 x 64 pixels takes its mean value, rounded to 16 levels."
)


@takes(Request, "device weights_dir flatten", device="cpu")
def encode(
    request: Request,
    image: Annotated[Path, typer.Argument(help="Image file: PNG, JPEG, WebP, TIFF or PPM.")],
    stream: Annotated[Path, typer.Argument(help="Stream to write: out.crdr, out.jpg.")],
    codec: Annotated[
        str,
        opt(CODED, "The codec, name[:key=value]... or path.py:Class.", completes="codecs"),
    ] = "ours",
    point: Annotated[
        str,
        opt(CODED, "Setting of another codec: quality=30; default: its middle one."),
    ] = "",
    q: Annotated[
        float | None,
        opt(CODED, "Rate level, 0 (lowest) to 4, in steps of 1/16; default: 2.", "--q"),
    ] = None,
    beta: Annotated[
        float | None,
        opt(
            CODED,
            "Realism weight for the header, 0 to 5.12; a decoder may use another. Default: 0.",
        ),
    ] = None,
    q_map: Annotated[
        Path | None,
        opt(CODED, MAP_HELP.format("q = 4")),
    ] = None,
    beta_map: Annotated[
        Path | None,
        opt(CODED, MAP_HELP.format("beta = 5.12")),
    ] = None,
    bpp: Annotated[
        float | None,
        opt(CODED, "Rate to reach in bits per pixel, within 1 %, instead of --q."),
    ] = None,
    psnr: Annotated[
        float | None,
        opt(CODED, "PSNR to reach in dB, instead of --q."),
    ] = None,
    effort: Annotated[
        int | None,
        opt(CODED, "0 (default) to 3: how long to search for fewer bits at equal quality."),
    ] = None,
    search_for: Annotated[
        str | None,
        opt(CODED, "What --effort is for: psnr (default), or realism, LPIPS at this beta as well."),
    ] = None,
    checkpoint: options.Checkpoint = "",
) -> None:
    """Encode an image with our codec, or with another.

    --q-map and --beta-map control our codec block by block. --q, --beta, their maps, --bpp, --psnr,
    --effort, --search-for and --checkpoint are for our codec, --point for the others.

    Examples:
      bench encode in.png out.crdr --q 2.5 --beta 3.84
      bench encode in.png out.crdr --q-map importance.png
      bench encode in.png out.crdr --bpp 0.25 --effort 2
      bench encode in.png out.jpg --codec jpeg --point quality=30
    """
    import benchmark
    from baselines.commands.any_codec import OURS, encode_as, refuse_options, setting_of
    from baselines.commands.stream import our_codec, read_image, written
    from baselines.crdr import PSNR
    from benchmark.codec import Setting
    from benchmark.errors import UsageError
    from benchmark.protocol import bits_per_pixel

    rates = {"q": q, "q-map": q_map, "bpp": bpp, "psnr": psnr}
    for choices in (rates, {"beta": beta, "beta-map": beta_map}):
        asked = [f"--{name}" for name, value in choices.items() if value is not None]
        if len(asked) > 1:
            raise UsageError(f"{' and '.join(asked)} exclude each other: leave one of them out")
    if codec == OURS:
        if point:
            raise UsageError(f"--point {point}: the setting of our codec is given by --q")
        targets = {name: one for name, one in (("bpp", bpp), ("psnr", psnr)) if one is not None}
        for name, value in targets.items():
            if not value > 0:
                raise UsageError(f"--{name} {value:g}: it is above 0")
        if search_for is not None and not effort:
            raise UsageError(f"--search-for {search_for}: it says what --effort 1 to 3 is for")
        wanted = {"effort": effort or 0, "search_for": search_for or PSNR, **targets}
        level = BETA if beta is None else beta
        coder = our_codec(checkpoint, request, beta=level, **wanted)
        pixels = read_image(image, request.flatten)
        maps = {
            name: read_image(path, flatten=True) if path else None
            for name, path in (("q_map", q_map), ("beta_map", beta_map))
        }
        setting = coder.sweep[0] if targets else Setting("q", Q if q is None else q)
        data = coder.encode(pixels, setting, **maps)
    else:
        searched = {"effort": effort, "search-for": search_for}
        given = {**rates, "beta": beta, "beta-map": beta_map, **searched}
        refuse_options(codec, {name: value is not None for name, value in given.items()})
        refuse_options(codec, {"checkpoint": bool(checkpoint)})
        bound = benchmark.open_codec(codec, device=request.device, weights_dir=request.weights_dir)
        pixels = read_image(image, request.flatten)
        data = encode_as(codec, bound.encode, setting_of(point), pixels, image)
    written(stream, data)
    height, width, _ = pixels.shape
    print(f"{stream}: {len(data)} bytes, {bits_per_pixel(len(data), height * width):.4f} bpp")
