"""Kodak photographs: 24 lossless images of 768 x 512 pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.datasets import download
from benchmark.datasets.dataset import (
    Dataset,
    ImageFile,
    Profile,
    Refused,
    Source,
    find_images,
    probe,
)
from benchmark.errors import Unavailable
from benchmark.system.machine import cores
from benchmark.system.text import listed

PROFILES = {"kodak": Profile("Kodak", 24, 1.3, "VTM")}
ADDRESS = "https://r0k.us/graphics/kodak/kodak"
CONTENT = "kodim01.png to kodim24.png"
MOST_FILES = 100  # in a folder that is searched for the pictures under other names


class Facts(NamedTuple):
    """Digests and size of a picture as published."""

    file_sha256: str
    size_bytes: int
    pixels_sha256: str  # its first 16 hex digits: the picture itself, however it is compressed


_TABLE = """
a56e27cbf5f843c048b6af1d6e090760e9c92fadba88b7dee0205918a37523bd 736501 a002107433535944
4f4b74a79237e311d72cad958237b5f7088d8bce1c82305ebefe1a70e3022dfd 617995 ae5a495df4ec40e0
e25ca1ff2f0c0cb5fdfd5f9b0a0bb21ac4c3de3c84a67f35b09a85d3306249db 502888 234e61f585503f2a
e3b946107c5d3441c022f678d0c3caf1e224d81b1604ba840a4f88e562de61aa 637432 e88e788fca00e6c7
10349e963c5c813d327852f82c1795fa4148d69fedffc4c589bee458e3ac3d53 785610 ed3d1ee770909d3b
363510303b715d4cbc384e1ce227e466b613a09e1b71ae985882bf8e7fbd9b18 618959 7f45158999fa297d
b77d3f006f42414bb242222e0482e750c0fb9e5ee8d4bed2f6f11c5605fe54a4 566322 4e3664bf6fe865b4
ba23983c76b4832ee0e8af0592664756841a16779acd69f792e268fb6d13d6e7 788470 889c3740e4ed54ca
6a4361c2fc194feb4edaa9f9a4a0620fb9943e460ac7fdf037fb0f6dd6607a7d 582899 f8453140e63a4230
9dfb70f5867c29ff9ed6313683f19b3d867849e40fbc0c4c54a4a89df341cf23 593463 fabe11b5c4f02839
7936814b58b5387fce2e4e2488b4ec830dadd95fa9520f358ddb30990b50f2b6 621023 ab4dd9bf8431e717
d78c37c2f04f23761ed2367dd77e2db584ddd4c3950833fecf89f199a8126980 531024 f412db2168e59994
bc34a3ce58dea09dce1704c997171602de90cb34d0c8503a988b77f473d39b08 822712 875703d56fb9396f
55a94550ff18f3246c4074fd32b77b0c74447c26b6ad274d564d999c0450ba6e 692201 2bd5029ee75ac169
7538cbb80cb9103606c48b806eae57d56c885c7f90b9b3be70a41160f9cbb683 612582 b5353e7511277009
a89c7268ccd4718ba424a99fc4643c572cf692ca6eae887185ceb4e9f11d2e54 534247 ed21745fd32fce95
37afcc89fbdcb76d9518e04b2fc011027e2f4cd14b3b2f83cefd721641a47c5b 602078 566bc866664e9b06
1a9258c365988961d87a0598725b609139c303ad48a5aad6c503c3b1a87849aa 780947 3475af71066f3ca8
b7450b264b1b0a411390d8931b112c27905a992520fc90569dc4b920aa32bbdc 671476 7956408ef24222d3
3b46c71e3b92a563820ba32936be8330c586c41f938efd94be938386aae4328a 492462 666ce8f2db5566a1
ac958597c82073f6bb65129c68f72b651db5b9efd82e11547d07350214bc268b 637051 2d6902daf7c4486b
1cee58eb1f2d9c7ebb254d208a03c783ce6cf2c4d8c2cf45e235dd23b4ce1b29 701970 f430842120c108b6
e3111a2fd4da24af15d6459ef9eacfe54106b38e27b4a21821b75c3f5d2d5baf 557596 81992a83592267e6
1071c68372cc5a01435c2c225a5cf7d4bb803846ec08bb6b3d6721b156d7cb96 706397 e3e3ccc3e795b82a
"""
PICTURES = {
    f"kodim{number:02d}.png": Facts(file, int(size), pixels)
    for number, line in enumerate(_TABLE.split("\n")[1:-1], start=1)
    for file, size, pixels in [line.split()]
}


def open_kodak(data_folders: Sequence[Path]) -> Dataset:
    """Open the 24 photographs of Kodak; pixels are compared, not names. Raises `Unavailable`."""
    places = ("kodak", "kodak/PNG", "Kodak", ".")
    return Dataset("kodak", find_images("kodak", data_folders, places, _look, CONTENT))


def fetch_dataset(
    name: str,
    sought: Sequence[Path],
    target: Path,
    progress: download.DownloadProgress | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Download the 24 files into `target`/kodak, whole or not at all; origins: a zip instead."""
    finished = target / "kodak"
    remedy = f"put {CONTENT} into {finished} yourself"
    urls = {picture: f"{ADDRESS}/{picture}" for picture in PICTURES}

    def fill(draft: Path) -> None:
        for picture, (digest, size_bytes, _) in PICTURES.items():
            download.fetch(urls[picture], draft / picture, size_bytes, digest, progress, remedy)
        _look(draft)

    def unpack(draft: Path) -> None:
        download.unpack_images(Path(origins[0]), draft, len(PICTURES))
        if not _look(draft):
            raise Unavailable(f"{origins[0]} does not hold {CONTENT}")

    download.publish_folder(finished, origins or list(urls.values()), unpack if origins else fill)


def _look(place: Path) -> Sequence[ImageFile]:
    """Return the 24 pictures in a folder, none where it has none; `Unavailable` where some lack."""
    images = [ImageFile(name, place / name) for name in PICTURES]
    missing = [image.name for image in images if not image.path.is_file()]
    if len(missing) == len(images):
        return _renamed(place)
    if missing:
        raise Unavailable(f"{place} lacks {listed(missing)}")
    for source in probe(images, flatten=False, threads=cores()):
        if isinstance(source, Refused):
            raise Unavailable(f"{place}: {source.reason}")
        if _picture(source) != source.file.name:
            raise Unavailable(f"{source.file.path} is not the picture of that name")
    return images


def _renamed(place: Path) -> Sequence[ImageFile]:
    """Return the 24 pictures from a folder that has them under other names; none if it has not."""
    files = [ImageFile(path.name, path) for path in sorted(place.glob("*.png"))]
    if not len(PICTURES) <= len(files) <= MOST_FILES:
        return ()
    sources = probe(files, flatten=False, threads=cores())
    paths = {_picture(source): source.file.path for source in sources if isinstance(source, Source)}
    whole = PICTURES.keys() <= paths.keys()
    return [ImageFile(name, paths[name]) for name in PICTURES] if whole else ()


def _picture(source: Source) -> str:
    """Return the name of Kodak's picture that has these pixels; empty for none."""
    if {source.width_px, source.height_px} != {768, 512}:
        return ""
    names = (name for name in PICTURES if source.sha256.startswith(PICTURES[name].pixels_sha256))
    return next(names, "")
