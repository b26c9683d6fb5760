"""What holds for every test."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest

# before anything of oyez is imported: no test, and no program it starts, may write the keys and
# the usage of whoever runs it
_data = tempfile.mkdtemp(prefix="oyez-tests-")
os.environ["XDG_DATA_HOME"] = _data
atexit.register(shutil.rmtree, _data, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--attack-s",
        type=float,
        default=0.5,
        help="how long each attack of tests/adversary lasts, in seconds; generated ones: so many "
        "times as many",
    )
