"""tools/pip_progress.sh shows how far pip is, on a terminal and in a file."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress

from support.checkout import ROOT, of_pip
from support.processes import until


def run_progress(lines, site, terminal):
    """What tools/pip_progress.sh writes while 12 packages are unpacked after these lines of pip."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [ROOT / "tools" / "pip_progress.sh", "12", site], stdin=subprocess.PIPE, stdout=theirs
    )
    os.close(theirs)
    # The last line is read when all before it have been taken.
    process.stdin.write("\n".join([*lines, "", ""]).encode())
    process.stdin.flush()
    assert until(lambda: _unread(process.stdin) == 0, 60)
    for number in range(12):
        (site / f"p{number}.dist-info").mkdir()
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    said = b""
    with suppress(OSError):  # how a terminal's end is told
        while more := os.read(ours, 100_000):
            said += more
    os.close(ours)
    return said.decode()


def _unread(pipe):
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return count


def test_on_a_terminal_the_progress_is_one_line_that_is_rewritten(tmp_path):
    said = run_progress(of_pip(12, unpack=True)[:-1], tmp_path, terminal=True)
    first, *states, last = said.split("\r\x1b[K")
    assert first == last == ""
    assert "\n" not in said
    assert all(len(state) <= 78 for state in states)
    assert re.fullmatch(r"  package 7 of 12: p7-1\.7, 1\.5 MB, \d+ s", states[14])
    assert any(re.fullmatch(r"  unpacking: package 12 of 12, \d+ s", state) for state in states)


def test_unpacking_is_counted_by_what_is_there(tmp_path):
    said = run_progress(of_pip(12, unpack=True)[:-1], tmp_path, terminal=False).splitlines()
    assert re.fullmatch(r"  package 10 of 12: p10-1\.10, 1\.5 MB, \d+ s", said[0])
    assert re.fullmatch(r"  unpacking: package 12 of 12, \d+ s", said[-1])


def test_sizes_of_pip_are_added_up_and_local_wheels_named(tmp_path):
    lines = [
        "Processing /wheels/torch-2.13.0+cpu-cp311-cp311-linux.whl (from -r a.lock (line 3))",
        "Collecting a==1 (from -r a.lock (line 1))",
        "  Downloading a-1-py3-none-any.whl (12.9 MB)",
        "Collecting b==2 (from -r a.lock (line 2))",
        "  Downloading https://files.test/b-2-py2.py3-none-any.whl (999 kB)",
        "Collecting c==3 (from -r a.lock (line 3))",
        "  Using cached c-3-py3-none-any.whl (55.0 MB)",
        "Collecting d==4 (from -r a.lock (line 4))",
        "  Downloading d-4-py3-none-any.whl (873 bytes)",
        "Successfully installed a b c d torch",
    ]
    done = subprocess.run(
        [ROOT / "tools" / "pip_progress.sh", "5", tmp_path],
        input="\n".join([*lines, ""]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"  5 of 5 packages, 13 MB downloaded, \d+ s\n", done.stdout)
