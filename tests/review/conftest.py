"""A pack of an author's: two photographs coded by a registered codec, measured for real."""

import shutil
from functools import partial

import pytest

from benchmark.compare.rule import USUAL_RULE
from benchmark.measure.pictures import read_declared
from benchmark.measure.request import Request, parse_points
from benchmark.measure.select import select
from benchmark.review.review import review_supplement
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.contents import export_pack
from benchmark.rows.store import Store
from support.files.noise import noise_images
from support.packs.honest_pack import HONEST, measured, quiet
from support.packs.pictures import measure_declared, pictures_of

POINTS = parse_points(["webp.quality=10,30,60,90", "jpeg.quality=10,30,60,90"])


@pytest.fixture(scope="package")
def photos(tmp_path_factory):
    return noise_images(tmp_path_factory.mktemp("images") / "photos", [(64, 64), (72, 64)])


@pytest.fixture(scope="package")
def author(photos, tmp_path_factory):
    """The results folder of an author, with streams, and a pack of them beside it."""
    place = tmp_path_factory.mktemp("author")
    contenders = select(["webp", "jpeg", HONEST.text], POINTS).contenders
    store = measured(Store(place / "results" / "set"), photos, contenders, ("psnr",))
    for name, specs in (("mine", contenders[:2]), ("code", contenders[2:])):
        export_pack(place / f"{name}.tar", [store], [spec.spec for spec in specs], ())
    return place


@pytest.fixture
def pictures(photos, tmp_path):
    """A folder of a pack of pictures of declared sizes; the author's own are gone."""
    spec = pictures_of(photos, tmp_path / "theirs")
    store = Store(tmp_path / "r" / "set")
    stored = measure_declared(store, photos, spec, "set")
    export_pack(tmp_path / "p", [store], [stored], (), partial(read_declared, spec))
    shutil.rmtree(tmp_path / "theirs")
    return tmp_path / "p"


@pytest.fixture
def reviewed(photos, tmp_path):
    """Reviews a supplement of these photographs; returns its answers by name, the last of each."""

    def run(path, codecs="all", dataset=str(photos), claims=()):
        into = tmp_path / "into"
        into.mkdir()
        request = Request(metrics=("psnr",), jobs=1, data_dir=tmp_path)
        place = tmp_path / "none", USUAL_RULE, NamedCodecs(codecs), quiet
        (tmp_path / "none").mkdir(exist_ok=True)
        return review_supplement(path, into, request, dataset, claims, *place)

    return run


@pytest.fixture
def answers(reviewed):
    return lambda *arguments, **options: {
        answer.name: answer for answer in reviewed(*arguments, **options).answers
    }
