"""Values of options that are refused before anything is computed, each in one sentence."""

from pathlib import Path

from benchmark.codec_spec import split_unescaped
from benchmark.errors import UsageError


def stored_folder(path: Path) -> Path:
    """Refuse a folder of results that is not there; the default one may be measured later."""
    if path != Path("results") and not path.is_dir():
        raise UsageError(f"{path} holds no results: measure something with `bench run` first")
    return path


def target_folder(path: Path | None) -> Path | None:
    """Refuse, before anything is computed, a folder to write to that is a file, or below one."""
    there = next((one for one in (path, *path.parents) if one.exists()), None) if path else None
    if there is not None and not there.is_dir():
        what = "it" if there == path else there
        raise UsageError(f"{path} cannot be written: {what} is a file, and has to be a folder")
    return path


def target_file(path: Path | None) -> Path | None:
    """Refuse, before anything is computed, a file to write that is a folder, or is below a file."""
    if path is not None and path.is_dir():
        raise UsageError(f"{path} cannot be written: it is a folder, and has to be a file")
    target_folder(path.parent if path else None)
    return path


def refuse_several(option: str, text: str) -> None:
    """Raise `UsageError` where an option of one name was given a list of names."""
    if len(names := split_unescaped(text, ",")) > 1:
        raise UsageError(
            f"{option} {text} names {len(names)}, and takes one: repeat the command for each"
        )
