"""Whether the packages here are those that oyez was installed for."""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement


def outdated() -> list[str]:
    """Packages that oyez needs and whose version here it does not admit, in words:
    "aiohttp 3.14.0 (needed: >=3.14.5)". What pip installs is right; it can be changed later, and
    some limits that oyez promises are kept by a package from one version on.

    Extras do not count. Empty where oyez runs without having been installed.
    """
    try:
        needed = [Requirement(line) for line in metadata.requires("oyez") or ()]
    except metadata.PackageNotFoundError:
        return []
    found = []
    for each in needed:
        if each.marker and not each.marker.evaluate({"extra": ""}):
            continue
        try:
            here = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            found.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(here, prereleases=True):
            found.append(f"{each.name} {here} (needed: {each.specifier})")
    return found
