"""Extensions in C, compiled with the options of the project where its installation has none."""

import shutil
import subprocess
import sysconfig
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def extension(name: str, folder: Path) -> ModuleType | None:
    if not (compiler := shutil.which("cc")):
        return None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (ext_module,) = (module for module in project["ext-modules"] if module["name"] == name)
    path = folder / f"{name.rpartition('.')[2]}.so"
    options = [*ext_module["extra-compile-args"], "-shared", "-fPIC", "-o", path]
    sources = [ROOT / source for source in ext_module["sources"]]
    subprocess.run([compiler, *options, "-I", sysconfig.get_path("include"), *sources], check=True)
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
