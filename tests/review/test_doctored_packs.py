"""No doctored pack passes a review, alone or among honest rows; every honest one does.

With `-s`, the table of packs, exit codes and questions that were answered by no.

Packs that are doctored, and honest ones as other processors make them, are edits of rows; a pack's
streams are files named by their sha256.
"""

import shutil
import sys
from collections import defaultdict
from hashlib import sha256
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmark.compare.rule import USUAL_RULE
from benchmark.measure.request import Request, parse_points
from benchmark.measure.select import select
from benchmark.metrics.psnr import psnr
from benchmark.review.review import review_record, review_supplement
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.contents import export_pack
from benchmark.rows.store import Store
from benchmark.system.digest import pixels_sha256
from support.files.noise import noise_images
from support.packs.honest_pack import measured, quiet, rows_in, write_rows


class Opened:
    """A copy of a pack as rows and streams, which `close` writes."""

    def __init__(self, source, place, codecs, photos):
        self.place, self.photos = shutil.copytree(source, place), photos
        self.lines = [line for line in rows_in(place) if line["codec"] in codecs]

    def of(self, **fields):
        return [line for line in self.lines if line | fields == line and line["codec"] == "webp"]

    def keep(self, line, data):
        line["stream_sha256"] = sha256(data).hexdigest()
        line["num_bytes"] = len(data)
        line["bpp"] = 8 * len(data) / (line["width_px"] * line["height_px"])
        (self.place / "streams" / line["stream_sha256"]).write_bytes(data)

    def close(self):
        write_rows(self.place, self.lines)
        return self.place


def put(lines, **fields):
    for line in lines:
        line.update(fields)


def add(lines, **amounts):
    for line in lines:
        line |= {name: line[name] + amount for name, amount in amounts.items()}


def scale(lines, **factors):
    for line in lines:
        line |= {name: type(line[name])(line[name] * by) for name, by in factors.items()}


def write_curve(pack, raised, digits=12):
    """Write the pack's curve of WebP beside it, its PSNR raised."""
    points = defaultdict(list)
    for line in pack.of():
        points[line["setting_value"]].append((line["bpp"], line["psnr_db"]))
    means = [np.mean(values, axis=0) for values in points.values()]
    rows = [f"webp,{bpp:.{digits}f},{value + raised:.{digits}f}" for bpp, value in means]
    (pack.place / "curve.csv").write_text("\n".join(["codec,bpp,psnr", *rows]))


def take_pixels_of_another_quality(pack):
    for line, better in zip(pack.of(setting_value=30), pack.of(setting_value=60), strict=True):
        line |= {name: better[name] for name in ("decoded_sha256", "psnr_db", "ssim")}


def leave_out_hardest_picture(pack):
    hardest = pack.of(image=max(pack.of(setting_value=30), key=lambda line: line["bpp"])["image"])
    pack.lines = [line for line in pack.lines if line not in hardest]


def change_stream(pack):
    place = pack.place / "streams" / pack.of()[0]["stream_sha256"]
    data = place.read_bytes()
    place.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


CHEATS = {
    "psnr of all raised": lambda pack: add(pack.of(), psnr_db=0.3),
    "psnr of one raised": lambda pack: add(pack.of(setting_value=30)[:1], psnr_db=0.3),
    "ssim raised": lambda pack: add(pack.of(), ssim=0.002),
    "pixels of another quality": take_pixels_of_another_quality,
    "bytes short": lambda pack: scale(pack.of(), num_bytes=0.9, bpp=0.9),
    "rate short": lambda pack: scale(pack.of(), bpp=0.9),
    "picture too high": lambda pack: scale(pack.of(), height_px=2, bpp=0.5),
    "hardest picture left out": leave_out_hardest_picture,
    "picture left out of one point": lambda pack: pack.lines.remove(pack.of(setting_value=30)[0]),
    "stream changed": change_stream,
    "curve raised": lambda pack: write_curve(pack, 0.3),
}


def round_pixels(pack):
    for number, line in enumerate(pack.of()):
        line["decoded_sha256"] = f"{number:064x}"
        add([line], psnr_db=5e-4 if number % 2 else -5e-4, ssim=1e-5)


def round_pixels_of_one(pack):
    put(pack.of()[:1], decoded_sha256="0" * 64)
    add(pack.of()[:1], psnr_db=-2e-4)


def code_by_another_build(pack):
    """Give every picture the stream of another effort, as another version of libwebp would."""
    for line in pack.of():
        with Image.open(pack.photos / line["image"]) as image:
            original, sink = np.asarray(image.convert("RGB")), BytesIO()
        Image.fromarray(original).save(sink, "WEBP", quality=int(line["setting_value"]), method=3)
        pack.keep(line, sink.getvalue())
        decoded = np.asarray(Image.open(BytesIO(sink.getvalue())).convert("RGB"))
        line |= {"decoded_sha256": pixels_sha256(decoded), "psnr_db": psnr(original, decoded)}
        line |= {"ssim": None, "ssim_protocol": None}


def keep_one_point(pack):
    pack.lines = pack.of(setting_value=60)


ROUNDED = {"pixels rounded": round_pixels, "pixels of one rounded": round_pixels_of_one,
           "values rounded": lambda pack: add(pack.of(), psnr_db=3e-14, ssim=1e-8)}  # fmt: skip
HONEST = {
    **ROUNDED,
    "as measured": lambda pack: None,
    "another machine": lambda pack: put(pack.lines, machine="Another", encode_seconds=9.0),
    "another build": code_by_another_build,
    "a metric not sent": lambda pack: put(pack.of(), ssim=None, ssim_protocol=None),
    "one point": keep_one_point,
    "an earlier protocol": lambda pack: put(pack.of(), ssim=0.5, ssim_protocol="ssim-of-before"),
    "curve as printed": lambda pack: write_curve(pack, 0.0, 4),
}


POINTS = parse_points(["webp.quality=10,30,60,90", "jpeg.quality=10,30,60,90"])
DILUTED = ("webp", "jpeg")


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    sizes = [(48, 64), (64, 48), (56, 56), (40, 72)]
    return noise_images(tmp_path_factory.mktemp("four") / "photos", sizes)


@pytest.fixture(scope="module")
def honest(four, tmp_path_factory):
    place = tmp_path_factory.mktemp("honest")
    contenders = select(["webp", "jpeg"], POINTS).contenders
    store = measured(Store(place / "set"), four, contenders, ("psnr", "ssim"))
    export_pack(place / "pack", [store], [contender.spec for contender in contenders], ())
    return place / "pack"


@pytest.fixture
def reviewed(honest, four, tmp_path):
    def run(name, edit, codecs):
        pack = Opened(honest, tmp_path / "pack", codecs, four)
        edit(pack)
        (tmp_path / "into").mkdir()
        request = Request(metrics=("psnr", "ssim"), jobs=1)
        arguments = request, str(four), (), tmp_path / "none", USUAL_RULE, NamedCodecs("all"), quiet
        review = review_supplement(pack.close(), tmp_path / "into", *arguments)
        answers = review_record(review)["answers"]
        verdicts = {answer["name"]: answer["verdict"] for answer in answers}
        wrong = ", ".join(sorted(name for name, verdict in verdicts.items() if verdict == "no"))
        among = "alone" if len(codecs) == 1 else "diluted"
        sys.stdout.write(f"\n| {name} | {among} | {int(review.wrong)} | {wrong} |")
        return review, verdicts

    return run


@pytest.mark.parametrize("codecs", [("webp",), DILUTED], ids=["alone", "diluted"])
@pytest.mark.parametrize("cheat", CHEATS)
def test_a_doctored_pack_is_contradicted(reviewed, cheat, codecs):
    review, _ = reviewed(cheat, CHEATS[cheat], codecs)
    assert review.wrong


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_pack_is_not_contradicted(reviewed, name):
    review, verdicts = reviewed(name, HONEST[name], DILUTED)
    assert not review.wrong, verdicts
    assert (verdicts["numbers"] == "partly") == (name in ROUNDED)
    # values of another protocol cannot be compared
    assert (verdicts["numbers"] == "unknown") == (name == "an earlier protocol")
