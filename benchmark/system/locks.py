"""Locks among processes on open files and folders; a lock ends with the process that has it."""

import sys


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file or folder for this process alone, or together with others (`shared`).

    Returns False where there are no such locks: on Windows, on some network file systems. Raises
    `BlockingIOError` where another process has a lock; a shared lock is waited for.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
