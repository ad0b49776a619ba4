"""Where uv looks for packages: where pip is configured to look."""

import os
import subprocess
import sys

import pytest

from support.checkout import ROOT
from tools.pip_settings import settings


def test_uv_looks_where_pip_is_configured_to_look(tmp_path):
    """As pip itself reads its files and variables; what uv is told already stays."""
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://a/simple\nfind-links =\n  /one\n  /two\ntimeout = 7\n"
        "[install]\nextra-index-url = https://b/simple https://c/simple\n"
        "[download]\nindex-url = https://d/simple\n"
    )
    variables = {
        name: value for name, value in os.environ.items() if name[:3] not in ("PIP", "UV_")
    }
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "pip_settings.py"],
        env=variables
        | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_TRUSTED_HOST": "b"}
        | {"UV_HTTP_TIMEOUT": "9"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert "UV_DEFAULT_INDEX=https://a/simple" in lines
    assert "UV_INDEX=https://b/simple https://c/simple" in lines
    assert "UV_FIND_LINKS=/one,/two" in lines
    assert "UV_INSECURE_HOST=b" in lines
    assert not any(line.startswith("UV_HTTP_TIMEOUT") for line in lines)


@pytest.mark.parametrize("order", [1, -1])
def test_a_variable_of_pip_replaces_what_its_files_say(order):
    listed = [":env:.index-url='https://v'", "global.index-url='https://g'"][::order]
    assert settings(listed) == {"UV_DEFAULT_INDEX": "https://v"}
