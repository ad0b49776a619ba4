"""Readers of files that others send: packs, lists of sizes, cards, photographs."""

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from baselines.folder import Folder
from baselines.formats.png import read_png
from baselines.neural.architecture import load_architecture
from baselines.neural.checkpoint.card import Card, load_card, save_card
from benchmark.codec import CodecInfo, Setting
from benchmark.codec_spec import CodecSpec
from benchmark.datasets import image
from benchmark.errors import BadPack, BenchError, ImageRefused
from benchmark.packs.contents import row_of
from benchmark.packs.export_pack import pack_columns
from benchmark.packs.pack import FORMAT, INDEX, ROWS, open_pack
from benchmark.system.foreign_files import BLOCK_BYTES, MOST_UNPACKED, BadTar, files_of_tar
from faults.fuzzing.target import Target

BETWEEN = b"\n\xff\n"  # pack.json and rows.csv in one input
SUM_AT, SUM_BYTES = 148, 8  # of a tar's header
SMALL_PIXELS = 1 << 16  # a photograph of few bytes may have; 2^24 would take a second each
STREAM = b"a stream of raw"
LONGEST_PICTURE = 2048
PNG_PIXELS = 8 * MOST_UNPACKED * LONGEST_PICTURE  # of one bit each


def noise(height: int, width: int) -> Any:
    """Return a picture of noise, uint8 (height, width, 3)."""
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tar(folder: Path) -> Target:
    """The places of the files in a tar."""

    def parse(data: bytes) -> int:
        with io.BufferedReader(io.BytesIO(data)) as file:
            for one in files_of_tar(file):
                if one.start + one.size > len(data) or not one.start:
                    raise AssertionError("a file reaches beyond the tar")
        return 0

    seeds = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as made:
            for name in ("pack/rows.csv", "a" * 120 if kind else "b"):
                member = tarfile.TarInfo(name)
                member.size = 4
                made.addfile(member, io.BytesIO(b"1234"))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "elsewhere"
            made.addfile(link)
            end = made.offset
        seeds.append(out.getvalue()[: end + BLOCK_BYTES])  # one block of zeros ends it
    return Target(parse, tuple(seeds), _summed, (BadTar,), longest=1 << 13)


def _summed(data: bytes) -> bytes:
    """Correct the checksum of each block, as if each were a header."""
    blocks = []
    for at in range(0, len(data), BLOCK_BYTES):
        block = bytearray(data[at : at + BLOCK_BYTES])
        if len(block) == BLOCK_BYTES and any(block):
            block[SUM_AT : SUM_AT + SUM_BYTES] = b" " * SUM_BYTES
            block[SUM_AT : SUM_AT + SUM_BYTES] = b"%06o\0 " % sum(block)
        blocks.append(bytes(block))
    return b"".join(blocks)


def pack(folder: Path) -> Target:
    """The index and the rows of a pack, and each line as a row of the store."""
    place = folder / "pack"
    place.mkdir(exist_ok=True)

    def parse(data: bytes) -> int:
        index, _, rows = data.partition(BETWEEN)
        (place / INDEX).write_bytes(index)
        (place / ROWS).write_bytes(rows)
        opened = open_pack(place)
        for one in opened.streams.values():
            row_of(opened, one, "run")
        return 0

    info = CodecInfo("1", "raw", "MIT", "f" * 64, 1, "a copy")
    told = {
        "format": FORMAT, "name": "p", "streams": 1, "notes": ["a"],
        "codecs": [{"codec": "raw", "variant": CodecSpec("raw", ()).variant, "info": asdict(info)}],
    }  # fmt: skip
    line = dict.fromkeys(pack_columns(), "") | {
        "dataset": "kodak", "image": "a.png", "image_sha256": "a" * 64, "width_px": "8",
        "height_px": "4", "codec": "raw", "variant": "", "setting_name": "bits",
        "setting_value": "8", "num_bytes": str(len(STREAM)), "coding_protocol": "c/1",
        "stream_sha256": sha256(STREAM).hexdigest(), "encode_seconds": "0.5", "psnr_db": "33.5",
    }  # fmt: skip
    used = {name: value for name, value in line.items() if value or name == "variant"}
    rows = f"{','.join(used)}\n{','.join(used.values())}\n".encode()
    seed = json.dumps(told).encode() + BETWEEN + rows
    return Target(parse, (seed,), refusals=(BadPack,), longest=1 << 12)


def sizes(folder: Path) -> Target:
    """The list of sizes of the codec `folder`, and its pictures."""
    place = folder / "sizes"
    place.mkdir(exist_ok=True)

    def parse(data: bytes) -> int:
        (place / "sizes.csv").write_bytes(data)
        codec = Folder(path=str(place))
        for setting in codec.sweep:
            with suppress(ImageRefused):
                codec.declared("a.png", Setting("setting", setting.value))
        return 0

    text = "image,setting,num_bytes,file\na.png,10,2345,\nb.jpg,1e1,12,there/b.png\na,20,4000,\n"
    return Target(parse, (text.encode(), "\ufeff".encode() + text.encode()), refusals=(BenchError,))


def card(folder: Path) -> Target:
    """The card of a checkpoint, of either format."""
    place = folder / "network.safetensors"

    def parse(data: bytes) -> int:
        place.with_suffix(".json").write_bytes(data)
        load_card(place)
        return 0

    seeds = []
    for name in ("crdr", "charm", "elic", "ivr", "hific", "multirealism", "pqmim", "dirac"):
        config = load_architecture(name).presets["tiny"]
        save_card(place, Card(name, config, "noise", 0, "none", "0", {"a": 1.5}, sha256="a" * 64))
        seeds.append(json.dumps(json.loads(place.with_suffix(".json").read_text())).encode())
    first = json.loads(seeds[0])
    old = {**first, "format": 1, "sizes": first["config"]}
    zoo = {"model": "bmshj2018-hyperprior", "widths": [2, 3], "lmbda": 0.01}
    seeds += [json.dumps(one).encode() for one in (old, {**first, "format": 1, **zoo})]
    return Target(parse, tuple(seeds), refusals=(BenchError,), longest=1 << 12)


def photograph(folder: Path) -> Target:
    """A photograph of any of the formats that are read."""
    return _photographs(("PNG", "JPEG", "PPM"), _webp())


def tiff(folder: Path) -> Target:
    """A photograph in TIFF."""
    import tifffile

    colours, grey = noise(9, 7), noise(9, 7)[..., 0]
    turned = [(image.ORIENTATION, "H", 1, 6, True)]
    seeds = []
    for samples, options in (
        (colours, {"extratags": turned}),
        (grey, {"compression": "zlib"}),
        (grey > 99, {"photometric": "miniswhite", "byteorder": ">"}),
        (colours, {"planarconfig": "separate", "rowsperstrip": 4}),
        (np.dstack([colours, grey | 255]), {"extrasamples": ["unassalpha"], "bigtiff": True}),
        (grey, {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}),
    ):
        out = io.BytesIO()
        tifffile.imwrite(out, samples, metadata=None, software=False, **options)
        seeds.append(out.getvalue())
    return _photographs((), seeds)


def _webp() -> list[bytes]:
    """Return WebP files: lossy, lossless, and with an orientation in the extended format."""
    import imagecodecs

    files = [imagecodecs.webp_encode(noise(9, 7), 50, lossless=one) for one in (False, True)]
    lossy = files[0][12:]
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\3\0\1\0\0\0\x06\0\0\0\0\0\0\0"
    size = struct.pack("<I", 6)[:3] + struct.pack("<I", 8)[:3]
    chunks = struct.pack("<4sII", b"VP8X", 10, 8) + size + lossy
    chunks += struct.pack("<4sI", b"EXIF", len(exif)) + exif
    return [*files, b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks]


def _photographs(kinds: Iterable[str], further: Iterable[bytes] = ()) -> Target:
    def parse(data: bytes) -> int:
        with patch.object(image, "SMALL_PIXELS", SMALL_PIXELS):
            height, width, channels = image.decode_image("a.png", data).pixels.shape
        if channels != 3:
            raise AssertionError(f"{channels} channels")
        return height * width

    small = Image.fromarray(noise(9, 7))
    turned = Image.Exif()
    turned[image.ORIENTATION] = 6
    seeds = [*further]
    for kind in kinds:
        for picture, options in (
            (small, {} if kind == "PPM" else {"exif": turned}),
            (small.convert("L"), {}),
        ):
            out = io.BytesIO()
            picture.save(out, kind, **options)
            seeds.append(out.getvalue())
    most = image.MAX_PIXELS_A_BYTE * LONGEST_PICTURE
    return Target(
        parse, tuple(seeds), png_summed, (ImageRefused,), max(most, SMALL_PIXELS), 512 << 20,
        LONGEST_PICTURE,
    )  # fmt: skip


def decoded_png(folder: Path) -> Target:
    """A PNG that a decoder wrote, read by what runs such programs."""
    place = folder / "decoded.png"

    def parse(data: bytes) -> int:
        place.write_bytes(data)
        height, width, _ = read_png(place).shape
        return height * width

    seeds = []
    for mode in ("RGB", "L", "P", "RGBA", "1"):
        out = io.BytesIO()
        Image.fromarray(noise(5, 6)).convert(mode).save(out, "PNG")
        seeds.append(out.getvalue())
    return Target(
        parse, tuple(seeds), png_summed, (ImageRefused,), PNG_PIXELS, 256 << 20, LONGEST_PICTURE
    )


def png_summed(data: bytes) -> bytes:
    """Correct the checksums of a PNG's chunks as far as they can be followed."""
    made, at = bytearray(data), 8
    while made[:4] == b"\x89PNG" and at + 12 <= len(made):
        end = at + 8 + int.from_bytes(made[at : at + 4])
        if end + 4 > len(made):
            break
        made[end : end + 4] = zlib.crc32(made[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(made)
