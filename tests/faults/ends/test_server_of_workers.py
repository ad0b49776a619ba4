"""A server of workers: killed, it is one sentence to the command; Ctrl-C is that one's alone."""

from support.processes import in_a_process

SERVER = """
import os, signal
from multiprocessing import forkserver
from benchmark.measure import workers

def server():  # its command line is empty for a moment after it was started
    return forkserver._forkserver._forkserver_pid
"""

# The server stands still while a worker is asked of it, and is then killed.
KILLED_WHILE_IT_STARTS = f"""{SERVER}
import threading
from benchmark.errors import BenchError

workers.worker_context()
os.kill(server(), signal.SIGSTOP)
threading.Timer(0.5, os.kill, (server(), signal.SIGKILL)).start()
try:
    workers.WorkerProcess(print)
except BenchError as error:
    print(type(error).__name__)
"""


def test_a_server_that_is_killed_while_it_starts_a_worker_is_a_sentence():
    assert in_a_process(KILLED_WHILE_IT_STARTS) == "BenchError\n"


# A new server begins for the next worker.
KILLED_BETWEEN_WORKERS = f"""{SERVER}
import sys
workers.worker_context()
os.kill(server(), signal.SIGKILL)
os.waitid(os.P_PID, server(), os.WEXITED | os.WNOWAIT)
os.chdir(sys.argv[1])
print("the worker", workers.WorkerProcess(str).wait_for_end())
"""


def test_a_server_after_a_killed_one_imports_no_file_of_the_current_folder_either(tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit('imported')\n")
    assert in_a_process(KILLED_BETWEEN_WORKERS, tmp_path) == "the worker ended with exit code 0\n"


# Python loads what a server preloads before the server sets its own handlers.
CTRL_C_WHILE_IT_BEGINS = f"""{SERVER}
def ctrl_c_at_once():
    workers.start_server = begin
    begin()
    for one in (server(), os.getpid()):
        os.kill(one, signal.SIGINT)

begin, workers.start_server = workers.start_server, ctrl_c_at_once
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    workers.worker_context()
except KeyboardInterrupt:
    print("interrupted")
print("the worker", workers.WorkerProcess(str).wait_for_end())
"""


def test_ctrl_c_while_the_server_begins_ends_the_command_and_not_the_server():
    reported = in_a_process(CTRL_C_WHILE_IT_BEGINS)
    assert [line.split()[-1] for line in reported.splitlines()] == ["interrupted", "0"]
