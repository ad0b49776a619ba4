"""What runs on a node, without Ray: what was transferred is used, and a codec dies alone."""

import os
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.codec import CodecInfo, Setting
from benchmark.datasets.dataset import ImageFile, probe
from benchmark.measure.cells import Cell, Rescore
from benchmark.measure.local import Payload
from benchmark.measure.ray.cluster import Cluster, Node, environment
from benchmark.measure.ray.jobs import (
    Job,
    PayloadMaker,
    WorkerHandle,
    WorkQueue,
    needed_codecs,
    only,
)
from benchmark.measure.ray.worker import (
    Hello,
    NeededCodec,
    Worker,
    _serve,
    code_sha256,
    lack,
)
from benchmark.measure.score import Scorer, Scores
from benchmark.measure.workbench import Delivered, Workbench
from benchmark.measure.workers import WorkerProcess
from benchmark.registry import metric_class
from benchmark.rows.features import FeatureFolder, ImageFeatures
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, load_codec, parse_codec
from support.codecs.files import CODECS, FAKES, HERE, MINE, cells, conditions, sources_in, stable
from support.files.noise import noise_images
from support.processes import running, until

PACK = HERE.parents[2] / "results" / "packs" / "vtm-23.13.tar"
NOWHERE = Path("not on this machine")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = noise_images(tmp_path_factory.mktemp("images") / "one", [(50, 40)])
    return sources_in(folder)[0]


def sent(worker, task, **more):
    """Have a worker carry out a task as a node without shared storage gets it."""
    file = ImageFile(task.source.file.name, NOWHERE / "a.png")
    image = np.frombuffer(task.source.file.path.read_bytes(), np.uint8)
    gone = task._replace(source=task.source._replace(file=file))
    return worker.work(Payload(gone, Delivered(**more)), image)


@pytest.fixture
def hire():
    workers = []

    def make(files=(), environment=None, **changes):
        shipped = {str(path): Path(path).read_bytes() for path in files}
        worker = Worker(conditions(**changes), shipped, environment or {}, code_sha256())
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        if worker._process is not None:
            worker._process.end(busy=False)


def test_a_worker_that_sees_no_file_of_the_driver_gives_the_drivers_rows(source, hire):
    worker, bench = hire([FAKES]), Workbench(conditions())
    for cell in cells(f"{FAKES}:Honest", [source]):
        there, expected = sent(worker, cell), bench.carry_out(cell)
        assert stable(there.row) == stable(expected.row)
        assert there.stream == expected.stream
        assert there.row["machine"] != "driver", "a row names the machine that measured it"


def test_a_codecs_crash_is_a_failed_row_and_the_next_process_gets_the_image_again(source, hire):
    worker, with_image = hire([FAKES]), []
    ask = worker._ask
    worker._ask = lambda order: (with_image.append(order.delivered.image is not None), ask(order))[
        1
    ]
    outcomes = [sent(worker, cell) for cell in cells(f"{FAKES}:Segfaults", [source])]
    assert [outcome.row["status"] for outcome in outcomes] == ["ok", "failed", "ok"]
    assert outcomes[1].row["stage"] == "worker"
    assert outcomes[1].row["reason"].endswith("was killed by SIGSEGV")
    assert with_image == [True, False, True]


METRIC = """
class Sum:
    column, label, better, protocol = 'total', 'Sum', 'lower', 'sum/1'
    def prepare(self, reference):
        return 0
    def compare(self, prepared, decoded):
        return int(decoded.sum())
"""


def test_a_users_file_is_the_shipped_one_even_where_another_lies_in_its_place(
    source, hire, tmp_path
):
    path = tmp_path / "mine.py"
    path.write_text(FAKES.read_text() + METRIC)
    metrics = (f"{path}:Sum",)
    (cell, *_) = cells(f"{path}:Honest", [source])
    expected = Workbench(conditions(metrics=metrics)).carry_out(cell).row
    worker = hire([path], metrics=metrics)
    path.write_text("raise RuntimeError('the file of the node')")
    row = sent(worker, cell).row
    assert (row["status"], row["codec"]) == ("ok", f"{path}:Honest")
    assert row["total"] == expected["total"] > 0
    assert row["total_protocol"] == expected["total_protocol"]


def test_an_endless_cell_is_given_up_and_the_worker_continues(source, hire):
    worker = hire([MINE], timeout_seconds=1.0)
    first, second = cells(f"{MINE}:Endless", [source])
    given_up = sent(worker, second).row
    assert (given_up["stage"], given_up["reason"]) == ("encode", "no result after 1 s (--timeout)")
    assert sent(worker, first).row["status"] == "ok"


def test_a_users_file_that_was_not_shipped_is_one_sentence(tmp_path):
    path = tmp_path / "mine.py"
    spec = CodecSpec(f"{path}:Honest", ())
    assert lack(NeededCodec(spec, None)) == f"no file {path}"


def test_variables_of_the_driver_reach_the_codec_and_what_is_missing_is_told(source, hire):
    spec = parse_codec(f"{CODECS}:OnlyThere")
    assert hire([CODECS])._ask(NeededCodec(spec, None)) == ""
    reason = hire([CODECS], {"BENCH_ON_A_NODE": "1"})._ask(NeededCodec(spec, None))
    assert reason == "the program 'nonesuch' is not on the PATH: install it"


def test_the_variables_that_travel_are_those_of_the_harness(monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", "/w")
    monkeypatch.setenv("VTM_DIR", "/v")
    monkeypatch.setenv("SOMEBODYS_SECRET", "s")
    variables = environment()
    assert (variables["BENCH_WEIGHTS"], variables["VTM_DIR"]) == ("/w", "/v")
    assert "SOMEBODYS_SECRET" not in variables
    assert "PATH" not in variables


def test_another_program_than_the_drivers_is_not_measured_under_its_name(tmp_path):
    spec = parse_codec(f"{CODECS}:Another")
    there = CodecInfo("build 1", "encode", "MIT", "1" * 64, 1, "a call")
    reason = lack(NeededCodec(spec, there))
    assert f"build {os.getpid()}" in reason
    assert reason.endswith("instead of build 1 (11111111, cpu)")
    same = replace(there, fingerprint=f"{os.getpid():064d}")
    assert not lack(NeededCodec(spec, same))


def test_a_codec_that_cannot_see_all_that_it_runs_is_no_other_build_on_a_node():
    spec = parse_codec("command:encode=sh -c 'cp $0 $1' {in} {out}:decode=cp {in} {out}:values=1")
    assert not lack(NeededCodec(spec, load_codec(spec).describe()))


def test_a_stream_of_a_pack_travels_with_its_cell(hire):
    from benchmark.datasets.sample import open_sample

    (result, *_) = probe(open_sample([]).images[:1], False, 1)
    pack = open_pack(PACK)
    spec = next(iter(pack.infos))
    cell = Cell(spec, pack.infos[spec], Setting("qp", 47), "sample", result, PACK)
    part = only(pack, cell)
    assert len(part.streams) == 1
    there = sent(hire(), cell._replace(pack=NOWHERE / "vtm.tar"), pack=part)
    here = Workbench(conditions()).carry_out(cell)
    assert here.row["status"] == "ok"
    assert stable(there.row) == stable(here.row)
    assert there.row["encode_seconds"] == here.row["encode_seconds"], "as recorded"
    assert there.stream == here.stream


def test_a_row_is_scored_again_from_the_stream_that_came_along(source, hire, tmp_path):
    store = Store(tmp_path / "store")
    (cell, *_) = cells(f"{FAKES}:Honest", [source])
    measured = Workbench(conditions(metrics=())).carry_out(cell)
    store.keep(measured.stream)
    task = Rescore(measured.row, source, ("psnr",), store.folder)
    again = sent(hire([FAKES]), task._replace(folder=NOWHERE), stream=measured.stream)
    expected = Workbench(conditions()).carry_out(task)
    assert stable(again.row) == stable(expected.row)
    assert again.row["psnr_db"] > 0


def test_features_that_the_driver_has_are_not_computed_again(source, tmp_path, monkeypatch):
    (cell, *_) = cells("jpeg", [source])
    of_driver = conditions(metrics=("inception256",), folder=tmp_path)
    protocol = metric_class("inception256").protocol
    driver = PayloadMaker(SimpleNamespace(put=bytes), [cell], of_driver)
    assert driver.payload(cell)[0].delivered.kept == frozenset()
    FeatureFolder(tmp_path).keep(ImageFeatures(protocol, source.sha256, np.zeros((1, 2))))
    delivered = driver.payload(cell)[0].delivered
    asked = []
    monkeypatch.setattr(Scorer, "score", lambda *args: asked.append(args[-1]) or Scores({}))
    bench = Workbench(conditions(folder=NOWHERE))
    bench.carry_out(cell)
    bench.carry_out(cell, delivered=delivered)
    keys = (protocol, source.sha256), ("alex/1", source.sha256), (protocol, "ab")
    result = [[is_kept(*key) for key in keys] for is_kept in asked]
    assert result == [[False, False, False], [True, False, False]]


def test_when_the_worker_is_gone_its_process_and_the_program_that_it_runs_end(source, hire):
    sleeping = f"sleep 90.{os.getpid()}"
    codec = rf"command:encode=sh -c '{sleeping}' {{in}} {{out}}:decode=cp {{in}} {{out}}:values=1"
    (cell,) = cells(codec, [source])
    process = WorkerProcess(_serve, conditions(), {})
    process.connection.send(Payload(cell, Delivered(source.file.path.read_bytes())))
    assert until(lambda: running(f"^{sleeping}"), 120)
    process.connection.close()  # as where Ray kills the worker
    assert until(lambda: not running(f"^{sleeping}")), "the program outlived its worker"


def worker(queue, node, *lacks):
    hello = Hello(node, node, "machine", "", dict.fromkeys(map(parse_codec, lacks), "why"))
    return WorkerHandle(queue, None, None, hello)


def job(source, codec="jpeg"):
    info = CodecInfo("1", "call", "MIT", "ab" * 32, 1, "one call")
    return Job(Cell(parse_codec(codec), info, Setting("quality", 10), "test", source), False)


def test_a_job_goes_to_another_node_than_the_one_that_was_lost_over_it_while_there_is_one(source):
    queue = WorkQueue("cpu", 3, {})
    same, neighbour, other = worker(queue, "a"), worker(queue, "a"), worker(queue, "b")
    lost = job(source)
    lost.lost_on.append(same.hello)
    queue.back([lost])
    assert queue.next(same, [same, neighbour, other]) is None
    assert queue.next(neighbour, [same, neighbour, other]) is None
    assert queue.next(other, [same, neighbour, other]) is lost
    queue.back([lost])
    assert queue.next(neighbour, [same, neighbour]) is lost, "there is no other node left"
    queue.back([lost])
    unfit = worker(queue, "b", "jpeg")
    assert queue.next(same, [same, unfit]) is lost, "the other node lacks the codec"


def test_a_worker_takes_what_its_node_can_run_and_leaves_the_rest_of_the_bundle(source):
    queue = WorkQueue("cpu", 2, {})
    first, second, third = job(source, "webp"), job(source, "jpeg"), job(source, "webp")
    queue.waiting.append(deque([first, second, third]))
    without = worker(queue, "a", "jpeg")
    assert [queue.next(without, [without]) for _ in range(3)] == [first, third, None]
    other = worker(queue, "b")
    assert queue.next(other, [without, other]) is second


def test_a_codec_whose_streams_are_all_recorded_is_asked_for_its_decoder_alone(source):
    encoded, recorded = job(source, "jpeg").task, job(source, "vtm").task
    asked = needed_codecs([encoded, recorded._replace(pack=PACK)])
    assert [(codec.spec.name, codec.info is None) for codec in asked] == [
        ("jpeg", False),
        ("vtm", True),
    ]


def test_workers_on_gpus_do_not_span_nodes_nor_share_what_is_left_of_two():
    nodes = Cluster((Node("a", 4, 2), Node("b", 4, 3), Node("c", 16, 0)))
    assert nodes.cpus == 24
    assert [nodes.gpu_workers(share) for share in (0.3, 0.5, 1, 2, 4)] == [15, 10, 5, 2, 0]
