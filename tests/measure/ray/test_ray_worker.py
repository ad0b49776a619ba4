"""Work of a node, without Ray: transferred files are used, and a codec's death loses one cell."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.codec import CodecInfo, Setting
from benchmark.datasets.dataset import ImageFile, probe
from benchmark.measure import node
from benchmark.measure.cells import Cell, Rescore
from benchmark.measure.node import MissingOnNode, NodeBench, NodeRun, execute_on_node, open_process
from benchmark.measure.ray import pack_task, variables
from benchmark.measure.workbench import Workbench
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.store import Store
from benchmark.spec import load_codec
from benchmark.system.digest import code_sha256
from support.codecs.files import CODECS, FAKES, HERE, MINE, cells, conditions, sources_in, stable
from support.files.noise import noise_images
from support.processes import running, until

PACK = HERE.parents[2] / "results" / "packs" / "vtm-23.13.tar"
NOWHERE = Path("not on this machine")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return sources_in(noise_images(tmp_path_factory.mktemp("images") / "one", [(50, 40)]))[0]


def run_of(files=(), environment=None, **changes):
    shipped = {str(path): Path(path).read_bytes() for path in files}
    return NodeRun(conditions(**changes), shipped, environment or {}, code_sha256())


@pytest.fixture(autouse=True)
def _end_of_process():
    yield
    while node._PROCESSES:
        node._PROCESSES.pop()[2].end(busy=False)


def execute_remotely(run, task, stream=None):
    """Execute a task as a node without shared storage does."""
    file = ImageFile(task.source.file.name, NOWHERE / "a.png")
    remote_task = task._replace(source=task.source._replace(file=file))
    return execute_on_node(run, remote_task, task.source.file.path.read_bytes(), stream)


def test_a_worker_that_sees_no_file_of_the_driver_gives_the_drivers_rows(source):
    run, bench = run_of([FAKES]), Workbench(conditions())
    for cell in cells(f"{FAKES}:Honest", [source]):
        outcome, expected = execute_remotely(run, cell), bench.carry_out(cell)
        assert stable(outcome.row) == stable(expected.row)
        assert outcome.stream == expected.stream
        assert outcome.row["machine"] != "driver", "a row names the machine that measured it"


METRIC = """
class Sum:
    column, label, better, protocol = 'total', 'Sum', 'lower', 'sum/1'
    def prepare(self, reference):
        return 0
    def compare(self, prepared, decoded):
        return int(decoded.sum())
"""


def test_the_transferred_file_is_used_and_one_that_was_not_shipped_is_named(source, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FAKES.read_text() + METRIC)
    metrics = (f"{path}:Sum",)
    (cell, *_) = cells(f"{path}:Honest", [source])
    expected = Workbench(conditions(metrics=metrics)).carry_out(cell).row
    run = run_of([path], metrics=metrics)
    path.write_text("raise RuntimeError('the file of the node')")
    row = execute_remotely(run, cell).row
    assert (row["status"], row["codec"]) == ("ok", f"{path}:Honest")
    assert row["total"] == expected["total"] > 0
    assert row["total_protocol"] == expected["total_protocol"]
    path.unlink()
    failed = execute_remotely(run_of(), cell)
    assert (failed.stage, str(path) in failed.reason) == ("load", True)


def test_an_endless_cell_is_given_up_and_the_worker_continues(source):
    run = run_of([MINE], timeout_seconds=1.0)
    first, second = cells(f"{MINE}:Endless", [source])
    row = execute_remotely(run, second).row
    assert (row["stage"], "--timeout" in row["reason"]) == ("encode", True)
    assert execute_remotely(run, first).row["status"] == "ok"


def test_variables_of_the_driver_reach_the_codec_and_missing_programs_are_reported(source):
    (cell, *_) = cells(f"{CODECS}:OnlyThere", [source])
    assert execute_remotely(run_of([CODECS]), cell).row["status"] == "ok"
    outcome = execute_remotely(run_of([CODECS], {"BENCH_ON_A_NODE": "1"}), cell)
    assert isinstance(outcome, MissingOnNode)
    assert (outcome.stage, "'nonesuch'" in outcome.reason) == ("load", True)


def test_the_variables_that_travel_are_those_of_the_harness(monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", "/w")
    monkeypatch.setenv("VTM_DIR", "/v")
    monkeypatch.setenv("SOMEBODYS_SECRET", "s")
    sent_variables = variables("cpu")
    assert (sent_variables["BENCH_WEIGHTS"], sent_variables["VTM_DIR"]) == ("/w", "/v")
    assert sent_variables["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in variables("cuda"), "Ray chooses the GPU"
    assert not {"SOMEBODYS_SECRET", "PATH"} & sent_variables.keys()


def test_a_program_that_differs_from_the_drivers_is_not_measured(source):
    (cell, *_) = cells(f"{CODECS}:Another", [source])
    info = CodecInfo("build 1", "encode", "MIT", "1" * 64, 1, "a call")
    outcome = NodeBench(conditions()).carry_out(cell._replace(info=info))
    assert outcome.stage == "load"
    assert f": build {os.getpid()}" in outcome.reason
    assert outcome.reason.endswith(" build 1 (11111111, cpu)")
    matching_cell = cell._replace(info=replace(info, fingerprint=f"{os.getpid():064d}"))
    assert NodeBench(conditions()).carry_out(matching_cell).row["status"] == "ok"
    codec = "command:encode=sh -c 'cp $0 $1' {in} {out}:decode=cp {in} {out}:values=1"
    (cell,) = cells(codec, [source])
    assert cell.info.fingerprint != load_codec(cell.codec).describe().fingerprint
    assert NodeBench(conditions()).carry_out(cell).row["status"] == "ok"


def test_a_stream_of_a_pack_travels_with_its_cell():
    from benchmark.datasets.kodak import open_sample

    (result, *_) = probe(open_sample([]).images[:1], False, 1)
    pack = open_pack(PACK)
    spec = next(iter(pack.infos))
    cell = Cell(spec, pack.infos[spec], Setting("qp", 47), "sample", result, PACK)
    packed_cell, stream = pack_task(cell)
    assert (len(packed_cell.pack.rows), stream) == (1, None)
    outcome = execute_remotely(run_of(), packed_cell)
    expected = Workbench(conditions()).carry_out(cell)
    assert expected.row["status"] == "ok"
    assert stable(outcome.row) == stable(expected.row)
    assert outcome.row["encode_seconds"] == expected.row["encode_seconds"], "as recorded"
    assert outcome.stream == expected.stream


def test_a_row_is_scored_again_from_the_stream_that_came_along(source, tmp_path):
    store = Store(tmp_path / "store")
    (cell, *_) = cells(f"{FAKES}:Honest", [source])
    measured = Workbench(conditions(metrics=())).carry_out(cell)
    store.keep(measured.stream)
    task = Rescore(measured.row, source, ("psnr",), store.folder)
    assert pack_task(task) == (task, measured.stream)
    outcome = execute_remotely(run_of([FAKES]), task._replace(folder=NOWHERE), measured.stream)
    assert stable(outcome.row) == stable(Workbench(conditions()).carry_out(task).row)
    assert outcome.row["psnr_db"] > 0
    lost = execute_remotely(run_of([FAKES]), task._replace(folder=NOWHERE))
    assert (lost.stage, "stream" in lost.reason) == ("load", True)
    assert not isinstance(lost, MissingOnNode)


def test_when_the_worker_is_gone_its_process_and_the_program_that_it_runs_end(source):
    sleeping = f"sleep 90.{os.getpid()}"
    codec = rf"command:encode=sh -c '{sleeping}' {{in}} {{out}}:decode=cp {{in}} {{out}}:values=1"
    (cell,) = cells(codec, [source])
    process = open_process(run_of())
    process.connection.send(cell)
    assert until(lambda: running(f"^{sleeping}"), 120)
    process.connection.close()  # as if Ray had killed the worker
    node._PROCESSES.clear()
    assert until(lambda: not running(f"^{sleeping}")), "the program outlived its worker"
