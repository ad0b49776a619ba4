"""Compare the seconds of Pillow and pillow-simd on the sample photographs.

    .venv/bin/python tests/speed/pillow_simd.py

Both are installed from the locks into a temporary folder (pillow-simd is built: half a minute,
a C compiler, the headers of zlib and libjpeg). The two take turns, a process each; the fastest
counts. The last column says whether both made the same bytes or pixels.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left")
TURNS, REPEATS = 7, 8
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir")
LOCKED = ("--no-deps", "--require-hashes")


def install(folder: Path) -> dict[str, Path]:
    """Install both libraries below `folder`, each in its own folder for PYTHONPATH."""
    places = {"Pillow": folder / "pillow", "pillow-simd": folder / "simd"}
    lock = (ROOT / "requirements.lock").read_text()
    start = lock.index("\npillow==") + 1
    only_pillow = folder / "pillow.lock"
    only_pillow.write_text(lock[start : lock.index("    # via", start)])
    run(*PIP, "install", *LOCKED, "--target", places["Pillow"], "-r", only_pillow)
    flags = "-mavx2" if " avx2 " in Path("/proc/cpuinfo").read_text() else ""
    run(
        *(*PIP, "install", *LOCKED, "--no-build-isolation", "--no-binary", "pillow-simd"),
        *("--target", places["pillow-simd"], "-r", ROOT / "requirements-simd.lock"),
        CC=f"{os.environ.get('CC', 'cc')} {flags}",
    )
    return places


def run(*command: object, **variables: str) -> str:
    """Standard output of a program that has to succeed."""
    parts = [str(part) for part in command]
    environment = {**os.environ, **variables}
    return subprocess.run(
        parts, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout


def decode(stream: bytes) -> Any:
    """Decode a PNG or JPEG to an RGB image in memory."""
    from PIL import Image

    with Image.open(BytesIO(stream)) as image:
        return image.convert("RGB")


def encode(image: Any, quality: int) -> bytes:
    """Encode a JPEG with Pillow's defaults."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def resize(image: Any, factor: float, kind: str) -> Any:
    """Resize both sides of the image by `factor`."""
    from PIL import Image

    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling[kind])


def measure(folder: Path) -> dict[str, tuple[float, str]]:
    """Return seconds for all photographs and the sha256 of the results, by operation."""
    png = [(folder / f"{name}.png").read_bytes() for name in PHOTOGRAPHS]
    jpeg = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    images = [decode(stream) for stream in png]
    operations: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
        "load PNG": (decode, png),
        "load JPEG, quality 90": (decode, jpeg),
        "encode JPEG, quality 10": (partial(encode, quality=10), images),
        "encode JPEG, quality 50": (partial(encode, quality=50), images),
        "encode JPEG, quality 90": (partial(encode, quality=90), images),
        "shrink to 1/2, bicubic": (partial(resize, factor=0.5, kind="BICUBIC"), images),
        "shrink to 1/2, Lanczos": (partial(resize, factor=0.5, kind="LANCZOS"), images),
        "enlarge to 2, bicubic": (partial(resize, factor=2.0, kind="BICUBIC"), images),
    }
    return {name: best_of(operation, inputs) for name, (operation, inputs) in operations.items()}


def best_of(operation: Callable[[Any], Any], inputs: list[Any]) -> tuple[float, str]:
    """Fewest seconds of the repeats, and the sha256 of all outputs."""
    digest = hashlib.sha256()
    for made in map(operation, inputs):
        digest.update(made if isinstance(made, bytes) else made.tobytes())
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        for item in inputs:
            operation(item)
        seconds.append(time.perf_counter() - started)
    return min(seconds), digest.hexdigest()


def photographs(folder: Path) -> Path:
    """Write the sample photographs as PNG and as JPEG, so that both decode the same bytes."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("scikit-image, whose photographs are used, is not installed")
    folder.mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(Path(spec.origin).parent / "data" / f"{name}.png", folder)
        (folder / f"{name}.jpg").write_bytes(
            encode(decode((folder / f"{name}.png").read_bytes()), 90)
        )
    return folder


def main() -> None:
    """Install both, let them take turns, print the table."""
    parser = argparse.ArgumentParser(description="Pillow and pillow-simd, side by side.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    if (folder := parser.parse_args().measure) is not None:
        print(json.dumps(measure(folder)))
        return
    with TemporaryDirectory() as temporary:
        places = install(Path(temporary))
        images = photographs(Path(temporary) / "photographs")
        turns: dict[str, list[dict[str, tuple[float, str]]]] = {name: [] for name in places}
        for _ in range(TURNS):
            for name, place in places.items():
                made = run(sys.executable, __file__, "--measure", images, PYTHONPATH=str(place))
                turns[name].append(json.loads(made))
        for name, place in places.items():
            text = (
                "import PIL, PIL.features as f; print(PIL.__version__, f.version('libjpeg_turbo'))"
            )
            version, jpeg = run(sys.executable, "-c", text, PYTHONPATH=str(place)).split()
            print(f"{name} {version} with libjpeg-turbo {jpeg}")
    first, second = turns.values()
    print(f"{'':26}{'Pillow':>10}{'simd':>10}{'ratio':>8}  output")
    for name in first[0]:
        slow, fast = (min(turn[name][0] for turn in library) for library in (first, second))
        same = "same" if first[0][name][1] == second[0][name][1] else "differs"
        print(f"{name:26}{1e3 * slow:7.1f} ms{1e3 * fast:7.1f} ms{slow / fast:8.2f}  {same}")


if __name__ == "__main__":
    main()
