"""Photographs and files of the Hugging Face Hub, from its cache on this disk, or fetched into it.

A dataset is a repository of pictures in folders, or of parquet files with a column of pictures; a
split is a folder, or the files `SPLIT-00000-of-00003.parquet`. Variables of the Hub's own library,
such as HF_HOME and HF_HUB_OFFLINE, say where its cache is and whether the network may be used.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.datasets.dataset import SUFFIXES, Dataset, ImageFile
from benchmark.errors import Unavailable, UsageError
from benchmark.plugins import one_line
from benchmark.registry import require_packages
from benchmark.system.atomic import replacing
from benchmark.system.digest import cache_folder, file_sha256
from benchmark.system.foreign_files import BadFile, walk
from benchmark.system.text import parsing

MOST_OF_NAME = 200  # characters, of the picture's own name
MAGIC = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp", b"II": ".tif", b"BM": ".bmp"}
HUB_NAME = re.compile(
    r"hf:(?P<repository>[\w.-]+/[\w.-]+)(:(?P<split>[\w.-]+)|/(?P<file>[\w./-]+))?"
    r"(@(?P<revision>[\w./-]+))?"
)


class HubName(NamedTuple):
    """Dataset or file of the Hugging Face Hub."""

    repository: str  # "USER/NAME"
    split: str
    file: str
    revision: str | None

    @property
    def dataset(self) -> str:
        """Name of the results of its photographs."""
        name = self.repository.replace("/", "--")
        return f"{name}:{self.split}" if self.split else name


def hub_name(text: str) -> HubName:
    """Return the parts of `hf:USER/NAME[:SPLIT|/FILE][@REVISION]`; `UsageError` for other texts.

    >>> hub_name("hf:me/photos:test@v1").dataset, hub_name("hf:me/weights/low.pth").file
    ('me--photos:test', 'low.pth')
    """
    if parts := HUB_NAME.fullmatch(text):
        repository, split, file = (parts[key] or "" for key in ("repository", "split", "file"))
        return HubName(repository, split, file, parts["revision"])
    raise UsageError(f"{text} is not of the form hf:USER/NAME[:SPLIT][@REVISION]")


def open_hub(text: str) -> Dataset:
    """Open the photographs of `hf:USER/NAME[:SPLIT][@REVISION]` that are on this disk.

    Its origin names the revision by its commit. Raises `UsageError` for another text or a
    repository without such pictures, `Unavailable` where it was not fetched.
    """
    name = hub_name(text)
    remedy = f"fetch it with `bench fetch {text}`"
    root = Path(_asked(text, remedy, "snapshot_download", **_repository(name), local=True))
    below = (Path(folder, file) for folder, _, names in walk(root) for file in names)
    files = sorted(path for path in below if path.is_file() and _is_of(path, root, name))
    pictures = (path for path in files if path.suffix.lower() in SUFFIXES)
    images = [ImageFile(_name_below(path, root, name), path) for path in pictures]
    parquet = [path for path in files if path.suffix == ".parquet"]
    if parquet and not images:
        _require_whole(parquet, remedy)
        images = _unpacked(parquet, name, root.name)
    if not images:
        raise UsageError(f"{text} has no pictures, in files or in a column of parquet files")
    return Dataset(name.dataset, tuple(sorted(images)), origin=f"hf:{name.repository}@{root.name}")


def fetch_hub_dataset(text: str) -> None:
    """Download the photographs of a dataset into the Hub's cache; `Unavailable` without it."""
    name = hub_name(text)
    split = name.split
    patterns = [f"{split}/*", f"*/{split}/*", f"{split}-*", f"*/{split}-*", f"*{split}.parquet"]
    of_split: dict[str, Any] = {"allow_patterns": patterns} if split else {}
    _asked(text, "look at its name", "snapshot_download", **_repository(name), **of_split)


def fetch_hub_file(text: str, folder: Path, digest: str = "") -> Path:
    """Return a file of a repository, `hf:USER/NAME/FILE[@REVISION]`, fetched and verified.

    folder: where a weight file is copied to; a pack (`.tar`) stays in the Hub's cache. digest: hex
    digits that its sha256 begins with. Raises `Unavailable` where it is another file.
    """
    name = hub_name(text)
    where: dict[str, Any] = {
        "repo_id": name.repository,
        "filename": name.file,
        "revision": name.revision,
    }
    path = Path(_asked(text, "look at its name", "hf_hub_download", **where))
    sha256 = file_sha256(path)
    if not sha256.startswith(digest.lower()):
        raise Unavailable(f"{text} has sha256 {sha256[:16]}... instead of {digest[:16]}...")
    if path.suffix == ".tar" and not path.name.endswith(".pth.tar"):
        return path
    target = folder / path.name
    if target.exists() and file_sha256(target) != sha256:
        raise Unavailable(f"{target} is another file: remove it and fetch again")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as draft:
            shutil.copyfile(path, draft)
    return target


def _repository(name: HubName) -> dict[str, Any]:
    return {"repo_id": name.repository, "repo_type": "dataset", "revision": name.revision}


def _asked(text: str, remedy: str, function: str, *, local: bool = False, **asked: Any) -> str:
    """Call a function of the Hub's library; `Unavailable` for whatever it raises."""
    require_packages(text, ["huggingface_hub"])
    import huggingface_hub
    from huggingface_hub import constants, errors

    call: Callable[..., str] = getattr(huggingface_hub, function)
    try:
        return call(**asked, local_files_only=local)
    except Exception as error:  # of its library for HTTP as well
        if isinstance(error, errors.LocalEntryNotFoundError) and not local:
            raise Unavailable(
                f"{constants.ENDPOINT} cannot be reached: fetch {text} again, or put the files "
                f"into the Hub's cache, {constants.HF_HUB_CACHE}, yourself"
            ) from error
        why = "it is not in the cache of the Hub" if local else one_line(error)[:200]
        raise Unavailable(f"{text} is not here ({why}): {remedy}") from error


def _is_of(path: Path, root: Path, name: HubName) -> bool:
    """Return whether a file is of the split, if there is one, and not hidden."""
    *folders, file = path.relative_to(root).parts
    if any(part.startswith(".") for part in (*folders, file)):
        return False
    of_split = rf"{re.escape(name.split)}(-\d+-of-\d+)?\.parquet"
    return not name.split or name.split in folders or bool(re.fullmatch(of_split, file))


def _name_below(path: Path, root: Path, name: HubName) -> str:
    """Return an image's name: with a split, the path from the split's folder on."""
    parts = path.relative_to(root).parts
    return "/".join(parts[parts.index(name.split) :] if name.split else parts)


def _require_whole(files: list[Path], remedy: str) -> None:
    for path in files:
        if part := re.search(r"-of-(\d+)\.parquet$", path.name):
            stem = path.name.rsplit("-", 3)[0]
            parts = sum(other.name.startswith(f"{stem}-") for other in files)
            if parts != int(part[1]):
                raise Unavailable(
                    f"{parts} of the {int(part[1])} files of {stem} are here: {remedy}"
                )


def _unpacked(files: list[Path], name: HubName, commit: str) -> list[ImageFile]:
    """Return the pictures of parquet files, written once below the cache."""
    split = name.split or "all"
    folder = cache_folder() / "hub" / name.repository.replace("/", "--") / commit / split
    if not folder.is_dir():
        with replacing(folder) as draft:
            draft.mkdir()
            for number, (stem, content) in enumerate(_pictures(files)):
                suffix = next((s for start, s in MAGIC.items() if content.startswith(start)), "")
                (draft / f"{number:05d}{f'-{stem}' if stem else ''}{suffix}").write_bytes(content)
    above = f"{name.split}/" if name.split else ""
    return [ImageFile(above + path.name, path) for path in sorted(folder.iterdir())]


def _pictures(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the name, empty for none, and the bytes of every picture."""
    import polars as pl

    for path in files:
        try:
            with parsing("parquet file"):
                schema = pl.read_parquet_schema(path)
                kinds = schema.items()
                column = next((name for name, kind in kinds if _holds_pictures(kind)), None)
                values = pl.read_parquet(path, columns=[column])[column] if column else ()
        except (BadFile, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            why = f"{path.name} cannot be read ({one_line(error)[:200]})"
            raise Unavailable(f"{why}: delete {path} and fetch it again") from error
        if column is None:
            raise UsageError(f"{path.name} has no column of pictures: {', '.join(schema)}")
        for value in values:
            content, source = value, ""
            if isinstance(value, dict):
                content, source = value["bytes"], str(value.get("path") or "")
            if content is None:
                raise UsageError(f"{path.name} names pictures that it does not hold")
            yield re.sub(r"[^A-Za-z0-9._-]+", "_", Path(source).stem)[:MOST_OF_NAME], content


def _holds_pictures(kind: Any) -> bool:
    """Return whether a column is of bytes, or as the Hub has it, of structs with `bytes`."""
    import polars as pl

    return kind == pl.Binary or (
        isinstance(kind, pl.Struct) and pl.Field("bytes", pl.Binary) in kind.fields
    )
