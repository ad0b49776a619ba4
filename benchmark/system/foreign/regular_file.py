"""Files of any origin: opened where they are regular files, read up to a number of bytes.

A pipe in the place of a file would be waited for without end, and a device read without end. A link
would put the content of another file of the user in the place of the stranger's.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

LARGEST_FILE_BYTES = 1 << 30  # of a stream, a record, features of an image


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """Open a regular file to be read as bytes.

    within: the folder of a stranger that the file is part of; a link out of it is refused. Without
    it, the user named the file, and links are followed. Raises `OSError`, whose `strerror` says
    what is wrong: a pipe, a device, a folder, a link to elsewhere, a name that no file can have, or
    what the system says.
    """
    try:
        place = os.path.realpath(path)
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise OSError(errno.EINVAL, f"no file has such a name ({error})", str(path)) from error
    if within is not None:
        root = os.path.realpath(within)
        if os.path.commonpath([root, place]) != root:
            raise OSError(errno.ELOOP, f"it is a link that leads out of {within}", str(path))
    handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most_bytes: int, within: Path | None = None) -> bytes:
    """Return the bytes of a regular file (see `open_regular`) of at most `most_bytes`.

    No more is read than the size that the file had when it was opened: one that grows is cut, and
    one of the kernel's that claims to be empty is empty. Raises `OSError`.
    """
    with open_regular(path, within) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            why = f"it has {size} bytes, and at most {most_bytes} are read"
            raise OSError(errno.EFBIG, why, str(path))
        return file.read(size)


def is_regular(path: Path, within: Path | None = None) -> bool:
    """Return whether `open_regular` opens the file."""
    try:
        open_regular(path, within).close()
    except OSError:
        return False
    return True
