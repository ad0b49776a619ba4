"""Version and commit, as `bench --version` prints them and run records keep them."""

from importlib.metadata import version

from benchmark.system.machine import commit


def version_line() -> str:
    """Return "rdrbench 0.1.0", with the commit where the code is a checkout."""
    here = commit()
    return f"rdrbench {version('rdrbench')}" + (f", commit {here}" if here else "")
