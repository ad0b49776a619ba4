"""No doctored pack passes a review, alone or among honest rows; every honest one does.

With `-s`, the table of packs, exit codes and questions that were answered by no.
"""

import inspect
import sys

import pytest

from benchmark.compare.rule import USUAL_RULE
from benchmark.measure.request import Request, parse_points
from benchmark.measure.select import select
from benchmark.review.review import review_record, review_supplement
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.contents import export_pack
from benchmark.rows.store import Store
from support.files.noise import noise_images
from support.packs.doctored import CHEATS, HONEST, Opened
from support.packs.honest_pack import measured, quiet

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
