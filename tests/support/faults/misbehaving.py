"""Shell scripts that misbehave as encoders, each in one way: $1 is the source, $2 the stream.

A `{mark}` in them is a number of seconds by which a process that is left is recognised.
"""

# The decoder is `cp` of a PNG.
MISBEHAVING = {
    "hangs": "sleep {mark}",
    "hangs and ignores being asked to stop": "trap '' TERM INT HUP; while :; do sleep {mark}; done",
    "writes nothing": "true",
    "writes nothing and fails": "echo no such luck >&2; exit 3",
    "writes an empty stream": ": > $2",
    "complains for ever": "exec yes no such luck >&2",
    "talks for ever": "exec yes",
    "kills itself": "kill -SEGV $$",
    "removes its own folder": 'rm -rf "$(dirname $2)"',
    "makes its stream a folder": "mkdir $2",
    "makes its stream a pipe": "mkfifo $2",
    "never stops writing its stream": "exec cat /dev/zero > $2",
}
# These end well: what they claim or leave behind does not count.
HONEST_ENOUGH = {
    "lies about its size": "cp $1 $2; echo encoded to 1 byte, .001 bpp; echo 1 > $2.size",
    "forks a child that outlives it": "cp $1 $2; sleep {mark} & true",
    "forks a child in a session of its own": "cp $1 $2; setsid sh -c 'sleep {mark}' & true",
    "leaves a child that writes to its stream": "cp $1 $2; (sleep 1; echo more >> $2) & true",
}

# 400 MB where the harness reads 1 MiB, and where a stream of 24 x 20 pixels may have 1.06 MB.
FLOODS = {
    "prints": "cp $1 $2; head -c 400000000 /dev/zero",
    "complains": "cp $1 $2; head -c 400000000 /dev/zero >&2; exit 1",
    "writes": "head -c 400000000 /dev/zero > $2",
}

# A `sitecustomize.py`: files of programs may have a MiB. The default, a GiB, takes a while.
SMALL_FILES = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = super().find_spec(name, path, target)
        if found is not None and name == "benchmark.system.programs":
            execute = found.loader.exec_module
            def smaller(module):
                execute(module)
                module.LARGEST_FILE_BYTES = 1 << 20
            found.loader.exec_module = smaller
        return found

sys.meta_path.insert(0, Finder)
"""
