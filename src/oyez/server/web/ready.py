"""A file that is the same for everybody, made ready before the server listens."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """Nothing of an answer is computed per request, so that a crowd of requests costs little."""

    body: bytes
    gzipped: bytes | None
    """None: it would not be much smaller."""
    etag: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, body: bytes, content_type: str, headers: Mapping[str, str]) -> ReadyFile:
        """content_type: with its charset, if it has one. headers: besides those of caching."""
        gzipped = gzip.compress(body, mtime=0)
        etag = hashlib.sha256(body).hexdigest()[:32]
        return cls(
            body,
            gzipped if len(gzipped) < len(body) * 0.8 else None,
            etag,
            {
                **headers,
                hdrs.CONTENT_TYPE: content_type,
                # kept by browsers, asked about each time: after an upgrade of the server nobody
                # sees a mixture of two versions
                hdrs.CACHE_CONTROL: "no-cache",
                hdrs.ETAG: f'W/"{etag}"',  # weak: the same file, packed or not
                hdrs.VARY: hdrs.ACCEPT_ENCODING,
            },
        )

    def answer(self, request: web.Request) -> web.Response:
        """200, or 304 to a client that has it already."""
        if any(known.value in (self.etag, "*") for known in request.if_none_match or ()):
            headers = {name: self.headers[name] for name in self.headers if name != "Content-Type"}
            return web.Response(status=304, headers=headers)
        if self.gzipped is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            packed = {**self.headers, hdrs.CONTENT_ENCODING: "gzip"}
            return web.Response(body=self.gzipped, headers=packed)
        return web.Response(body=self.body, headers=self.headers)
