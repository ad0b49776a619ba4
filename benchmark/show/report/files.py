"""Files of a report: a new report replaces the earlier one as a whole.

A report's files are listed in its manifest `report.json`. Other files, and files that the user
changed, are kept. `results/<dataset>/report` belongs to bench: there a report overwrites any file
that has the name of one of its own.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, suppress
from errno import EISDIR
from hashlib import sha256
from pathlib import Path
from re import compile as pattern

import msgspec

from benchmark.errors import StoreError, UsageError
from benchmark.system.atomic import delay_signals, replacing, require_inside, write_file
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import json_bytes, read_json, utf8

MANIFEST = "report.json"
PAGE = "page.html"
PICTURES = "pictures"  # folder next to the page
PICTURE = pattern(r"[0-9a-f]{64}\.(png|webp|avif|jpg)")  # named by the sha256 of its pixels


class Manifest(msgspec.Struct, frozen=True):
    """Record of the files that bench wrote to a report's folder."""

    command: str = ""  # command that reproduces the report
    files: Mapping[str, str] = {}  # sha256 by name; "" if unknown
    page_images: str = ""  # --page-images of the page in `files`
    pictures: tuple[str, ...] = ()  # names of files in the folder PICTURES


class ReportFiles:
    """The folder of a report, and the files of an earlier report in it."""

    def __init__(self, folder: Path, owned_by_bench: bool = False) -> None:
        """Read the manifest; raise `StoreError` if invalid. owned_by_bench: see the module."""
        self.folder = folder
        self._owned_by_bench = owned_by_bench
        self._manifest = _read_manifest(folder / MANIFEST)

    @property
    def page_images(self) -> str | None:
        """The --page-images of the stored page; None without a page."""
        if PAGE not in self._manifest.files or not (self.folder / PAGE).is_file():
            return None
        return self._manifest.page_images

    def require_writable(self, names: AbstractSet[str]) -> None:
        """Raise `UsageError` if a report would overwrite a user's file, or write through a link."""
        if self._owned_by_bench:
            require_inside(self.folder.parent, self.folder / MANIFEST)
        if (pictures := self.folder / PICTURES).is_symlink():
            raise UsageError(f"{pictures} is a link, but a page needs a folder: remove the link")
        written_names = {*self._manifest.files} | ({MANIFEST} if self._manifest.files else set())
        for name in sorted({*names, MANIFEST} - written_names) if not self._owned_by_bench else ():
            if (self.folder / name).exists():
                raise UsageError(
                    f"{self.folder / name} was not written by bench, but a report needs a file "
                    "with that name: give --out another folder"
                )

    def replace(self, files: Mapping[str, str | bytes], command: str) -> list[str]:
        """Replace the earlier report, including its page; return the names of kept files.

        Obsolete files that were changed since they were written are kept. A page's pictures stay
        until `end_page`. Drafts are renamed after all have been written. Raises `StoreError` for an
        unwritable folder.
        """
        self.require_writable(files.keys())
        content = {
            name: utf8(text) if isinstance(text, str) else text for name, text in files.items()
        }
        digests = {name: sha256(text).hexdigest() for name, text in content.items()}
        obsolete_files = {
            name: digest for name, digest in self._manifest.files.items() if name not in files
        }
        changed_names = sorted(
            name for name, digest in obsolete_files.items() if self._is_changed(name, digest)
        )
        new_manifest = msgspec.structs.replace(self._manifest, command=command, files=digests)
        combined_manifest = msgspec.structs.replace(
            new_manifest, files={**self._manifest.files, **digests}
        )
        try:
            with delay_signals():
                with ExitStack() as drafts:  # renamed after all are written, manifest first
                    for name, data in {**content, MANIFEST: json_bytes(combined_manifest)}.items():
                        if (self.folder / name).is_dir():
                            raise IsADirectoryError(EISDIR, "Is a directory")
                        drafts.enter_context(replacing(self.folder / name)).write_bytes(data)
                for name in obsolete_files.keys() - set(changed_names):
                    (self.folder / name).unlink(missing_ok=True)
                self._write_manifest(new_manifest)
        except OSError as error:
            reason = f"the report in {self.folder} cannot be written: {error.strerror}"
            raise StoreError(reason) from error
        return changed_names

    def end_page(self, page_images: str | None, pictures: Sequence[str] = ()) -> None:
        """Record the page (None: no page) and its `pictures`; remove an earlier page's pictures."""
        from benchmark.system.digest import file_sha256

        files = dict(self._manifest.files)
        if page_images is not None:
            files[PAGE] = file_sha256(self.folder / PAGE)
        old_pictures, folder = {*self._manifest.pictures} - {*pictures}, self.folder / PICTURES
        if old_pictures and not folder.is_symlink():
            for name in filter(PICTURE.fullmatch, old_pictures):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # it contains other files
                folder.rmdir()
        if page_images is not None or old_pictures:
            self._write_manifest(
                Manifest(self._manifest.command, files, page_images or "", tuple(pictures))
            )

    def _is_changed(self, name: str, digest: str) -> bool:
        from benchmark.system.digest import file_sha256  # imports numpy, too slow for `--help`

        path = self.folder / name
        return bool(digest) and path.is_file() and file_sha256(path) != digest

    def _write_manifest(self, manifest: Manifest) -> None:
        write_file(self.folder / MANIFEST, json_bytes(manifest))
        self._manifest = manifest


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = read_json(path, Manifest)
    except FileNotFoundError:
        return Manifest()
    except (OSError, BadFile) as error:
        raise StoreError(
            f"{path} is not a valid list of a report's files: {error}; remove it, or give --out "
            "another folder"
        ) from error
    # The manifest may come from a stranger: ignore paths outside the folder.
    local_files = {
        name: digest for name, digest in manifest.files.items() if Path(name).name == name
    }
    return msgspec.structs.replace(manifest, files=local_files)
