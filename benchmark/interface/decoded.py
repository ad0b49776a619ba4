"""Decoded pixels of stored results."""

from pathlib import Path

from benchmark.codec import Pixels
from benchmark.errors import CorruptStream, Unavailable, UsageError
from benchmark.measure.execute import Failed
from benchmark.measure.reconstruct import reconstruct_all
from benchmark.packs.contents import dataset_contents, packs_beside
from benchmark.report.chosen_pictures import PictureChoice, choose_pictures
from benchmark.rows.named_code import NamedCodecs
from benchmark.system.settings import isolated, use_device, use_weights_folder


@isolated
def decoded(
    source: str | Path,
    codec: str,
    image: str,
    *,
    device: str = "auto",
    weights_dir: str | Path | None = None,
    **setting: float,
) -> Pixels:
    """Return the pixels that were scored, decoded from a kept stream or from a pack's.

    Parameters
    ----------
    source : path
        The folder of one dataset, ``results/kodak``.
    codec : str
        Codec variant with results: its name in `summary`, or its spec. A program or Python file
        runs only if the whole spec is given.
    image : str
        Name of the image, with or without its file's suffix.
    device : str
        "auto", "cpu" or "cuda", of learned codecs.
    weights_dir : path, optional
        The folder to search first for weight files.
    **setting : float
        The setting by its name, ``quality=30``; none for a codec with results at one setting.

    Returns
    -------
    array
        uint8 of shape (height, width, 3), sRGB; its sha256 is the row's ``decoded_sha256``.

    Raises
    ------
    UsageError
        If no row is meant, or several are.
    Unavailable
        If the stream was not kept, or this machine lacks what decodes it.
    CorruptStream
        If the stream is damaged or decodes to other pixels than those that were scored.
    """
    use_weights_folder(None if weights_dir is None else Path(weights_dir))
    chosen_device = use_device(device)
    folder = Path(source)
    if not (folder / "per_image").is_dir():
        raise UsageError(f"{folder} holds no rows of one dataset: name a folder as results/kodak")
    contents = dataset_contents(
        folder.parent, folder.name, packs_beside(folder.parent), NamedCodecs(codec)
    )
    points = tuple(f"{codec}.{name}={value:.17g}" for name, value in setting.items())
    chosen = choose_pictures(
        contents, folder.name, PictureChoice(folder.name, codec, (image,), None, points)
    )
    if not chosen.pictures:
        raise Unavailable(f"{codec} of {image} cannot be decoded: {'; '.join(chosen.absent)}")
    if len(chosen.pictures) > 1:
        known = ", ".join(f"{one.label} {one.setting}" for one in chosen.pictures)
        raise UsageError(f"{codec} of {image} has several pictures: {known}; name one of them")
    found = reconstruct_all([chosen.pictures[0].row], contents, chosen_device, 1)
    (pixels,) = (done[1] for done in found if done is not None)
    if isinstance(pixels, Failed):
        kind = Unavailable if pixels.stage == "load" else CorruptStream
        raise kind(f"{codec} of {image} cannot be decoded: {pixels.reason}")
    return pixels
