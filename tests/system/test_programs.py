"""Programs that end, fail, hang, fork, flood and ignore their input: nothing outlives the call."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmark.errors import ProgramFailed, Unavailable, UsageError
from benchmark.system import programs as external
from benchmark.system.atomic import private_folder
from benchmark.system.machine import package_folder
from benchmark.system.programs import find_program, read_output_file, run_program
from benchmark.system.settings import program_folders
from conftest import ROOT
from support.processes import is_running, until


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def ended(process_id: int) -> bool:
    """SIGKILL is delivered at once but carried out a little later."""
    return until(lambda: not is_running(process_id), 2)


def test_a_program_gets_its_input_and_folder_and_its_output_is_returned_as_bytes(tmp_path):
    assert run_program(["printf", r"a\0b\n"], timeout_seconds=300) == b"a\0b\n"
    sent = os.urandom(300_000)  # more than a pipe holds
    assert run_program(["cat"], timeout_seconds=300, stdin=sent) == sent
    script = shell("echo out; echo err >&2")
    assert run_program(script, timeout_seconds=300) == b"out\n"
    assert run_program(script, timeout_seconds=300, include_stderr=True) == b"out\nerr\n"
    reported = run_program(["pwd", "-P"], timeout_seconds=300, folder=tmp_path)
    assert Path(reported.decode().strip()) == tmp_path.resolve()


LONG = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done >&2; exit 1"


@pytest.mark.parametrize(("command", "message"), [
    (shell("echo no such luck >&2; exit 3"), "^sh .* exit code 3; .*: no"),
    (shell("kill -11 $$"), "^sh .* SIGSEGV$"),
    (shell("kill -40 $$"), "^sh .* 40$"),
    (shell(LONG), "line 1999$"),
    (["/nowhere/nothing"], "^nothing .*: No such"),
    (["/etc/passwd"], "^passwd .*: Permission denied"),
])  # fmt: skip
def test_a_program_that_fails_is_named_with_the_end_of_what_it_said(command, message):
    with pytest.raises(ProgramFailed, match=message) as caught:
        run_program(command, timeout_seconds=300)
    assert len(str(caught.value)) <= external.MAX_STDERR_CHARACTERS + 100


@pytest.mark.parametrize("command", [shell("exec yes >&2"), ["yes"]])
def test_endless_output_ends_at_the_largest_file(command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(external, "MAX_FILE_BYTES", 1 << 20)
    with pytest.raises(ProgramFailed, match=" 1048576 bytes"):
        run_program(command, timeout_seconds=300)


def test_a_timeout_ends_the_whole_group_and_keeps_what_was_said(tmp_path):
    """The grandchild is in the background of a child that is in the background of the program."""
    note = tmp_path / "grandchild"
    script = f"echo begun >&2; sh -c 'sleep 300 & echo $! > {note}; wait' & wait"
    with pytest.raises(ProgramFailed, match=r"^sh .* 0\.5 s; .*: begun$"):
        run_program(shell(script), timeout_seconds=0.5)
    assert ended(int(note.read_text()))
    with pytest.raises(ProgramFailed, match=r"^sh .* 0\.5 s"):
        run_program(shell("trap '' TERM INT HUP; while :; do sleep 1; done"), timeout_seconds=0.5)


def test_a_child_that_left_the_group_is_ended_with_what_it_began_and_no_other_is(tmp_path: Path):
    notes = [tmp_path / "daemon", tmp_path / "child"]
    inner = f"echo $$ > {notes[0]}; sleep 300 & echo $! > {notes[1]}; wait"
    script = f"(env -i setsid sh -c '{inner}' &); while [ ! -s {notes[1]} ]; do sleep .01; done"
    bystander = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        run_program(shell(script), timeout_seconds=60)
        assert all(ended(int(note.read_text())) for note in notes)
        assert is_running(bystander.pid)
    finally:
        bystander.kill()
        bystander.wait()


def test_no_temporary_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_program(["echo", "done"], timeout_seconds=300)
    with pytest.raises(ProgramFailed):
        run_program(["false"], timeout_seconds=300)
    with private_folder() as folder:
        (folder / "below").mkdir()
        (folder / "below" / "file").write_text("anything")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_found_by_name_by_path_and_in_the_users_folder_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("MINE_DIR", raising=False)
    assert program_folders("MINE_DIR") == []
    program = tmp_path / "bin" / "sh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_program("sh", "install it") != program
    assert find_program(str(program), "install it") == program
    with pytest.raises(Unavailable, match=r"'no-such-program' .*: install it$"):
        find_program("no-such-program", "install it")
    monkeypatch.setenv("MINE_DIR", str(tmp_path))
    assert find_program("sh", "install it", program_folders("MINE_DIR")) == program
    with pytest.raises(UsageError, match=f"{tmp_path} .* 'env': .*; build it$"):  # as on the PATH
        find_program("env", "build it", program_folders("MINE_DIR"))
    with pytest.raises(Unavailable, match="'no_such_package'"):
        package_folder("no_such_package")


def test_only_exit_codes_that_are_accepted_are_no_failure():
    command, accepted = shell("echo usage; exit 1"), (0, 1)
    assert run_program(command, timeout_seconds=300, accepted_codes=accepted) == b"usage\n"
    with pytest.raises(ProgramFailed, match="exit code 1"):
        run_program(command, timeout_seconds=300)
    with pytest.raises(ProgramFailed, match="exit code 2"):
        run_program(shell("exit 2"), timeout_seconds=300, accepted_codes=accepted)


CALLS = r"""
import os, signal
from benchmark.system.programs import run_program
from benchmark.system import programs
run_program(["true"], timeout_seconds=300)
(launcher,) = programs._IDLE_LAUNCHERS
child = os.fork()
if not child:
    run_program(["true"], timeout_seconds=300)
    (own,) = programs._IDLE_LAUNCHERS
    os._exit(own.process.pid == launcher.process.pid)
assert os.waitpid(child, 0)[1] == 0, "a forked process has a launcher of its own"
os.kill(launcher.process.pid, signal.SIGKILL)
launcher.process.wait()
print(run_program(["echo", "again"], timeout_seconds=300))
"""


def test_a_launcher_that_is_killed_is_replaced():
    call = [sys.executable, "-c", CALLS]
    assert run_program(call, timeout_seconds=120, folder=ROOT) == b"b'again\\n'\n"


GUARD = "$(awk '/^PPid/ {print $2}' /proc/$PPID/status)"


@pytest.mark.parametrize("killed", ["$PPID", GUARD], ids=["it", "its guard"])
def test_a_program_and_all_that_it_left_end_with_a_launcher_that_is_killed(killed, tmp_path):
    """Also what has nothing in common with the program."""
    program, daemon = notes = [tmp_path / "program", tmp_path / "daemon"]
    inner = f"echo $$ > {program}; (env -i setsid sh -c 'echo $$ > {daemon}; exec sleep 300' &); "
    script = f"{inner} while [ ! -s {daemon} ]; do sleep .01; done; kill -9 {killed}; sleep 300"
    with pytest.raises(ProgramFailed, match="killed"):
        run_program(shell(script), timeout_seconds=300)
    assert all(ended(int(note.read_text())) for note in notes)


def test_threads_that_call_at_once_do_not_wait_for_each_other(tmp_path: Path):
    """Each program waits for the file of the other."""
    first, second = tmp_path / "first", tmp_path / "second"
    calls = [
        shell(f"echo > {own_file}; while [ ! -s {peer_file} ]; do sleep .01; done; echo done")
        for own_file, peer_file in ((first, second), (second, first))
    ]
    with ThreadPoolExecutor(2) as pool:
        reported = list(pool.map(lambda call: run_program(call, timeout_seconds=60), calls))
    assert reported == [b"done\n"] * 2


def test_more_output_than_is_read_is_a_failure_with_both_numbers():
    for stream in ("", " >&2"):
        call = shell(f"head -c 3000000 /dev/zero{stream}")
        with pytest.raises(ProgramFailed, match=r"3,000,000 .*1,048,576"):
            run_program(call, timeout_seconds=300, include_stderr=True)
    assert len(run_program(shell("head -c 3000000 /dev/zero >&2"), timeout_seconds=300)) == 0
    call = shell("head -c 3000000 /dev/zero")
    assert len(run_program(call, timeout_seconds=300, max_output_bytes=3_000_000)) == 3_000_000


def test_a_file_of_a_program_is_read_up_to_its_limit_and_only_if_it_is_one(tmp_path: Path):
    written = tmp_path / "stream"
    assert read_output_file(written, "enc", 10) == b""
    written.write_bytes(bytes(10))
    assert read_output_file(written, "enc", 10) == bytes(10)
    with pytest.raises(ProgramFailed, match=r"^enc .* 10 bytes .* 9\b"):
        read_output_file(written, "/bin/enc", 9)
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")):
        link = tmp_path / f"other{make.__name__}"
        make(link)
        with pytest.raises(ProgramFailed, match=r"^enc .*other.* regular"):
            read_output_file(link, "enc", 10)
