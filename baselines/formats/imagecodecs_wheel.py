"""The Python package imagecodecs, whose compiled libraries several codecs call."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.codec import CodecInfo
from benchmark.errors import Reason, Unavailable
from benchmark.system.digest import files_sha256
from benchmark.system.machine import package_folder


def require_imagecodecs(codec: str, part: str) -> None:
    """Raise `Unavailable` unless imagecodecs is installed and has the part ("WEBP") of a codec."""
    try:
        import imagecodecs
    except ImportError as error:
        raise Unavailable(
            f"{codec} needs the Python package imagecodecs: install it",
            Reason("package", "imagecodecs"),
        ) from error
    if not getattr(imagecodecs, part).available:
        raise Unavailable(f"{codec} is missing from this imagecodecs: install a complete wheel")


def bundled_libraries(*names: str) -> list[Path]:
    """Return the shared libraries in the wheel whose names begin with these, in this order."""
    folder = package_folder("imagecodecs").parent / "imagecodecs.libs"
    return [path for name in names for path in sorted(folder.glob(f"{name}*"))]


def part_files(part: str, libraries: Sequence[str]) -> list[Path]:
    """Return the compiled files of a part ("webp") and of the libraries that it is linked with."""
    folder = package_folder("imagecodecs")
    return [*sorted(folder.glob(f"_{part}.*so")), *bundled_libraries(*libraries)]


def describe_part(
    part: str,
    libraries: Sequence[str],
    *,
    command: str,
    licence: str,
    timed: str,
    chroma: str,
    tuned_for: str = "",
) -> CodecInfo:
    """Describe a codec by its part of imagecodecs; the fingerprint is of `part_files`.

    imagecodecs does not report libaom's version, which is read from the file's name.
    """
    import imagecodecs

    files = part_files(part, libraries)
    versions = [getattr(imagecodecs, f"{part}_version")()]
    versions += [_release(path) for path in files if path.name.startswith("libaom")]
    return CodecInfo(
        version=f"{', '.join(versions)}, imagecodecs {imagecodecs.__version__}",
        command=command,
        licence=licence,
        fingerprint=files_sha256(files),
        revision=1,
        timed=timed,
        chroma=chroma,
        tuned_for=tuned_for,
    )


def _release(path: Path) -> str:
    """Return the release in a shared library's file name.

    >>> _release(Path("libaom-91a0fe69.so.3.13.1"))
    'libaom 3.13.1'
    """
    name, _, release = path.name.partition(".so.")
    return f"{name.partition('-')[0]} {release}"
