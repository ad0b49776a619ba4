"""`bench worker`: create, set up and check a codec that runs in its own environment."""

import re
import shlex
import sys
from contextlib import closing
from importlib.resources import files
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Annotated

from benchmark.commands.verb import Verbs
from benchmark.errors import BenchError, ProgramFailed, UsageError
from benchmark.option import ARGUMENT, TARGET, opt
from benchmark.system.atomic import write_file
from benchmark.system.machine import gpus
from benchmark.system.programs import find_program, run_program
from benchmark.system.text import bench_command

if TYPE_CHECKING:
    from baselines.worker.codec import ContenderFile, Worker
    from benchmark.codec import Pixels, Setting

HELPER = "rdrbench_worker.py"
TORCH_PACKAGE = re.compile(r"torch(vision|audio)?\s*([=<>!~\[]|$)")
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
ODD_SIZES = ((61, 97), (128, 96), (33, 200))  # height, width
File = Annotated[Path, opt(ARGUMENT, "Contender file, such as results/contenders/hpcm.toml.")]

worker = Verbs("""Create, set up and check a codec that runs in its own environment.

Examples:
  bench worker new hpcm
  bench worker setup results/contenders/hpcm.toml
  bench worker check results/contenders/hpcm.toml
  bench run --codecs worker:results/contenders/hpcm.toml,ours --dataset kodak
""")


@worker.verb("new")
def new(
    name: Annotated[str, opt(ARGUMENT, "Name of the codec, such as hpcm.")],
    out: Annotated[Path, opt(TARGET, "Folder for the contender file.")] = Path(
        "results/contenders"
    ),
    code: Annotated[
        Path | None,
        opt(TARGET, "Folder of the authors' code, for the script; default: OUT/NAME."),
    ] = None,
) -> None:
    """Write a contender file, and an example script that can be run at once.

    Examples:
      bench worker new hpcm
      bench worker new hpcm --code ~/HPCM
    """
    if not re.fullmatch(r"[A-Za-z][\w.-]*", name):
        raise UsageError(f"{name!r} cannot be a name: choose a word that begins with a letter")
    safe_name = re.sub(r"\W", "_", name)
    folder = code or out / safe_name
    script = f"{safe_name}_worker.py"
    example = files("baselines.worker").joinpath("example_worker.txt").read_text()
    contender = files("baselines.worker").joinpath("example_contender.txt").read_text()
    folder_key = folder.resolve() if code else safe_name
    texts_by_path = {
        out / f"{safe_name}.toml": contender.format(name=name, folder=folder_key, script=script),
        folder / script: example.replace("NAME", safe_name.title().replace("_", "")),
        folder / HELPER: files("baselines.worker").joinpath(HELPER).read_text(),
    }
    for path in texts_by_path:
        if path.exists() and path.name != HELPER:
            raise UsageError(f"{path} exists already: choose another name, or delete the file")
    written_files: list[Path] = []
    try:
        for path, text in texts_by_path.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, text.encode())
            written_files.append(path)
    except OSError as error:
        for file in written_files:
            file.unlink()
        raise BenchError(f"{path} cannot be written: {error.strerror}") from error
    print(*written_files, sep="\n")
    print("Next:", bench_command("worker check", out / f"{safe_name}.toml"))


@worker.verb("setup")
def setup(file: File) -> None:
    """Clone the repository, create the environment and download weights, if they are missing.

    Examples:
      bench worker setup results/contenders/hpcm.toml
    """
    from baselines.worker.codec import read_contender
    from benchmark.commands.fetch import download_weights
    from benchmark.system.foreign_files import resolve_inside
    from benchmark.system.settings import PublishedFile

    contender = read_contender(file)
    if not contender.folder.exists():
        _clone(contender)
    _place_script(contender)
    if contender.packages or contender.python_version:
        _make_environment(contender)
    for path, weight in contender.weights.items():
        try:
            target = resolve_inside(contender.folder, path)
        except OSError as error:
            raise UsageError(f"{file}: {path!r} cannot be used: {error.strerror}") from error
        if not target.exists() and not weight.get("url"):
            raise UsageError(
                f"{target} is missing, and {file} has no url for it: put the file there"
            )
        published = PublishedFile(weight.get("url", ""), target.name, weight.get("sha256", ""))
        download_weights(published, target)
        require_no_page(target, published.url)
    print("Next:", bench_command("worker check", file))


@worker.verb("check")
def check(file: File) -> None:
    """Encode three odd-sized pictures at each setting, and decode each stream twice.

    Examples:
      bench worker check results/contenders/hpcm.toml
    """
    from baselines.worker.codec import Worker

    failures = 0
    with closing(Worker(file=str(file))) as encoder, closing(Worker(file=str(file))) as decoder:
        info = encoder.describe()
        print(f"{info.version}; {info.device}; fingerprint {info.fingerprint[:12]}")
        for setting, (height, width) in product(encoder.sweep, ODD_SIZES):
            line, is_ok = _check_case(encoder, decoder, setting, _make_picture(height, width))
            failures += not is_ok
            print(f"{setting}, {width} x {height}: {line}")
    if failures:
        raise BenchError(f"{encoder.name} failed in {failures} of these cases: correct its code")
    print("Next:", bench_command("run", codecs=f"worker:{file},ours,jpeg", dataset="sample"))


def _check_case(
    encoder: "Worker", decoder: "Worker", setting: "Setting", pixels: "Pixels"
) -> tuple[str, bool]:
    from time import perf_counter

    import numpy as np

    try:
        started = perf_counter()
        data = encoder.encode(pixels, setting)
        encode_seconds, total_seconds = encoder.inside_seconds or 0, perf_counter() - started
        decoded, decode_seconds = decoder.decode(data), decoder.inside_seconds or 0
        decoded_again = decoder.decode(data)
    except ProgramFailed as failed:
        return str(failed), False
    if decoded.shape != pixels.shape:
        return f"failed: decoded to {decoded.shape[1]} x {decoded.shape[0]}", False
    if not np.array_equal(decoded, decoded_again):
        return "failed: two decoded pictures of the same stream differ", False
    error = np.mean((pixels.astype(float) - decoded) ** 2)
    psnr = 10 * np.log10(255**2 / error) if error else np.inf
    pipe_ms = 1000 * (total_seconds - encode_seconds)
    times = f"encoder {encode_seconds:.3f} s, and {pipe_ms:.1f} ms in the pipe"
    times += f", decoder {decode_seconds:.3f} s"
    return f"{len(data):,} bytes, {psnr:.2f} dB, {times}", True


def _make_picture(height: int, width: int) -> "Pixels":
    # a picture with smooth areas, an edge and noise
    import numpy as np

    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / (5 + channel)) + np.cos(columns / 9) for channel in range(3)]
    image = 128 + 40 * np.stack(waves, axis=-1) + 30 * (rows > columns)[..., None]
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)  # type: ignore[no-any-return]


def _clone(contender: "ContenderFile") -> None:
    target, repository = str(contender.folder), contender.repository
    if not repository:
        raise UsageError(
            f"{target} is missing, and {contender.file} has no repository: copy the code there"
        )
    git = str(find_program("git", "install git, or clone the repository yourself"))
    print(f"Cloning {repository} to {target}")
    clone = [git, "clone", "--recurse-submodules", "--", repository, target]
    run_program(clone, timeout_seconds=3600)
    if commit := contender.commit:
        run_program([git, "-C", target, "checkout", "--detach", commit], timeout_seconds=600)


def _place_script(contender: "ContenderFile") -> None:
    from baselines.formats.external import find_imports

    source, target = contender.file.parent / contender.script, contender.folder / contender.script
    if not source.is_file():
        if not target.is_file():
            raise UsageError(
                f"{contender.name} has no script yet: write {target} (docs/own-codec.md)"
            )
        return
    copies = {
        path: target.parent / path.relative_to(source.parent) for path in find_imports(source)
    }
    for path, copy in copies.items():
        if copy.exists() and copy.read_bytes() != path.read_bytes():
            raise UsageError(f"{copy} and {path} differ: delete one of them")
    for path, copy in copies.items():
        write_file(copy, path.read_bytes())
    helper = files("baselines.worker").joinpath(HELPER).read_bytes()
    write_file(target.with_name(HELPER), helper)


def require_no_page(path: Path, url: str) -> None:
    """Raise `UsageError` if `path` is a web page instead of weights, and delete it."""
    with path.open("rb") as file:
        first_bytes = file.read(64).lstrip().lower()
    if first_bytes.startswith((b"<!doctype html", b"<html")):
        path.unlink()
        path.with_name(f"{path.name}.sha256").unlink(missing_ok=True)  # its recorded digest
        raise UsageError(f"{url} returns a web page, not the file: put the file at {path} yourself")


def _make_environment(contender: "ContenderFile") -> None:
    interpreter = contender.folder / contender.python
    environment = interpreter.parent.parent
    if interpreter.parent.name != "bin":
        raise UsageError(
            f"{contender.file}: 'packages' needs a virtual environment, but python = "
            f"{contender.python!r} is not in one: write .venv/bin/python, or leave 'packages' out"
        )
    has_gpu, needs_torch = bool(gpus()), any(map(TORCH_PACKAGE.match, contender.packages))
    size = ("about 6 GB" if has_gpu else "about 1 GB, torch for the CPU") if needs_torch else ""
    print(f"Making {environment}{f': {size}' if size else ''}")
    path = which("uv")
    uv = [sys.executable, "-m", "uv"] if find_spec("uv") else [path] if path else []
    version = contender.python_version
    if not interpreter.exists():
        if not uv and version and version != f"{sys.version_info[0]}.{sys.version_info[1]}":
            raise UsageError(f"uv is needed for Python {version}: install the Python package uv")
        python = ["--python", version] if version else []
        command = [*uv, "venv", *python] if uv else [sys.executable, "-m", "venv"]
        try:
            run_program([*command, str(environment)], timeout_seconds=3600)
        except ProgramFailed as failed:
            python_text = f"Python {version}" if version else "this machine's Python"
            raise ProgramFailed(
                f"{environment} cannot be created with {python_text} ({failed}): set "
                f"python_version in {contender.file} to the path of a Python"
            ) from failed
    if contender.packages:
        pip = [*uv, "pip", "install", "--python", str(interpreter)]
        install = pip if uv else [str(interpreter), "-m", "pip", "install"]
        if needs_torch and not has_gpu:  # PyPI's torch brings CUDA, 5 GB
            install += ["--torch-backend", "cpu"] if uv else ["--extra-index-url", TORCH_CPU_INDEX]
        requirements = [word for line in contender.packages  # a line may be "-r requirements.txt"
                 for word in (shlex.split(line) if line.startswith("-") else [line])]  # fmt: skip
        run_program([*install, *requirements], folder=contender.folder, timeout_seconds=7200)
