"""A codec's measured results and the packs that they make."""

import pytest

from benchmark.measure.cells import plan
from benchmark.measure.select import select
from benchmark.measure.workbench import Workbench
from benchmark.rows.packs.contents import export_pack
from benchmark.rows.store import Store
from support.codecs.files import conditions, sources_in
from support.files.noise import noise_images
from support.packs.honest_pack import HONEST, NOTES


@pytest.fixture(scope="package")
def photos(tmp_path_factory):
    return noise_images(tmp_path_factory.mktemp("made") / "photos", [(40, 30), (41, 30)])


@pytest.fixture(scope="package")
def sources(photos):
    return sources_in(photos)


@pytest.fixture(scope="package")
def measured(sources, tmp_path_factory):
    """A store with every cell of one codec, coded by the codec itself."""
    store = Store(tmp_path_factory.mktemp("results") / "photos")
    bench, run = Workbench(conditions(metrics=("psnr", "psnr_y"))), conditions().run
    contenders = select([HONEST.text], {}).contenders
    store.begin(run, {"codecs": {HONEST.text: {"licence": "MIT"}}})
    for cell in plan(contenders, "photos", sources):
        done = bench.carry_out(cell)
        store.keep(done.stream)
        store.append([{**done.row, "encode_seconds": 123.0}])
    return store


@pytest.fixture(scope="module", params=["pack", "pack.tar"])
def pack_path(request, measured, tmp_path_factory):
    path = tmp_path_factory.mktemp("packs") / request.param
    assert export_pack(path, [measured], [HONEST], NOTES) == (6, ())
    return path


@pytest.fixture
def folder_pack(measured, tmp_path):
    """One of its own, to spoil."""
    path = tmp_path / "mine"
    export_pack(path, [measured], [HONEST], NOTES)
    return path
