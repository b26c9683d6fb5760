"""Files that are the same for every client, compressed and hashed before the server listens."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from aiohttp import hdrs, web

PAGE_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "wav": "audio/wav",
}
"""Media types of the page's files by the end of their names; other files are not served."""
SAMPLE = ("two_cities.wav", "two_cities.txt")
"""The recording that the page can play, and its text."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file with everything that an answer needs, so that a request computes nothing."""

    body: bytes
    gzipped: bytes | None
    """The compressed body; None if compression saves less than a fifth."""
    etag: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, body: bytes, media_type: str, headers: Mapping[str, str]) -> StaticFile:
        """Prepare a file. `headers` are sent with it besides those for caches."""
        gzipped = gzip.compress(body, mtime=0)
        etag = hashlib.sha256(body).hexdigest()[:32]
        return cls(
            body,
            gzipped if len(gzipped) < len(body) * 0.8 else None,
            etag,
            {
                **headers,
                hdrs.CONTENT_TYPE: media_type,
                # Browsers keep the file but ask each time whether it has changed: after an upgrade
                # of the server no page mixes files of two versions.
                hdrs.CACHE_CONTROL: "no-cache",
                hdrs.ETAG: f'W/"{etag}"',  # weak: the same file, compressed or not
                hdrs.VARY: hdrs.ACCEPT_ENCODING,
            },
        )

    def answer(self, request: web.Request) -> web.Response:
        """Return the file, or 304 to a client that has it already."""
        if any(known.value in (self.etag, "*") for known in request.if_none_match or ()):
            headers = {name: self.headers[name] for name in self.headers if name != "Content-Type"}
            return web.Response(status=304, headers=headers)
        if self.gzipped is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            compressed = {**self.headers, hdrs.CONTENT_ENCODING: "gzip"}
            return web.Response(body=self.gzipped, headers=compressed)
        return web.Response(body=self.body, headers=self.headers)


def read_page_files() -> dict[str, bytes]:
    """Read every file of the web page from the disk, by name, with the sample and its text."""
    package = files("oyez")
    found = [
        *(package / "web" / "static").iterdir(),
        *(package / "assets" / each for each in SAMPLE),
    ]
    return {each.name: each.read_bytes() for each in found if name_ending(each.name) in PAGE_TYPES}


def name_ending(name: str) -> str:
    """Return the part of a file's name after the last dot."""
    return name.rpartition(".")[2]
