"""run_all.sh does what it says, with stand-ins for Python and pip."""

import os
import re
import signal

import pytest

from support.checkout import Checkout, of_pip, pins


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


SAMPLE = [
    "bench run --codecs all --dataset sample --no-table",
    "bench report --dataset sample --page",
]
LOOK = "bench plan --codecs jpeg --dataset kodak"  # fails where the dataset is not
KODAK = [
    "bench run --codecs jpeg,vtm --dataset kodak --no-table",
    "bench report --dataset kodak --page",
]
BENCH = [*SAMPLE, LOOK, *KODAK]
PYTEST = "-m pytest -n auto --maxprocesses 8 --dist loadfile -p tests.support.skip_account"


def of_bench(calls):
    return [call for call in calls if call.startswith("bench")]


def test_the_first_run_sets_up_and_the_second_only_measures(checkout):
    code, said, calls = checkout.run()
    assert (code, of_bench(calls)) == (0, BENCH), said
    assert sum("venv --clear" in call for call in calls) == 1
    code, said, calls = checkout.run()
    assert (code, calls) == (0, ["python -c ", *BENCH])
    sample, kodak = said.splitlines()
    assert sample.startswith("Next: measure every codec that runs here on 4 photographs")
    assert kodak.startswith("Next: measure JPEG and VTM on Kodak's 24 photographs")


def test_set_up_says_what_it_does_how_far_it_is_and_what_comes_next(checkout):
    checkout.pip_says(*of_pip(23, unpack=True))
    code, said, _ = checkout.run("setup")
    assert code == 0
    total = len(pins("requirements.lock"))
    few = len(names_in(checkout, "packages.lock"))
    assert re.sub(r"\d+ s\b", "N s", said).splitlines() == [
        f"Setting up .venv with {checkout.bin}/python3.11: minutes, once.",
        f"  {total} packages: 0.6 GB to download, 2 GB unpacked; with CUDA, gigabytes more",
        "  .venv/install.log has all that pip says",
        "torch for the CPU, 0.2 GB:",
        f"{few} packages of requirements.lock:",
        f"  package 10 of {few}: p10-1.10, 1.5 MB, N s",
        f"  package 20 of {few}: p20-1.20, 1.5 MB, N s",
        f"  23 of {few} packages, 34 MB downloaded, N s",
        "Set up in N s.",
        "Next: ./run_all.sh measures every codec that runs here; .venv/bin/bench --help",
    ]
    log = (checkout.root / ".venv" / "install.log").read_text().splitlines()
    assert log == of_pip(23, unpack=True)


def test_pips_objection_is_shown_whole_and_nothing_was_installed(checkout):
    checkout.pip_says(*of_pip(3), then='echo "ERROR: no such package" >&2; exit 7')
    code, said, _ = checkout.run("setup")
    assert code == 1
    assert said.splitlines()[-2:] == [
        "ERROR: no such package",
        "run_all.sh: pip could not install requirements.lock; .venv/install.log has all it said",
    ]
    assert "MB downloaded" not in said
    assert not (checkout.root / ".venv" / "locked").exists()


def test_an_interrupted_set_up_ends_with_all_it_began_and_is_begun_again(checkout):
    # As pip does, it ends with 1.
    checkout.pip_says(*of_pip(10), then="trap 'echo cancelled; exit 1' INT; sleep 1000")
    with checkout.start("setup") as process:
        for line in process.stdout:
            if "package 10 of" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        said = process.stdout.read()  # until the last process that has the pipe has ended
    assert process.returncode == 130
    assert said == "run_all.sh: interrupted; run it again to set up\n"
    checkout.pip_says(*of_pip(1, unpack=True))
    code, said, calls = checkout.run("setup")
    assert (code, sum("venv --clear" in call for call in calls)) == (0, 1), said


def test_nothing_is_installed_that_is_not_in_a_lock(checkout):
    _, _, calls = checkout.run("setup")
    installs = [call for call in calls if re.match(r"python -m pip .* install ", call)]
    assert len(installs) == 4  # torch, the wheels, pyvips, the project itself
    for call in installs:
        assert "--no-deps" in call
        assert "--require-hashes" in call or ("--no-index" in call and "--editable ." in call)


def test_beside_torch_for_the_cpu_no_library_of_cuda_is_installed(checkout):
    checkout.run("setup")
    left_out = set(pins("requirements.lock")) - installed(checkout)
    assert {"torch", "triton", "nvidia-cublas", "cuda-toolkit"} <= left_out
    assert all(name.startswith(("torch", "triton", "nvidia-", "cuda-")) for name in left_out)
    assert {"torchvision", "torch-geometric"} <= installed(checkout)


def test_where_there_is_no_torch_for_the_cpu_the_whole_lock_is_installed(checkout):
    code, _, _ = checkout.run("setup", refused="requirements-cpu.lock")
    assert (code, installed(checkout)) == (0, pins("requirements.lock").keys())


def test_with_a_gpu_the_whole_lock_is_installed(checkout):
    checkout.program("nvidia-smi")
    _, _, calls = checkout.run("setup")
    assert not any("requirements-cpu.lock" in call for call in calls)
    assert installed(checkout) == pins("requirements.lock").keys()


def test_what_has_no_wheel_is_built_last_and_finds_no_library_of_the_system(checkout):
    """Built with isolation, pyvips would compile against a libvips that the machine has."""
    _, _, calls = checkout.run("setup")
    (built,) = [call for call in calls if "-r .venv/pyvips.lock" in call]
    assert calls.index(built) > next(i for i, call in enumerate(calls) if "packages.lock" in call)
    assert "--no-build-isolation --require-hashes" in built
    assert [*names_in(checkout, "pyvips.lock")] == ["pyvips"]


def names_in(checkout, lock):
    text = (checkout.root / ".venv" / lock).read_text()
    return re.findall(r"^[\w.-]+(?===)", text, re.MULTILINE)


def installed(checkout):
    return {*names_in(checkout, "packages.lock"), *names_in(checkout, "pyvips.lock")}


def test_a_failed_installation_says_why_and_is_begun_again(checkout):
    code, said, _ = checkout.run("setup", refused="packages.lock")
    assert code == 1
    assert "refused: python -m pip" in said
    assert said.splitlines()[-1].startswith("run_all.sh: pip could not install requirements.lock")
    code, _, calls = checkout.run("setup")
    assert code == 0
    assert any("venv --clear" in call for call in calls)


def test_another_lock_sets_up_anew_and_another_pyproject_only_the_project(checkout):
    checkout.run("setup")
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("\n")
    _, _, calls = checkout.run("setup")
    assert [call.split()[-2:] for call in calls[1:]] == [["--editable", "."]]
    with (checkout.root / "requirements.lock").open("a") as file:
        file.write("\n")
    _, _, calls = checkout.run("setup")
    assert any("venv --clear" in call for call in calls)


def test_a_checkout_that_has_moved_is_set_up_anew(checkout, tmp_path):
    checkout.run("setup")
    checkout.root = checkout.root.rename(tmp_path / "elsewhere")
    _, _, calls = checkout.run("setup")
    assert any("venv --clear" in call for call in calls)


def test_a_failed_cell_is_the_exit_code_and_the_others_are_reported(checkout):
    code, _, calls = checkout.run(refused="bench run", code=1)
    assert (code, of_bench(calls)) == (1, BENCH)


@pytest.mark.parametrize("code", [2, 130])
def test_a_run_that_could_not_be_made_is_the_end(checkout, code):
    assert checkout.run(refused="bench run", code=code)[0] == code
    assert of_bench(checkout.run(refused="bench run", code=code)[2]) == SAMPLE[:1]


def test_a_failed_report_is_the_exit_code(checkout):
    code, _, calls = checkout.run(refused="bench report", code=5)
    assert (code, of_bench(calls)) == (5, SAMPLE)


def test_where_there_is_no_kodak_only_the_sample_is_measured(checkout):
    code, said, calls = checkout.run(refused="bench plan", code=2)
    assert (code, of_bench(calls), "refused" in said) == (0, [*SAMPLE, LOOK], False)


def test_what_fails_on_kodak_is_the_exit_code(checkout):
    code, _, calls = checkout.run(refused="jpeg,vtm", code=1)
    assert (code, of_bench(calls)) == (1, BENCH)


@pytest.mark.parametrize(
    ("arguments", "selection"), [(["test"], " -m not slow"), (["test", "--all"], "")]
)
def test_the_tests_are_all_checks_in_turn(checkout, arguments, selection):
    checkout.run("setup")
    checkout.run("test")
    code, _, calls = checkout.run(*arguments)
    assert code == 0
    assert calls[1:] == [
        *("ruff check", "ruff format --check", "mypy "),
        f"python {PYTEST}{selection}",
    ]


def test_the_tests_bring_ray_along_once_and_nothing_else_does(checkout):
    def installs(*arguments, **more):
        code, said, calls = checkout.run(*arguments, **more)
        return code, said, sum("requirements-ray.lock" in call for call in calls)

    assert installs("setup")[2] == installs()[2] == installs("paper")[2] == 0
    code, said, tried = installs("test", refused="requirements-ray.lock")
    assert (code, tried) == (0, 1)
    assert "Ray could not be installed: its tests skip" in said
    assert [installs("test")[2], installs("test", "--all")[2]] == [1, 0]


@pytest.mark.parametrize("check", ["ruff check", "ruff format", "mypy", "-m pytest"])
def test_a_check_that_fails_is_the_exit_code(checkout, check):
    checkout.run("setup")
    assert checkout.run("test", refused=check, code=3)[0] == 3


def test_the_figures_of_the_paper_are_one_call_whose_exit_code_stands(checkout):
    checkout.run("setup")
    code, _, calls = checkout.run("paper")
    assert (code, of_bench(calls)) == (0, ["bench figures paper"])
    assert checkout.run("paper", refused="bench figures", code=2)[0] == 2


def test_continuous_integration_runs_the_tests(checkout):
    _, _, calls = checkout.run(script=".ci/run")
    assert calls[-1].endswith(f"{PYTEST} -m not slow")


@pytest.mark.parametrize("refused", ["", "apt-get install --yes"])
def test_continuous_integration_tries_to_install_chromium_and_does_without(checkout, refused):
    checkout.program("apt-get")
    code, said, calls = checkout.run(script=".ci/run", refused=refused)
    tried = [call.split()[1] for call in calls if call.startswith("apt-get")]
    tries = ["install", "update", "install"] if refused else ["install"]
    assert tried == (tries if os.geteuid() == 0 else [])  # others may not install anything
    assert (code, "no Chromium could be installed" in said) == (0, bool(refused and tried))
    assert calls[-1].endswith(f"{PYTEST} -m not slow")
    checkout.program("chromium")
    assert not any("apt-get" in call for call in checkout.run(script=".ci/run")[2])


@pytest.mark.parametrize("arguments", [["papers"], ["test", "--slow"], ["--all"], ["setup", "x"]])
def test_an_unknown_argument_is_one_line_and_2(checkout, arguments):
    code, said, calls = checkout.run(*arguments)
    assert (code, calls) == (2, [])
    assert said == "run_all.sh: usage: ./run_all.sh [setup | paper | test [--all]]\n"


def test_without_a_python_one_line_says_which_are_right(checkout):
    (checkout.bin / "python3.11").unlink()
    code, said, _ = checkout.run()
    assert (code, said.count("\n")) == (1, 1)
    assert "Python 3.11 or 3.12" in said


def test_with_another_python_only_the_line_names_it(checkout):
    code, said, _ = checkout.run(objection="is Python 3.13")
    assert (code, said.count("\n")) == (1, 1)
    assert f"{checkout.bin}/python3.11 is Python 3.13" in said


def test_a_python_on_the_path_that_does_not_run_is_passed_over(checkout):
    checkout.program("python3.12")
    checkout.program("python3.11", "#!/usr/bin/env bash\necho no such version >&2\nexit 127\n")
    code, said, calls = checkout.run("setup")
    assert code == 0
    assert f"Setting up .venv with {checkout.bin}/python3.12" in said
    assert calls[1] == "python3.12 -m venv --clear .venv"
