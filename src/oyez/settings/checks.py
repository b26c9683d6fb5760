"""What settings are held against, and how a fault of theirs is told."""

from __future__ import annotations

import ipaddress
from pathlib import Path


class SettingsError(Exception):
    """A setting is unknown, malformed or contradicts another; the message says what to change."""


def read_keys(file: Path) -> tuple[str, ...]:
    """Keys of a file, one a line; blank lines and lines that start with # are skipped.

    Raises SettingsError naming file and line, never the key.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(f"api_keys_file {file}: {reason}") from None
    keys = []
    for number, line in enumerate(lines, start=1):
        key = line.split(" #", 1)[0].strip()
        if not key or key.startswith("#"):
            continue
        if problem := key_problem(key):
            raise SettingsError(f"{file}, line {number}: this key {problem}")
        keys.append(key)
    if not keys:
        raise SettingsError(f"api_keys_file {file}: holds no key")
    return tuple(keys)


def key_problem(key: str) -> str | None:
    """Why this cannot be a key (an HTTP header could not carry it), or None."""
    if not key:
        return "is empty"
    if not all("!" <= character <= "~" for character in key):
        return "has a character other than visible ASCII"
    if set(key) == {"*"}:
        return "is the mask that --print-config shows"
    return None


def is_loopback(host: str) -> bool:
    """Whether listening on this host is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
