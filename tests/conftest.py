"""What holds for every test."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# before anything of oyez is imported: no test, and no program it starts, may write the keys and
# the usage of whoever runs it
_data = tempfile.mkdtemp(prefix="oyez-tests-")
os.environ["XDG_DATA_HOME"] = _data
atexit.register(shutil.rmtree, _data, ignore_errors=True)

# how long one example takes says nothing on a machine that does other things too
settings.register_profile("oyez", deadline=None)
settings.load_profile("oyez")

QUICK = ("unit", "property", "contract", "research")
"""Folders of tests that need no model, browser, database or programs of others."""
SLOW = ("model", "clients", "slow")
"""Marks of tests in them that `--quick` leaves out."""
TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--attack-s",
        type=float,
        default=0.5,
        help="how long each attack of tests/adversary lasts, in seconds; generated ones: so many "
        "times as many",
    )
    parser.addoption("--quick", action="store_true", help="only the tests of `make check`")
    parser.addoption("--rest", action="store_true", help="all tests but those of `make check`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip folders without quick tests, because importing them takes seconds."""
    is_slow = collection_path.parent == TESTS and collection_path.name not in QUICK
    return True if config.getoption("--quick") and is_slow and collection_path.is_dir() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    quick, rest = config.getoption("--quick"), config.getoption("--rest")
    if not (quick or rest):
        return
    chosen = [item for item in items if is_quick(item) == quick]
    config.hook.pytest_deselected(items=[item for item in items if is_quick(item) != quick])
    items[:] = chosen


def is_quick(item: pytest.Item) -> bool:
    """Whether a test is one of `make check`."""
    folder, *below = item.path.relative_to(TESTS).parts
    is_in_folder = folder in QUICK or not below
    return is_in_folder and not any(item.get_closest_marker(mark) for mark in SLOW)
