"""A server of workers that is killed is one sentence to the command that was using it."""

from support.faults.ledger import tell
from support.processes import in_a_process

# The server stands still while a worker is asked of it, and is then killed.
KILLED_WHILE_IT_STARTS = """
import os, pathlib, signal, threading
from benchmark.errors import BenchError
from benchmark.measure.engine.worker_context import start_worker, worker_context
from benchmark.system.process_tree import descendants

context = worker_context()
below = [one.process_id for one in descendants(os.getpid())]
told = {one: pathlib.Path(f"/proc/{one}/cmdline").read_text() for one in below}
(server,) = (one for one in below if "forkserver" in told[one])
os.kill(server, signal.SIGSTOP)
threading.Timer(0.5, os.kill, (server, signal.SIGKILL)).start()
try:
    start_worker(context.Process(target=print))
except BenchError as error:
    print(error)
"""


def test_a_server_that_is_killed_while_it_starts_a_worker_is_a_sentence(record_property):
    told = in_a_process(KILLED_WHILE_IT_STARTS)
    tell(record_property, "the server of workers killed", 1, 1, not told)
    assert told.startswith("the server that starts workers was killed; what was finished is kept")
