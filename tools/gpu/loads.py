"""Pack two archives for a machine without a network: packages; code, images and weights."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmark.datasets.dataset import open_dataset
from benchmark.errors import UsageError
from benchmark.system.backbone import ALEXNET, SQUEEZENET
from benchmark.system.machine import commit
from tools.gpu.results import LOOPS

ROOT = Path(__file__).parents[2]
COMMIT = "COMMIT"  # name of a packed file that states the commit, since .git is not packed
MAX_ARCHIVE_BYTES = 64 << 20
PYTHON, TAG = "3.12", "cp312"  # of the machine without a network
# Packages missing on that machine, packed in the versions that are installed here
PACKAGES = (
    *("polars", "polars-runtime-32", "msgspec", "typer", "constriction", "compressai", "lpips"),
    *("pytorch-fid", "pytorch-msssim", "pytorch-optimizer"),
    *("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions"),
)
LIBRARIES = ("2_34", "2_28", "2_27", "2_17")  # versions of glibc whose wheels pip may take
CHECKPOINTS = "baselines/checkpoints/"
PACKED_CHECKPOINTS = ("ours", "ours-micro", "elic-2", "hyperprior-3")
EXCLUDED_PREFIXES = (CHECKPOINTS, "baselines/neural/training/starts/", "docs/", "results/")


def pack(folder: Path) -> None:
    """Write both archives to `folder`, and print their sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    if not find_spec(LOOPS):
        print("the C loops are not built here: no bar of speed will be measured with this pack")
    with TemporaryDirectory(prefix="wheels-") as wheel_folder:
        wheels = _download(Path(wheel_folder))
        content = ((f"wheels/{path.name}", path) for path in wheels)
        write_archive(folder / "a-wheels.tar", content)
    write_archive(folder / "b-code.tar.gz", chain(code(), data()))


def _download(folder: Path) -> list[Path]:
    platform_options = [f"--platform=manylinux_{library}_x86_64" for library in LIBRARIES]
    platform_options += [f"--python-version={PYTHON}", "--implementation=cp"]
    platform_options += [f"--abi={abi}" for abi in (TAG, "abi3", "none")]
    pins = [f"{name}=={version(name)}" for name in PACKAGES]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    command_line = [*command, "--only-binary=:all:", *platform_options, *pins]
    process = subprocess.run(command_line, capture_output=True, text=True, check=False)
    if process.returncode:
        errors = [line for line in process.stderr.splitlines() if line.startswith("ERROR")]
        raise UsageError(f"pip cannot download the wheels: {(errors or ['no reason'])[-1]}")
    return sorted(folder.glob("*.whl"))


def code() -> Iterator[tuple[str, Path | bytes]]:
    """Yield (name in the archive, file or content) of code, committed or not, and of COMMIT."""
    file_names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    checkpoints = {f"{CHECKPOINTS}SHA256SUMS"} | {
        f"{CHECKPOINTS}{name}{suffix}"
        for name in PACKED_CHECKPOINTS
        for suffix in (".json", ".safetensors.xz")
    }
    for name in filter(None, file_names):
        is_packed = not name.startswith(EXCLUDED_PREFIXES) or name in checkpoints
        if is_packed and (ROOT / name).exists():  # a file may be deleted and not yet committed
            yield f"code/{name}", ROOT / name
    if loops := find_spec(LOOPS):
        path = Path(str(loops.origin))
        yield f"code/benchmark/metrics/{path.name}", path
    yield f"code/{COMMIT}", (commit() or "unknown").encode()


def data() -> Iterator[tuple[str, Path | bytes]]:
    """Yield the same for Kodak and metrics' weights; raises `Unavailable` if one is missing."""
    for image in open_dataset("kodak").images:
        # datasets recognise images by pixels and formats by content, so a name in .png is harmless
        stream = io.BytesIO()
        with Image.open(image.path) as pixels:
            pixels.save(stream, "WEBP", lossless=True)
        yield f"shared/data/kodak/{image.name}", stream.getvalue()
    for backbone in (ALEXNET, SQUEEZENET):
        path = backbone.find()
        yield f"shared/data/weights/{path.name}", path


def write_archive(archive: Path, content: Iterator[tuple[str, Path | bytes]]) -> None:
    """Write an archive, compressed if named .gz; raises `UsageError` if it is too large."""
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as tar:
        for name, source in content:
            if isinstance(source, Path):
                tar.add(source, name, recursive=False)
            else:
                entry = tarfile.TarInfo(name)
                entry.size = len(source)
                tar.addfile(entry, io.BytesIO(source))
    size = archive.stat().st_size
    size_text = f"{archive}: {size / 2**20:.1f} MiB"
    if size > MAX_ARCHIVE_BYTES:
        archive.unlink()
        raise UsageError(f"{size_text}, but the limit is {MAX_ARCHIVE_BYTES >> 20} MiB")
    print(size_text, flush=True)
