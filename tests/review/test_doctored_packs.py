"""No doctored pack passes a review, alone or among honest rows; every honest one does.

With `-s`, the table of packs, exit codes and questions that were answered by no.

Packs that are doctored, and honest ones as other processors make them, are edits of rows; a pack's
streams are files named by their sha256.
"""

import inspect
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

    def __init__(self, source, place, codecs):
        self.place = shutil.copytree(source, place)
        self.lines = [line for line in rows_in(place) if line["codec"] in codecs]

    def of(self, codec="webp", **fields):
        return [line for line in self.lines if line["codec"] == codec
                and all(line[name] == value for name, value in fields.items())]  # fmt: skip

    def stream(self, line):
        return (self.place / "streams" / line["stream_sha256"]).read_bytes()

    def keep(self, line, data):
        line["stream_sha256"] = sha256(data).hexdigest()
        line["num_bytes"] = len(data)
        line["bpp"] = 8 * len(data) / (line["width_px"] * line["height_px"])
        (self.place / "streams" / line["stream_sha256"]).write_bytes(data)

    def close(self):
        write_rows(self.place, self.lines)
        return self.place


def add(line, column, by):
    line[column] += by


def curve(pack, raised, digits=12):
    """Write the pack's curve of WebP beside it, its PSNR raised."""
    points = defaultdict(list)
    for line in pack.of():
        points[line["setting_value"]].append((line["bpp"], line["psnr_db"]))
    means = [np.mean(values, axis=0) for values in points.values()]
    rows = [f"webp,{bpp:.{digits}f},{value + raised:.{digits}f}" for bpp, value in means]
    (pack.place / "curve.csv").write_text("\n".join(["codec,bpp,psnr", *rows]))


def psnr_of_all_raised(pack):
    for line in pack.of():
        add(line, "psnr_db", 0.3)


def psnr_of_one_raised(pack):
    add(pack.of(setting_value=30)[0], "psnr_db", 0.3)


def ssim_raised(pack):
    for line in pack.of():
        add(line, "ssim", 0.002)


def pixels_of_another_quality(pack):
    for line, better in zip(pack.of(setting_value=30), pack.of(setting_value=60), strict=True):
        line |= {name: better[name] for name in ("decoded_sha256", "psnr_db", "ssim")}


def bytes_short(pack):
    for line in pack.of():
        line["num_bytes"] = int(0.9 * line["num_bytes"])
        line["bpp"] *= 0.9


def rate_short(pack):
    for line in pack.of():
        line["bpp"] *= 0.9


def picture_too_high(pack):
    for line in pack.of():
        line["height_px"] *= 2
        line["bpp"] /= 2


def hardest_picture_left_out(pack):
    hardest_image = max(pack.of(setting_value=30), key=lambda line: line["bpp"])["image"]
    pack.lines = [
        line for line in pack.lines if (line["codec"], line["image"]) != ("webp", hardest_image)
    ]


def picture_left_out_of_one_point(pack):
    pack.lines.remove(pack.of(setting_value=30)[0])


def stream_changed(pack):
    place = pack.place / "streams" / pack.of()[0]["stream_sha256"]
    data = place.read_bytes()
    place.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def curve_raised(pack):
    curve(pack, 0.3)


CHEATS = (
    psnr_of_all_raised, psnr_of_one_raised, ssim_raised, pixels_of_another_quality, bytes_short,
    rate_short, picture_too_high, hardest_picture_left_out, picture_left_out_of_one_point,
    stream_changed, curve_raised,
)  # fmt: skip


def as_measured(pack):
    pass


def pixels_rounded(pack):
    for number, line in enumerate(pack.of()):
        line["decoded_sha256"] = f"{number:064x}"
        add(line, "psnr_db", 5e-4 if number % 2 else -5e-4)
        add(line, "ssim", 1e-5)


def pixels_of_one_rounded(pack):
    line = pack.of()[0]
    line["decoded_sha256"] = "0" * 64
    add(line, "psnr_db", -2e-4)


def values_rounded(pack):
    for line in pack.of():
        add(line, "psnr_db", 3e-14)
        add(line, "ssim", 1e-8)


def another_machine(pack):
    for line in pack.lines:
        line |= {"machine": "Another, 64 cores", "encode_seconds": 9.0, "decode_seconds": 9.0}


def another_build(pack, photos):
    """Give every picture the stream of another effort, as another version of libwebp would."""
    for line in pack.of():
        with Image.open(photos / line["image"]) as image:
            original, sink = np.asarray(image.convert("RGB")), BytesIO()
        quality = int(line["setting_value"])
        Image.fromarray(original).save(sink, "WEBP", quality=quality, method=3)
        pack.keep(line, sink.getvalue())
        decoded = np.asarray(Image.open(BytesIO(sink.getvalue())).convert("RGB"))
        line |= {"decoded_sha256": pixels_sha256(decoded), "psnr_db": psnr(original, decoded)}
        line |= {"ssim": None, "ssim_protocol": None}


def a_metric_not_sent(pack):
    for line in pack.of():
        line |= {"ssim": None, "ssim_protocol": None}


def one_point(pack):
    pack.lines = pack.of(setting_value=60)


def an_earlier_protocol(pack):
    for line in pack.of():
        line |= {"ssim": 0.5, "ssim_protocol": "ssim-of-before"}


def curve_as_printed(pack):
    curve(pack, 0.0, 4)


HONEST = (
    as_measured, pixels_rounded, pixels_of_one_rounded, values_rounded, another_machine,
    another_build, a_metric_not_sent, one_point, an_earlier_protocol, curve_as_printed,
)  # fmt: skip


POINTS = parse_points(["webp.quality=10,30,60,90", "jpeg.quality=10,30,60,90"])
DILUTED = ("webp", "jpeg")


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    sizes = [(48, 64), (64, 48), (56, 56), (40, 72)]
    return noise_images(tmp_path_factory.mktemp("four") / "photos", sizes)


@pytest.fixture(scope="module")
def honest(four, tmp_path_factory):
    """A folder of a pack of WebP and JPEG, of four pictures each."""
    place = tmp_path_factory.mktemp("honest")
    contenders = select(["webp", "jpeg"], POINTS).contenders
    store = measured(Store(place / "set"), four, contenders, ("psnr", "ssim"))
    export_pack(place / "pack", [store], [contender.spec for contender in contenders], ())
    return place / "pack"


@pytest.fixture
def reviewed(honest, four, tmp_path):
    def run(edit, codecs):
        pack = Opened(honest, tmp_path / "pack", codecs)
        edit(*(pack, four)[: len(inspect.signature(edit).parameters)])
        (tmp_path / "into").mkdir()
        request = Request(metrics=("psnr", "ssim"), jobs=1)
        arguments = request, str(four), (), tmp_path / "none", USUAL_RULE, NamedCodecs("all"), quiet
        review = review_supplement(pack.close(), tmp_path / "into", *arguments)
        answers = review_record(review)["answers"]
        verdicts = {answer["name"]: answer["verdict"] for answer in answers}
        wrong = ", ".join(sorted(name for name, verdict in verdicts.items() if verdict == "no"))
        among = "alone" if len(codecs) == 1 else "diluted"
        line = edit.__name__.replace("_", " "), among, str(int(review.wrong)), wrong
        sys.stdout.write(f"\n| {' | '.join(line)} |")
        return review, verdicts

    return run


@pytest.mark.parametrize("codecs", [("webp",), DILUTED], ids=["alone", "diluted"])
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.__name__)
def test_a_doctored_pack_is_contradicted(reviewed, cheat, codecs):
    review, _ = reviewed(cheat, codecs)
    assert review.wrong


@pytest.mark.parametrize("edit", HONEST, ids=lambda edit: edit.__name__)
def test_an_honest_pack_is_not_contradicted(reviewed, edit):
    review, verdicts = reviewed(edit, DILUTED)
    assert not review.wrong, verdicts
    rounding = {"pixels_rounded", "pixels_of_one_rounded", "values_rounded"}
    assert (verdicts["numbers"] == "partly") == (edit.__name__ in rounding)
    # values of another protocol cannot be compared
    assert (verdicts["numbers"] == "unknown") == (edit.__name__ == "an_earlier_protocol")
