"""Photographs to train with, and the handlers of signals that a run takes over."""

import signal

import pytest

from support.training.fixtures import write_photographs


@pytest.fixture
def handlers():
    """A run takes over both signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("data") / "photographs")
