"""A measured server for most of the modules, and how long attacks last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.adversary import MeasuredServer, measured_server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeasuredServer]:
    with measured_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def attack_s(pytestconfig: pytest.Config) -> float:
    """How long an attack lasts."""
    return float(pytestconfig.getoption("attack_s"))
