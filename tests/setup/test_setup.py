"""run_all.sh does what it says, with stand-ins for Python and pip."""

import os
import re
import signal

import pytest

from support.checkout import TORCHVISION, Checkout, pins


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


REPORT = "bench report --dataset sample --page"
SAMPLE = ["bench run --codecs ours,jpeg,vtm --dataset sample --no-table", REPORT]
ALL = [
    SAMPLE[0].replace("ours,jpeg,vtm", "all"),
    REPORT,
    "bench plan --codecs jpeg --dataset kodak",  # fails where the dataset is not
    "bench run --codecs jpeg,vtm --dataset kodak --no-table",
    "bench report --dataset kodak --page",
]
PYTEST = "-m pytest -n auto --maxprocesses 8 --dist loadfile -p tests.support.skip_account"
TEST_ALL = ("test", "--all")


def of_bench(calls):
    return [call for call in calls if call.startswith("bench")]


def test_the_first_run_sets_up_and_the_second_only_measures(checkout):
    code, message, calls = checkout.run()
    assert (code, of_bench(calls)) == (0, SAMPLE), message
    assert sum("venv --clear" in call for call in calls) == 1
    assert checkout.run()[2] == ["python -c ", *SAMPLE]
    assert checkout.run("all")[2] == ["python -c ", *ALL]


def test_set_up_shows_large_downloads_and_logs_all_that_uv_says(checkout):
    printed = [
        "Resolved 2 packages in 2s", "Downloading torch (170.1MiB)", "Prepared 1 package in 1s",
        "Prepared 20 packages in 9s", " + a==1", "  Downloading b-1-py3-none-any.whl (64.8 MB)",
        "  Downloading c-1-py3-none-any.whl (15 kB)",
    ]  # fmt: skip
    checkout.uv_says(*printed)
    code, message, _ = checkout.run("setup")
    assert code == 0
    downloads = [printed[1], printed[3], printed[5].strip()]
    assert [line.strip() for line in message.splitlines() if line.startswith("  ")] == downloads
    assert (checkout.root / ".venv" / "install.log").read_text().splitlines() == printed


def test_where_uv_fails_pip_installs_the_same(checkout):
    """uv may be in no index that pip is configured with, or the index may need pip's keyring."""
    packages = installs(checkout.run("setup")[2])
    for refused_call in ("uv.lock", " uv pip install", "uv .*--force-reinstall"):
        for name in ("locked", "project"):
            (checkout.root / ".venv" / name).unlink()
        code, message, calls = checkout.run("setup", refused_call=refused_call)
        assert (code, " pip" in message) == (0, True)
        assert installs(calls, "python -m pip") == ["uv.lock", *packages]


def test_what_neither_can_install_ends_set_up_with_what_was_said(checkout):
    code, message, _ = checkout.run("setup", refused_call="packages.lock")
    assert code == 1
    assert "refused: python -m pip" in message.splitlines()[-2]
    assert ".venv/install.log" in message.splitlines()[-1]
    assert "venv --clear" in checkout.run("setup")[2][1], "it is begun again"


def test_an_interrupted_set_up_ends_with_all_it_began_and_is_begun_again(checkout):
    checkout.uv_says("Downloading a (15.0MiB)", command="trap 'exit 1' INT; sleep 1000")
    with checkout.start("setup") as process:
        for line in process.stdout:
            if "Downloading a" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        message = process.stdout.read()  # until the last process that has the pipe has ended
    assert process.returncode == 130
    assert message == "run_all.sh: interrupted; run it again to set up\n"
    checkout.uv_says()
    code, message, calls = checkout.run("setup")
    assert (code, sum("venv --clear" in call for call in calls)) == (0, 1), message


def installs(calls, by="https://elsewhere/simple uv pip"):
    """What was installed in turn: `by` with the place that pip is configured with, unless told."""
    installing = [call for call in calls if call.startswith(by) and " install " in call]
    return [
        re.sub(r".*(?:-r \.venv/|(?=--editable|--force-reinstall))", "", call)
        for call in installing
    ]


def test_nothing_is_installed_that_is_not_in_a_lock(checkout):
    _, _, calls = checkout.run("setup")
    assert installs(calls, "python -m pip") == ["uv.lock"]
    packages, *other_installs = installs(calls)
    assert packages.startswith("packages.lock")
    pip = f"--force-reinstall {checkout.calls}.whl"  # the wheel that Python brings along
    assert other_installs == ["pyvips.lock", pip, "--editable ."]
    assert names_in(checkout, "pyvips.lock") == {"pyvips"}
    for call in calls:
        if re.search("(pip|uv) .*install ", call):
            assert "--no-deps" in call
            assert "--require-hashes" in call or "--no-index" in call
            # Built with isolation, pyvips would compile against a libvips that the machine has.
            assert "--only-binary :all:" in call or "--no-build-isolation" in call or pip in call


def test_torch_and_torchvision_are_both_for_the_cpu_and_nothing_of_cuda_is_installed(checkout):
    assert installs(checkout.run("setup")[2])[0] == "packages.lock of torch torchvision "
    left_out = {*pins("requirements.lock")} - names_in(checkout, "packages.lock")
    assert left_out >= {"uv", "pyvips", "triton", "nvidia-cublas"}
    gpu_packages = left_out - {"uv", "pyvips"}
    assert all(re.match("triton|nvidia-|cuda-", name) for name in gpu_packages)
    assert "register_fake" in (checkout.root / TORCHVISION).read_text()


def test_beside_torch_for_the_cpu_alone_torchvision_does_without_its_operators(checkout):
    code, _, calls = checkout.run("setup", refused_call="of torch torchvision")
    assert (code, installs(calls)[1]) == (0, "packages.lock of torch ")
    text = (checkout.root / ".venv" / "packages.lock").read_text()
    torch, torchvision = (pins(f"requirements{suffix}.lock") for suffix in ("-cpu", ""))
    assert f"torch=={torch['torch']} " in text
    assert f"torchvision=={torchvision['torchvision']} " in text
    assert text.count("torch==") == text.count("torchvision==") == 1
    assert (checkout.root / TORCHVISION).read_text() == "def nms(): ...\ndef qnms(): ...\n"


@pytest.mark.parametrize("gpu", [False, True])
def test_with_a_gpu_or_without_torch_for_the_cpu_all_of_cuda_is_installed(checkout, gpu):
    if gpu:
        checkout.program("nvidia-smi")
    code, _, calls = checkout.run("setup", refused_call="of torch")
    assert code == 0
    left_out = {*pins("requirements.lock")} - names_in(checkout, "packages.lock")
    assert left_out == {"uv", "pyvips"}
    assert any("of torch" in call for call in calls) != gpu


def names_in(checkout, lock):
    text = (checkout.root / ".venv" / lock).read_text()
    return {*re.findall(r"^[\w.-]+(?===)", text, re.MULTILINE)}


def test_another_lock_or_place_sets_up_anew_another_pyproject_the_project(checkout, tmp_path):
    def changed(name):
        with (checkout.root / name).open("a") as file:
            file.write("\n")
        return checkout.run("setup")[2]

    checkout.run("setup")
    assert [call.split()[-2:] for call in changed("pyproject.toml")[1:]] == [["--editable", "."]]
    assert any("venv --clear" in call for call in changed("requirements.lock"))
    checkout.root = checkout.root.rename(tmp_path / "elsewhere")
    assert any("venv --clear" in call for call in checkout.run("setup")[2])


@pytest.mark.parametrize(("refused_call", "code", "ends", "calls"), [
    ("bench run", 1, 1, ALL),  # a failed cell: the others are reported
    ("bench run", 2, 2, ALL[:1]), ("bench run", 130, 130, ALL[:1]),
    ("bench report", 5, 5, ALL[:2]),
    ("bench plan", 2, 0, ALL[:3]),  # no Kodak: that is no failure
    ("jpeg,vtm", 1, 1, ALL),
])  # fmt: skip
def test_the_worst_of_what_failed_is_the_exit_code(checkout, refused_call, code, ends, calls):
    exit_code, message, actual_calls = checkout.run("all", refused_call=refused_call, code=code)
    assert (exit_code, of_bench(actual_calls)) == (ends, calls)
    assert ("refused" in message) == (ends > 0)


@pytest.mark.parametrize(("options", "selection"), [((), " -m not slow"), (["--all"], "")])
def test_the_tests_are_all_checks_in_turn(checkout, options, selection):
    checkout.run("setup")
    checkout.run("test")
    code, _, calls = checkout.run("test", *options)
    assert code == 0
    checks = ["ruff check", "ruff format --check", "mypy "]
    assert calls[1:] == [*checks, f"python {PYTEST}{selection}"]


@pytest.mark.parametrize("minor", ["3.13", "3.14"])
def test_all_tests_are_also_those_with_numpy_2_where_a_python_takes_it(checkout, minor):
    checkout.run("test")
    assert " Python 3.13" in checkout.run(*TEST_ALL)[1]
    checkout.program(f"python{minor}")
    code, _, calls = checkout.run(*TEST_ALL)
    install = "python -m pip --no-input install --constraint platforms.lock --editable .[dev]"
    newer = [f"python{minor} -m venv .venv/newer", install, f"python {PYTEST} -m not slow"]
    assert (code, calls[-3:]) == (0, newer)
    assert checkout.run(*TEST_ALL, refused_call="platforms.lock", code=3)[0] == 3
    assert not any("newer" in call for call in checkout.run("test")[2])


@pytest.mark.parametrize(("extra", "name"), [("ray", "Ray"), ("docs", "mkdocs")])
def test_the_tests_bring_an_extra_along_once_and_nothing_else_does(checkout, extra, name):
    def tries(*arguments, **options):
        code, message, calls = checkout.run(*arguments, **options)
        return code, message, sum(f"requirements-{extra}.lock" in call for call in calls)

    assert tries("setup")[2] == tries()[2] == tries("paper")[2] == 0
    code, message, tried = tries("test", refused_call=f"requirements-{extra}.lock")
    assert (code, tried) == (0, 1)
    assert f"{name} could not be installed: its tests skip" in message
    assert [tries("test")[2], tries("test", "--all")[2]] == [1, 0]


@pytest.mark.parametrize("check", ["ruff check", "ruff format", "mypy", "-m pytest"])
def test_a_check_that_fails_is_the_exit_code(checkout, check):
    assert checkout.run("test", refused_call=check, code=3)[0] == 3


def test_the_figures_of_the_paper_are_one_call_whose_exit_code_stands(checkout):
    code, _, calls = checkout.run("paper")
    assert (code, of_bench(calls)) == (0, ["bench figures crdr --all"])
    assert checkout.run("paper", refused_call="bench figures", code=2)[0] == 2


@pytest.mark.parametrize("arguments", [["papers"], ["test", "--slow"], ["--all"], ["setup", "x"]])
def test_an_unknown_argument_is_one_line_and_2(checkout, arguments):
    code, message, calls = checkout.run(*arguments)
    assert (code, calls) == (2, [])
    assert message == "run_all.sh: usage: ./run_all.sh [all | setup | paper | test [--all]]\n"


@pytest.mark.parametrize("objection", ["", "is Python 3.13"])
def test_without_a_right_python_one_line_says_which_are(checkout, objection):
    if not objection:
        (checkout.bin / "python3.11").unlink()
    code, message, _ = checkout.run(objection=objection)
    assert (code, message.count("\n"), "Python 3.11 or 3.12" in message) == (1, 1, True)
    assert (f"{checkout.bin}/python3.11 {objection}" in message) == bool(objection)


def test_a_python_on_the_path_that_does_not_run_is_passed_over(checkout):
    checkout.program("python3.12")
    checkout.program("python3.11", "#!/usr/bin/env bash\necho no such version >&2\nexit 127\n")
    code, message, calls = checkout.run("setup")
    assert code == 0
    assert f"{checkout.bin}/python3.12" in message
    assert calls[1] == "python3.12 -m venv --clear --without-pip .venv"
