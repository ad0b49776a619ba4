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
    checkout.pip_says(*of_pip(1, unpack=True))
    code, _, calls = checkout.run("setup")
    assert (code, any("venv --clear" in call for call in calls)) == (0, True), "it is begun again"


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


@pytest.mark.parametrize("gpu", [False, True])
def test_with_a_gpu_or_without_torch_for_the_cpu_the_whole_lock_is_installed(checkout, gpu):
    if gpu:
        checkout.program("nvidia-smi")
    code, _, calls = checkout.run("setup", refused="requirements-cpu.lock")
    assert (code, installed(checkout)) == (0, pins("requirements.lock").keys())
    assert any("requirements-cpu.lock" in call for call in calls) != gpu


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


def test_another_lock_or_place_sets_up_anew_and_another_pyproject_only_the_project(
    checkout, tmp_path
):
    def changed(name):
        with (checkout.root / name).open("a") as file:
            file.write("\n")
        return checkout.run("setup")[2]

    checkout.run("setup")
    assert [call.split()[-2:] for call in changed("pyproject.toml")[1:]] == [["--editable", "."]]
    assert any("venv --clear" in call for call in changed("requirements.lock"))
    checkout.root = checkout.root.rename(tmp_path / "elsewhere")
    assert any("venv --clear" in call for call in checkout.run("setup")[2])


@pytest.mark.parametrize(
    ("refused", "code", "ends", "calls"),
    [
        ("bench run", 1, 1, BENCH),  # a failed cell: the others are reported
        ("bench run", 2, 2, SAMPLE[:1]),
        ("bench run", 130, 130, SAMPLE[:1]),
        ("bench report", 5, 5, SAMPLE),
        ("bench plan", 2, 0, [*SAMPLE, LOOK]),  # no Kodak: that is no failure
        ("jpeg,vtm", 1, 1, BENCH),
    ],
)
def test_the_worst_of_what_failed_is_the_exit_code(checkout, refused, code, ends, calls):
    done, said, made = checkout.run(refused=refused, code=code)
    assert (done, of_bench(made)) == (ends, calls)
    assert ("refused" in said) == (ends > 0)


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


@pytest.mark.parametrize("objection", ["", "is Python 3.13"])
def test_without_a_right_python_one_line_says_which_are(checkout, objection):
    if not objection:
        (checkout.bin / "python3.11").unlink()
    code, said, _ = checkout.run(objection=objection)
    assert (code, said.count("\n"), "Python 3.11 or 3.12" in said) == (1, 1, True)
    assert (f"{checkout.bin}/python3.11 {objection}" in said) == bool(objection)


def test_a_python_on_the_path_that_does_not_run_is_passed_over(checkout):
    checkout.program("python3.12")
    checkout.program("python3.11", "#!/usr/bin/env bash\necho no such version >&2\nexit 127\n")
    code, said, calls = checkout.run("setup")
    assert code == 0
    assert f"Setting up .venv with {checkout.bin}/python3.12" in said
    assert calls[1] == "python3.12 -m venv --clear .venv"
