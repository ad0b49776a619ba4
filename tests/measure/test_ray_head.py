"""The head of a cluster is lost when nothing answers at its address for a while, and no sooner."""

import socket
import subprocess
import sys
from threading import Event

import pytest

from benchmark.measure import node
from benchmark.measure.node import watch_head
from benchmark.measure.ray import HeadLost, while_answered


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def watched(monkeypatch):
    """Watch an address; return the event that is set when its head is lost."""
    monkeypatch.setattr(node, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(node, "LOST_SECONDS", 0.5)
    ended = Event()

    def watch(address):
        lost = Event()
        watch_head(address, ended, lost.set, 0.05)
        return lost

    yield watch
    ended.set()


def test_a_head_that_answers_is_there_and_one_that_does_not_is_lost_after_a_while(
    listening, watched
):
    server, address = listening
    lost = watched(address)
    assert not lost.wait(1)
    server.close()
    assert not lost.wait(0.3), "one question without an answer is not enough"
    assert lost.wait(10)


def test_a_head_that_comes_back_is_not_lost(listening, watched):
    server, address = listening
    lost = watched(address)
    server.close()
    assert not lost.wait(0.2)
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        assert not lost.wait(1)


def test_work_that_waits_for_a_lost_head_is_left_alone_and_other_work_is_done(
    listening, monkeypatch
):
    server, address = listening
    monkeypatch.setattr(node, "LOST_SECONDS", 0.2)
    assert list(while_answered(address, lambda ended: iter([None, 3]))) == [None, 3]
    with pytest.raises(KeyError, match="x"):
        next(while_answered(address, lambda ended: {}["x"]))
    server.close()
    with pytest.raises(HeadLost, match=f"the head of the Ray cluster at {address} is lost: start"):
        list(while_answered(address, lambda ended: iter(Event().wait, None)))


def test_a_worker_ends_with_its_head(listening):
    server, address = listening
    script = f"""
import time
from benchmark.measure import node
node.LOST_SECONDS = node.RETRY_SECONDS = node.KNOCK_EVERY_SECONDS = 0.1
node.end_with_head({address!r})
print("watching", flush=True)
time.sleep(300)
"""
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with worker:
        assert worker.stdout.readline() == b"watching\n"
        assert worker.poll() is None
        server.close()
        assert worker.wait(60) == 1
