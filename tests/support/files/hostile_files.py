"""Files of strangers that ask a reader for more than they are: tars, torch files, pictures."""

import io
import os
import tarfile
import zipfile

from support.files import image_files


class MakesFolder:
    """Unpickled by anything that trusts it, makes a folder."""

    def __init__(self, folder):
        self._folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self._folder),)


def tar_of(path, members, prefix=b""):
    """Write a tar of those members, behind any bytes."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(prefix + path.read_bytes())
    return path


def extended(kind, content, size=None):
    """Return an extended header of a tar, which may claim another size than its content has."""
    info = tarfile.TarInfo("extended")
    info.type, info.size = kind, len(content) if size is None else size
    return info.tobuf() + content + b"\0" * (-len(content) % 512)


HEADERS = {
    "one long number": extended(b"x", b"9" * 160_000),
    "a number that does not end": extended(b"x", b"9" * 8000),
    "a size of the member": extended(b"x", b"13 size=1000\n"),
    "a map of holes": extended(b"x", b"22 GNU.sparse.major=1\n"),
    "a long name of a megabyte": extended(b"L", b"a" * (1 << 20)),
    "more bytes than the file has": extended(b"x", b"", size=1 << 40),
    "a record of no length": extended(b"x", b"0 path=a\n"),
}


def bomb(path, zeros=0):
    """Write a torch file that unpacks to a hundred times itself; `zeros` are put behind it."""
    import torch

    torch.save({"a": torch.zeros(1 << 20)}, path)
    with zipfile.ZipFile(path) as plain:
        parts = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in parts.items():
            packed.writestr(name, data)
    with path.open("ab") as file:
        file.write(bytes(zeros))
    return path


def png(rows_there, height=20, width=16, mode="RGB"):
    """Return a PNG that announces `height` rows and whose data hold the first `rows_there`."""
    line = b"\0" + b"\x7f" * width * (3 if mode == "RGB" else 1)
    return image_files.png(width, height, 8, {"RGB": 2, "L": 0}[mode], line * rows_there)
