"""Print pip's settings of indexes as uv's variables, lines "NAME=value", unless already set.

Run it with the Python of that pip, which reads pip.conf and the variables PIP_*.
"""

import os
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterable

NAMES = {  # pip's setting -> uv's variable, and its separator of several values
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
SECTIONS = ("global", "install", ":env:")  # later ones override earlier ones


def settings(config_lines: Iterable[str]) -> dict[str, str]:
    r"""Convert lines of `pip config list` to uv's variables.

    >>> settings(["global.index-url='https://a/simple'", ":env:.find-links='/b\\n/c'"])
    {'UV_DEFAULT_INDEX': 'https://a/simple', 'UV_FIND_LINKS': '/b,/c'}
    """
    variables: dict[str, str] = {}
    lines = [line.partition("=") for line in config_lines]
    for section in SECTIONS:
        for key, _, value in lines:
            name = key.removeprefix(f"{section}.").removeprefix("default-")
            if key.startswith(f"{section}.") and name in NAMES:
                uv_name, separator = NAMES[name]
                variables[uv_name] = separator.join(str(literal_eval(value)).split())
    return variables


if __name__ == "__main__":
    process = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    for name, value in settings(process.stdout.splitlines()).items():
        if name not in os.environ:
            print(f"{name}={value}")
