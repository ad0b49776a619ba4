"""A disk that loses its power: which files there may be after some of the recorded changes.

The model is what POSIX promises and no more. A file's content is sure after an fsync of the file,
a folder's entries after one of the folder; of everything else any part may be there, or none. An
entry that is renamed within its folder has one of its two names; the later of two changes of one
entry never stands alone for the earlier.
"""

import base64
import os
from dataclasses import dataclass, field


@dataclass
class File:
    """A file: its content as processes see it, and the one that is sure."""

    content: bytes = b""
    sure: bytes = b""


@dataclass
class Folder:
    """A folder: the entries that are sure, and the changes since, in their order."""

    entries: dict = field(default_factory=dict)
    changes: list = field(default_factory=list)  # of (name, File, Folder or None for none)s

    def now(self):
        result = dict(self.entries)
        for change in self.changes:
            _apply(result, change)
        return result


class Disk:
    """A folder of a disk, on which recorded changes are made."""

    def __init__(self):
        self.root = Folder()

    def fill(self, folder):
        """Take what is in a folder of the real disk, all of it sure."""
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            above, last = self._folder(name)
            data = None if path.is_dir() else path.read_bytes()
            above.entries[last] = Folder() if data is None else File(data, data)

    def at(self, name):
        result = self.root
        for part in () if name == "." else name.split("/"):
            result = result.now()[part]
        return result

    def make(self, change):
        """Make a change as `support.faults.recorded_writes` tells it."""
        what, name, *rest = change
        if what == "fsync":
            self._synchronise(self.at(name))
            return
        if what == "write":
            self.at(name).content += base64.b64decode(rest[0])
            return
        folder, last = self._folder(name)
        if what == "open":
            there = folder.now().get(last)
            if there is None:
                folder.changes.append([(last, File())])
            elif not rest[0]:
                there.content = b""
        elif what == "mkdir":
            folder.changes.append([(last, Folder())])
        elif what == "unlink":
            folder.changes.append([(last, None)])
        elif what == "rename":
            other, new = self._folder(rest[0])
            _rename(folder, last, other, new)
        elif what == "link":
            other, new = self._folder(rest[0])
            other.changes.append([(new, folder.now()[last])])
        else:
            raise ValueError(what)

    def _folder(self, name):
        above, _, last = name.rpartition("/")
        return self.at(above or "."), last

    def _synchronise(self, one):
        if isinstance(one, File):
            one.sure = one.content
        else:
            one.entries, one.changes = one.now(), []


def write_lost(disk, place, chance):
    """Write to `place` what may be there after a loss of power; `chance` decides.

    Of each change that is not sure one of these happens: all are lost, all are there, or each by a
    throw; contents that are not sure are the sure ones, the present ones, a part, or zeros.
    """
    names, contents = chance.choice(("lost", "there", "some")), chance.choice(("lost", "some"))
    _write_folder(disk.root, place, chance, names, contents, {})


def write_all(disk, place):
    """Write to `place` what processes saw."""
    _write_folder(disk.root, place, None, "there", "there", {})


def _write_folder(folder, place, chance, names, contents, written):
    """Write a folder; `written` is the path of each file, by its id, for its further names."""
    place.mkdir(exist_ok=True)
    result = dict(folder.entries)
    for change in folder.changes:
        if names == "there" or (names == "some" and chance.random() < 0.5):
            _apply(result, change)
    for name, one in result.items():
        if isinstance(one, Folder):
            _write_folder(one, place / name, chance, names, contents, written)
        elif id(one) in written:
            os.link(written[id(one)], place / name)
        else:
            (place / name).write_bytes(_content(one, chance, contents))
            written[id(one)] = place / name


def _content(one, chance, contents):
    if one.content == one.sure or contents == "there":
        return one.content
    if contents == "lost":
        return one.sure
    begin = one.sure if one.content.startswith(one.sure) else b""
    rest = one.content[len(begin) :]
    part = rest[: chance.randrange(len(rest) + 1)]
    return chance.choice((one.sure, one.content, begin + part, begin + bytes(len(rest))))


def _rename(folder, last, other, new):
    moved = folder.now()[last]
    if other.now().get(new) is moved:
        return  # two names of one file both stay, as POSIX has it
    if other is folder:
        folder.changes.append([(last, None), (new, moved)])
    else:
        folder.changes.append([(last, None)])
        other.changes.append([(new, moved)])


def _apply(entries, change):
    for name, one in change:
        if one is None:
            entries.pop(name, None)
        else:
            entries[name] = one
