"""Checks of keys and hosts, and the error of a setting that is wrong."""

from __future__ import annotations

import ipaddress
from pathlib import Path

MIN_KEY_CHARACTERS = 20
"""A shorter key can be guessed: a caller may try as many keys as the network carries."""


class SettingsError(Exception):
    """A setting is unknown, malformed or contradicts another; the message says what to change."""


def read_keys(file: Path) -> tuple[str, ...]:
    """Read the keys of a file, one a line. Blank lines and lines that start with # are skipped.

    A file without keys is valid: then every caller is refused. Raises SettingsError, which names
    file and line, never the key.
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
    return tuple(keys)


def key_problem(key: str) -> str | None:
    """Return why this cannot be a key: an HTTP header cannot carry it, or it can be guessed."""
    if not key:
        return "is empty"
    if not all("!" <= character <= "~" for character in key):
        return "has a character other than visible ASCII"
    if set(key) == {"*"}:
        return "is the mask that --print-config shows"
    if len(key) < MIN_KEY_CHARACTERS:
        return (
            f"is shorter than {MIN_KEY_CHARACTERS} characters and could be guessed: "
            "openssl rand -hex 32 prints a good one"
        )
    return None


def is_loopback(host: str) -> bool:
    """Return whether this host can be reached from this machine only.

    An IPv4 address may also be written as IPv6 sockets show it: `::ffff:127.0.0.1`.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
