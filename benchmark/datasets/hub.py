"""Read photographs and files of the Hugging Face Hub in its local cache, or fetch them into it.

A dataset is a repository of pictures in folders, or of parquet files with a column of pictures; a
split is a folder, or the files `SPLIT-00000-of-00003.parquet`. The Hub library's environment
variables, such as HF_HOME and HF_HUB_OFFLINE, set its cache folder and whether it uses the network.
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
from benchmark.system.text import bench_command, parsing

MAX_NAME_CHARS = 200  # longer names of pictures are truncated
MAGIC = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp", b"II": ".tif", b"BM": ".bmp"}
HUB_NAME = re.compile(
    r"hf:(?P<repository>[\w.-]+/[\w.-]+)(:(?P<split>[\w.-]+)|/(?P<file>[\w./-]+))?"
    r"(@(?P<revision>[\w./-]+))?"
)


class HubName(NamedTuple):
    """Name of a dataset or file of the Hugging Face Hub."""

    repository: str  # "USER/NAME"
    split: str  # may be empty
    file: str  # may be empty
    revision: str | None

    @property
    def dataset(self) -> str:
        """Name of the dataset in results."""
        name = self.repository.replace("/", "--")
        return f"{name}:{self.split}" if self.split else name


def hub_name(text: str) -> HubName:
    """Parse `hf:USER/NAME[:SPLIT|/FILE][@REVISION]`; `UsageError` for other texts.

    >>> hub_name("hf:me/photos:test@v1").dataset, hub_name("hf:me/weights/low.pth").file
    ('me--photos:test', 'low.pth')
    """
    if parts := HUB_NAME.fullmatch(text):
        repository, split, file = (parts[key] or "" for key in ("repository", "split", "file"))
        return HubName(repository, split, file, parts["revision"])
    raise UsageError(f"{text} does not have the form hf:USER/NAME[:SPLIT][@REVISION]")


def open_hub(text: str) -> Dataset:
    """Open the fetched photographs of `hf:USER/NAME[:SPLIT][@REVISION]`.

    Raises `UsageError` for another form or without pictures, `Unavailable` if it was not fetched.
    """
    name = hub_name(text)
    remedy = f"fetch it with `{bench_command('fetch', text)}`"
    root = Path(_call_hub(text, remedy, "snapshot_download", **_repository(name), local_only=True))
    paths = (Path(folder, file) for folder, _, names in walk(root) for file in names)
    files = sorted(path for path in paths if path.is_file() and _is_in_split(path, root, name))
    pictures = (path for path in files if path.suffix.lower() in SUFFIXES)
    images = [ImageFile(_image_name(path, root, name), path) for path in pictures]
    parquet_files = [path for path in files if path.suffix == ".parquet"]
    if parquet_files and not images:
        _require_all_files(parquet_files, remedy)
        images = _unpack(parquet_files, name, root.name)
    if not images:
        raise UsageError(f"{text} has no pictures, neither as files nor in parquet files")
    return Dataset(name.dataset, tuple(sorted(images)), origin=f"hf:{name.repository}@{root.name}")


def fetch_hub_dataset(text: str) -> None:
    """Download a dataset's photographs into the Hub's cache; `Unavailable` if that fails."""
    name = hub_name(text)
    split = name.split
    patterns = [f"{split}/*", f"*/{split}/*", f"{split}-*", f"*/{split}-*", f"*{split}.parquet"]
    selection: dict[str, Any] = {"allow_patterns": patterns} if split else {}
    _call_hub(text, "check its name", "snapshot_download", **_repository(name), **selection)


def fetch_hub_file(text: str, folder: Path, digest: str = "") -> Path:
    """Fetch and verify a repository's file, `hf:USER/NAME/FILE[@REVISION]`; return its path.

    folder: weight files are copied into it; a pack (`.tar`) stays in the Hub's cache. digest: first
    hex digits of the expected sha256. Raises `Unavailable` if it is another file.
    """
    name = hub_name(text)
    location: dict[str, Any] = {
        "repo_id": name.repository,
        "filename": name.file,
        "revision": name.revision,
    }
    path = Path(_call_hub(text, "check its name", "hf_hub_download", **location))
    sha256 = file_sha256(path)
    if not sha256.startswith(digest.lower()):
        raise Unavailable(f"{text} has sha256 {sha256[:16]}... instead of {digest[:16]}...")
    if path.suffix == ".tar" and not path.name.endswith(".pth.tar"):
        return path
    target = folder / path.name
    if target.exists() and file_sha256(target) != sha256:
        raise Unavailable(f"{target} is a different file: remove the file and fetch again")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as draft:
            shutil.copyfile(path, draft)
    return target


def _repository(name: HubName) -> dict[str, Any]:
    return {"repo_id": name.repository, "repo_type": "dataset", "revision": name.revision}


def _call_hub(
    text: str, remedy: str, function: str, *, local_only: bool = False, **arguments: Any
) -> str:
    """Call a function of the Hub's library; raise `Unavailable` for any of its errors."""
    require_packages(text, ["huggingface_hub"])
    import huggingface_hub
    from huggingface_hub import constants, errors

    call: Callable[..., str] = getattr(huggingface_hub, function)
    try:
        return call(**arguments, local_files_only=local_only)
    except Exception as error:  # including errors of the Hub's HTTP library
        if isinstance(error, errors.LocalEntryNotFoundError) and not local_only:
            raise Unavailable(
                f"{constants.ENDPOINT} cannot be reached: fetch {text} again, or put the files "
                f"into the Hub's cache, {constants.HF_HUB_CACHE}, yourself"
            ) from error
        reason = "it is not in the Hub's cache" if local_only else one_line(error)[:200]
        raise Unavailable(f"{text} was not found ({reason}): {remedy}") from error


def _is_in_split(path: Path, root: Path, name: HubName) -> bool:
    """Return whether a file is not hidden, and belongs to the split if `name` has one."""
    *folders, file = path.relative_to(root).parts
    if any(part.startswith(".") for part in (*folders, file)):
        return False
    parquet_name = rf"{re.escape(name.split)}(-\d+-of-\d+)?\.parquet"
    return not name.split or name.split in folders or bool(re.fullmatch(parquet_name, file))


def _image_name(path: Path, root: Path, name: HubName) -> str:
    """Return an image's name: its path below `root`, without folders above that of the split."""
    parts = path.relative_to(root).parts
    return "/".join(parts[parts.index(name.split) :] if name.split else parts)


def _require_all_files(files: list[Path], remedy: str) -> None:
    for path in files:
        if match := re.search(r"-of-(\d+)\.parquet$", path.name):
            stem = path.name.rsplit("-", 3)[0]
            num_present = sum(file.name.startswith(f"{stem}-") for file in files)
            if num_present != int(match[1]):
                raise Unavailable(
                    f"only {num_present} of {int(match[1])} files of {stem} are present: {remedy}"
                )


def _unpack(files: list[Path], name: HubName, commit: str) -> list[ImageFile]:
    """Return the pictures of parquet files; the first call writes them to the cache."""
    split = name.split or "all"
    folder = cache_folder() / "hub" / name.repository.replace("/", "--") / commit / split
    if not folder.is_dir():
        with replacing(folder) as draft:
            draft.mkdir()
            for number, (stem, content) in enumerate(_read_pictures(files)):
                suffix = next(
                    (end for start, end in MAGIC.items() if content.startswith(start)), ""
                )
                (draft / f"{number:05d}{f'-{stem}' if stem else ''}{suffix}").write_bytes(content)
    prefix = f"{name.split}/" if name.split else ""
    return [ImageFile(prefix + path.name, path) for path in sorted(folder.iterdir())]


def _read_pictures(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    import polars as pl

    for path in files:
        try:
            with parsing("parquet file"):
                schema = pl.read_parquet_schema(path)
                columns = schema.items()
                column = next((name for name, dtype in columns if _holds_pictures(dtype)), None)
                values = pl.read_parquet(path, columns=[column])[column] if column else ()
        except (BadFile, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            message = f"{path.name} cannot be read ({one_line(error)[:200]})"
            raise Unavailable(f"{message}: delete {path} and fetch it again") from error
        if column is None:
            raise UsageError(f"{path.name} has no pictures in its columns, {', '.join(schema)}")
        for value in values:
            content, source = value, ""
            if isinstance(value, dict):
                content, source = value["bytes"], str(value.get("path") or "")
            if content is None:
                raise UsageError(f"{path.name} refers to pictures that it does not contain")
            yield re.sub(r"[^A-Za-z0-9._-]+", "_", Path(source).stem)[:MAX_NAME_CHARS], content


def _holds_pictures(dtype: Any) -> bool:
    """Return whether a column has bytes, or structs with a field `bytes` as on the Hub."""
    import polars as pl

    return dtype == pl.Binary or (
        isinstance(dtype, pl.Struct) and pl.Field("bytes", pl.Binary) in dtype.fields
    )
