"""The page at `/`: plain HTML, CSS and JavaScript modules, served as they are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".txt": "text/plain",
}
"""What a browser is told by the ending; a file of any other kind is not served."""
INDEX = "index.html"
SAMPLE = ("two_cities.wav", "two_cities.txt")


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page."""

    name: str
    content_type: str
    body: bytes


def read_files() -> dict[str, File]:
    """Every file of the page by its name, the sample and its text among them. Reads the disk."""
    package = files("oyez")
    found = [each for each in (package / "web" / "static").iterdir() if _ending(each.name) in TYPES]
    found += [package / "assets" / name for name in SAMPLE]
    return {
        each.name: File(each.name, TYPES[_ending(each.name)], each.read_bytes()) for each in found
    }


def _ending(name: str) -> str:
    return name[name.rfind(".") :]
