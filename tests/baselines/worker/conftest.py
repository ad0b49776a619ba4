"""A worker that copies the picture."""

from pathlib import Path

import pytest

from baselines.worker.codec import Worker
from support.codecs.copying_worker import contender


@pytest.fixture
def worker(tmp_path: Path):
    result = Worker(file=str(contender(tmp_path)))
    yield result
    result.close()
