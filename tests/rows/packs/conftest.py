"""A codec's measured results, and packs of them."""

from functools import partial

import pytest

from benchmark.measure.cells import plan
from benchmark.measure.pictures import read_declared
from benchmark.measure.select import select
from benchmark.measure.workbench import Workbench
from benchmark.rows.packs.contents import export_pack
from benchmark.rows.store import Store
from support.codecs.files import conditions, sources_in
from support.files.noise import noise_images
from support.packs.honest_pack import HONEST, NOTES
from support.packs.pictures import measure_declared, pictures_of


@pytest.fixture(scope="package")
def photos(tmp_path_factory):
    return noise_images(tmp_path_factory.mktemp("made") / "photos", [(40, 30), (41, 30)])


@pytest.fixture(scope="package")
def sources(photos):
    return sources_in(photos)


@pytest.fixture(scope="package")
def measured_store(sources, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("results") / "photos")
    bench, run = Workbench(conditions(metrics=("psnr", "psnr_y"))), conditions().run
    store.write_record(run, {"codecs": {HONEST.text: {"licence": "MIT"}}})
    for cell in plan(select([HONEST.text], {}).contenders, "photos", sources):
        result = bench.carry_out(cell)
        store.keep(result.stream)
        store.append([{**result.row, "encode_seconds": 123.0}])
    return store


@pytest.fixture(scope="package")
def pack_path(measured_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("packs") / "pack.tar"
    assert export_pack(path, [measured_store], [HONEST], NOTES) == (6, 0, ())
    return path


@pytest.fixture(scope="package")
def declared_results(photos, tmp_path_factory):
    """A results folder with rows of pictures of declared sizes, and the spec of their codec."""
    place = tmp_path_factory.mktemp("theirs")
    spec = pictures_of(photos, place / "pictures")
    return place / "r", measure_declared(Store(place / "r" / "photos"), photos, spec)


@pytest.fixture
def picture_pack(declared_results, tmp_path):
    results, spec = declared_results
    read = partial(read_declared, spec.text)
    path = tmp_path / "theirs"
    assert export_pack(path, [Store(results / "photos")], [spec], NOTES, read) == (0, 8, ())
    return path


@pytest.fixture
def folder_pack(measured_store, tmp_path):
    path = tmp_path / "mine"
    export_pack(path, [measured_store], [HONEST], NOTES)
    return path
