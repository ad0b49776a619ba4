"""Print where pip is configured to look, as settings of uv: lines "NAME=value", those not set yet.

python tools/pip_settings.py    with the Python whose pip is meant; reads pip.conf and PIP_* by pip
"""

import os
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterable

NAMES = {  # what pip calls it: what uv calls it, and what it has between several values
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "keyring-provider": ("UV_KEYRING_PROVIDER", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
}
SECTIONS = ("global", "install", ":env:")  # a later one replaces what an earlier one says


def settings(listed: Iterable[str]) -> dict[str, str]:
    """Return uv's settings for the lines of `pip config list`.

    >>> settings(["global.index-url='https://a/simple'", ":env:.find-links='/b\\n/c'"])
    {'UV_DEFAULT_INDEX': 'https://a/simple', 'UV_FIND_LINKS': '/b,/c'}
    """
    variables: dict[str, str] = {}
    lines = [line.partition("=") for line in listed]
    for section in SECTIONS:
        for key, _, value in lines:
            name = key.removeprefix(f"{section}.").removeprefix("default-")
            if key.startswith(f"{section}.") and name in NAMES:
                uv, between = NAMES[name]
                variables[uv] = between.join(str(literal_eval(value)).split())
    return variables


if __name__ == "__main__":
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    for name, value in settings(done.stdout.splitlines()).items():
        if name not in os.environ:
            print(f"{name}={value}")
