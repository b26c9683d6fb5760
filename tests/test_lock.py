"""The lock files in `requirements/` hold what pyproject.toml asks for, with the hashes of each."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[Any]] = PROJECT["dependency-groups"]


@dataclass(frozen=True)
class Entry:
    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        assert only.operator == "==" and not only.version.endswith("*"), str(self.requirement)
        return only.version


def entries(text: str) -> list[Entry]:
    """Whatever pip would read in a requirements file; anything but pinned packages is an error."""
    found = []
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            head, *hashes = re.split(r"\s+--hash=", line.strip())
            found.append(Entry(Requirement(head), tuple(hashes)))
    return found


def locked(name: str) -> dict[str, list[Entry]]:
    """By package; one may stand there more than once, for different systems."""
    found: dict[str, list[Entry]] = {}
    for each in entries((ROOT / "requirements" / name).read_text()):
        found.setdefault(canonicalize_name(each.requirement.name), []).append(each)
    return found


def group(name: str) -> list[str]:
    found = []
    for each in GROUPS[name]:
        found += [each] if isinstance(each, str) else group(each["include-group"])
    return found


def complaints(asked: list[str], there: dict[str, list[Entry]]) -> list[str]:
    found = []
    for line in asked:
        wanted = Requirement(line)
        pinned = there.get(canonicalize_name(wanted.name), [])
        if not pinned:
            found.append(f"{line}: not locked")
        found += [
            f"{line}: locked is {each.version}"
            for each in pinned
            if not wanted.specifier.contains(each.version, prereleases=True)
        ]
    return found


DEPENDENCIES: list[str] = PROJECT["project"]["dependencies"]
ASKED = {
    "server.txt": [*DEPENDENCIES, *EXTRAS["postgres"], *group("build")],
    "development.txt": [*DEPENDENCIES, *sum(EXTRAS.values(), []), *group("dev")],
    "pip.txt": group("pip"),
    "tools.txt": group("tools"),
}


@pytest.mark.parametrize("name", ASKED)
def test_everything_asked_for_is_locked_at_a_version_that_fits(name: str) -> None:
    assert complaints(ASKED[name], locked(name)) == [], "make lock"


@pytest.mark.parametrize("file", LOCKS, ids=lambda file: file.name)
def test_every_package_is_pinned_with_hashes_and_no_index_is_named(file: Path) -> None:
    assert file.name in ASKED
    text = file.read_text()
    for each in entries(text):
        assert each.version
        assert each.hashes, each.requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in each.hashes)
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_servers_run_with_what_is_tested() -> None:
    tested = locked("development.txt")
    for name, pinned in locked("server.txt").items():
        assert {one.version for one in pinned} <= {one.version for one in tested[name]}, name


def test_the_build_backend_is_a_locked_one() -> None:
    assert PROJECT["build-system"]["requires"] == group("build")


def test_the_checks_can_fail() -> None:
    lock = {"aiohttp": entries("aiohttp==3.14.0 \\\n    --hash=sha256:" + "0" * 64)}
    assert complaints(["aiohttp>=3.14.5"], lock) == ["aiohttp>=3.14.5: locked is 3.14.0"]
    assert complaints(["aiohttp", "av>=18.1"], lock) == ["av>=18.1: not locked"]
    with pytest.raises(ValueError):
        entries("--index-url https://example.org/simple")
    with pytest.raises(AssertionError):
        entries("aiohttp>=3.14 --hash=sha256:" + "0" * 64)[0].version  # noqa: B018
