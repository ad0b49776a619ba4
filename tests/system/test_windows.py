"""`bench` without what Windows lacks: stored results are read, nothing is measured."""

import sys

import pytest

from support.processes import ran
from support.rows.bundled_results import bundled_results

REPORT = "report --dataset sample --results STORED --out report"
WITHOUT = """
import concurrent.futures, ctypes, logging.handlers, multiprocessing.connection, os, pathlib, pty
import selectors, shutil, signal, ssl, subprocess, sys, tarfile, tempfile, urllib.request
import multiprocessing.forkserver, multiprocessing.util, webbrowser, zipfile
import matplotlib.font_manager, numpy, pandas, PIL.Image, polars, rich.console, typer
matplotlib.font_manager.findSystemFonts = list  # Windows asks its registry, which is not here
sys.platform = "win32"
sys.modules |= dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios", "pty"))
for name in "fork killpg setpgid getuid register_at_fork mkfifo sysconf sched_getaffinity".split():
    delattr(os, name)
for name in "SIGHUP SIGKILL SIGXFSZ pthread_sigmask".split():
    delattr(signal, name)
os.O_BINARY = 0
from benchmark.__main__ import main
main()
"""


@pytest.mark.parametrize(("command", "code", "message"), [
    ("run --codecs jpeg", 2, "Linux or macOS"),
    ("rank --dataset sample --at bpp=.3 --results STORED", 0, "jpeg"),
    pytest.param(REPORT, 0, "report.md", marks=pytest.mark.slow),
    pytest.param("list", 0, "jpeg", marks=pytest.mark.slow),
    pytest.param("doctor", 0, "unknown", marks=pytest.mark.slow),
])  # fmt: skip
def test_windows_reads_stored_results_and_says_what_it_cannot(tmp_path, command, code, message):
    words = command.replace("STORED", str(bundled_results())).split()
    process = ran(sys.executable, "-c", WITHOUT, *words, folder=tmp_path)
    assert process.returncode == code, process.stderr
    assert message in process.stdout + process.stderr
    assert "Traceback" not in process.stderr
