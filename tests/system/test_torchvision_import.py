import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import ran

ROOT = Path(__file__).parents[2]
IMPORT = (
    "import sys; from benchmark.system.imports import import_torchvision; "
    "found = import_torchvision(); "
)
# As the real one does beside a foreign build of torch: a part is imported, then an operator missed.
LACKS_OPERATORS = """
import torch
import torchvision.part
operators = sorted(
    schema.name for schema in torch._C._jit_get_all_schemas() if schema.name[:13] == "torchvision::"
)
if not operators:
    raise RuntimeError("operator torchvision::nms does not exist")
"""


def run_python(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what a process has imported stays imported."""
    folders = os.pathsep.join(map(str, (*path, ROOT)))
    return ran(sys.executable, "-W", "error", "-c", code, PYTHONPATH=folders)


def make_torchvision(folder: Path, text: str) -> Path:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(text)
    (package / "part.py").write_text("")
    return folder


def test_the_installed_torchvision_is_whole_and_the_same_each_time():
    done = run_python(
        f"{IMPORT} import torchvision.models, torchvision.transforms; "
        "assert found is import_torchvision() is torchvision; "
        "print(type(torchvision.models.squeezenet1_1(weights=None)).__name__)"
    )
    assert done.stdout.strip() == "SqueezeNet", done.stderr


def test_a_torchvision_that_works_is_left_alone(tmp_path):
    working = make_torchvision(tmp_path, "value = 1")
    done = run_python(f"{IMPORT} print(found.value, 'torch' in sys.modules)", working)
    assert done.stdout.split() == ["1", "False"], done.stderr


def test_a_torchvision_without_its_operators_is_imported_anew_with_them_declared(tmp_path):
    lacking = make_torchvision(tmp_path, LACKS_OPERATORS)
    asked = "print(*found.operators, found.part is sys.modules['torchvision.part'])"
    done = run_python(IMPORT + asked, lacking)
    assert done.stdout.split() == ["torchvision::nms", "torchvision::qnms", "True"], done.stderr


@pytest.mark.parametrize("error", ["RuntimeError('out of order')", "ImportError('no such file')"])
def test_any_other_failure_is_passed_on(tmp_path, error):
    done = run_python(IMPORT, make_torchvision(tmp_path, f"raise {error}"))
    assert done.returncode == 1
    assert error.partition("'")[2].removesuffix("')") in done.stderr
