"""The head of a cluster is lost when nothing answers at its address for a while, and no sooner."""

import socket
import subprocess
import sys
from threading import Event

import pytest

from benchmark.measure.ray import cluster as ray_head
from benchmark.measure.ray.cluster import Head, HeadLost, while_answered
from support.processes import until


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, f"127.0.0.1:{server.getsockname()[1]}"


def test_a_head_that_answers_is_there_and_one_that_does_not_is_lost_after_a_while(
    listening, monkeypatch
):
    server, address = listening
    monkeypatch.setattr(ray_head, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(ray_head, "LOST_SECONDS", 0.5)
    head = Head(address, 0.05)
    assert not until(head.is_lost, 1)
    server.close()
    reported = []
    assert until(lambda: reported.append(head.is_lost()) or reported[-1])
    assert len(reported) > 2, "one question without an answer is not enough"


def test_a_head_that_comes_back_is_not_lost(listening, monkeypatch):
    server, address = listening
    monkeypatch.setattr(ray_head, "RETRY_SECONDS", 0.0)
    head = Head(address, 0.0)
    port = server.getsockname()[1]
    server.close()
    assert not head.is_lost()
    assert head._silent_since is not None
    with socket.create_server(("127.0.0.1", port)):
        assert not head.is_lost()
        assert head._silent_since is None


def test_a_call_that_waits_for_a_lost_head_is_left_alone_and_others_return(listening, monkeypatch):
    server, address = listening
    monkeypatch.setattr(ray_head, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(ray_head, "LOST_SECONDS", 0.2)
    assert while_answered(Head(address), lambda: 3) == 3
    with pytest.raises(KeyError, match="x"):
        while_answered(Head(address), lambda: {}["x"])
    server.close()
    with pytest.raises(HeadLost, match=f"the head of the Ray cluster at {address} is lost: start"):
        while_answered(Head(address, 0.05), Event().wait)


def test_a_worker_ends_with_its_head(listening):
    server, address = listening
    script = f"""
import time
from benchmark.measure.ray import cluster as ray_head
ray_head.LOST_SECONDS = ray_head.RETRY_SECONDS = 0.1
ray_head.end_with_head(ray_head.Head({address!r}))
print("watching", flush=True)
time.sleep(300)
"""
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with worker:
        assert worker.stdout.readline() == b"watching\n"
        assert worker.poll() is None
        server.close()
        assert worker.wait(60) == -9
