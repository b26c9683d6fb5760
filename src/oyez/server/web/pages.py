"""What operators, load balancers and browsers read over plain HTTP: health, metrics, the web page.

None of it needs an API key. `/metrics` needs a key of its own if `metrics_key` is set.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from aiohttp import hdrs, web

from oyez import __version__
from oyez.engines.base import LANGUAGES
from oyez.metrics import CONTENT_TYPE, Metrics
from oyez.protocol.server_events import about
from oyez.server.access.admission import Admission
from oyez.server.access.callers import Accounts, DatabaseState
from oyez.server.operations import (
    BEARER_KEY,
    NAME_IN_PATH,
    Operation,
    json_answer,
    json_response,
    text_answer,
)
from oyez.server.process.supervision import EngineState, EngineWatch
from oyez.settings import MODELS, Settings

METRICS_INTERVAL_S = 0.1
"""The least time between two texts of the metrics. Making one takes about 10 ms, so requests that
come sooner share the next one."""
INDEX = "index.html"
SAMPLE = ("two_cities.wav", "two_cities.txt")
"""The recording that the page can play, and its text."""
PAGE_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "wav": "audio/wav",
}
"""Media types of the page's files by the end of their names; other files are not served."""
PAGE_HEADERS = {
    # 'self' of connect-src covers the WebSocket of the same host
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the process."""

    status: Annotated[
        EngineState,
        about(
            "`engine_restarting`: the engine has ended and is being started again; jobs wait, and "
            "sessions go on. `engine_stuck`: a call of the engine does not return."
        ),
    ] = "ok"
    version: Annotated[str, about("The version of oyez.")]


class Readiness(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the server accepts sessions."""

    status: Annotated[
        Literal["ready", "draining", "engine_restarting", "engine_stuck"],
        about(
            "`draining`: the server is shutting down and accepts no more sessions. The others are "
            "as in `/healthz`: sessions are accepted, but nothing is recognised at the moment."
        ),
    ]
    room: Annotated[
        int | None,
        about("How many more sessions the server would accept now; only when `ready`."),
    ] = None
    database: Annotated[
        DatabaseState | None,
        about(
            "The database of usage. `behind`: it does not answer, and records wait to be written; "
            "sessions go on. Only when `ready`, and with a database."
        ),
    ] = None


HEALTH = Operation(
    path="/healthz",
    name="health",
    summary="Tell whether the process is alive.",
    answers={
        200: json_answer("The process is alive.", Health(version=__version__)),
        503: json_answer(
            "The engine does not return from a call, and nothing is recognised.",
            Health(status="engine_stuck", version=__version__),
        ),
    },
)
READINESS = Operation(
    path="/readyz",
    name="readiness",
    summary="Tell whether the server accepts sessions. It listens only once the model is warm.",
    answers={
        200: json_answer("The server accepts sessions.", Readiness(status="ready", room=24)),
        503: json_answer(
            "The server is shutting down, or the engine does not work at the moment.",
            Readiness(status="draining"),
        ),
    },
)
PAGE = Operation(
    path="/",
    name="webPage",
    summary="The web page.",
    answers={200: text_answer("The page.", "text/html; charset=utf-8")},
    is_on_page=False,
)
PAGE_CONFIG = Operation(
    path="/page/config.json",
    name="webPageConfig",
    summary="The configuration of the web page.",
    answers={200: json_answer("The version, the model and the languages of the server.", None)},
    is_on_page=False,
)
PAGE_FILE = Operation(
    path="/page/{name}",
    name="webPagePart",
    summary="A file that the page loads.",
    answers={
        200: text_answer("A file that the page loads.", "*/*"),
        304: {"description": "It has not changed."},
        404: text_answer("The page has no file of this name."),
    },
    parameters=(NAME_IN_PATH,),
    is_on_page=False,
)


def health_routes(
    admission: Admission, accounts: Accounts, engine: EngineWatch
) -> list[web.RouteDef]:
    """Return the routes of `/healthz` and `/readyz`."""

    async def healthz(request: web.Request) -> web.Response:
        health = Health(status=engine.state, version=__version__)
        return json_response(health, 200 if engine.is_alive else 503)

    async def readyz(request: web.Request) -> web.Response:
        # No state for loading: the server listens only once the model is warm.
        if admission.draining:
            return json_response(Readiness(status="draining"), 503)
        if (state := engine.state) != "ok":
            return json_response(Readiness(status=state), 503)
        ready = Readiness(status="ready", room=admission.room, database=accounts.state)
        return json_response(ready)

    return [HEALTH.route(healthz), READINESS.route(readyz)]


def metrics_operation(settings: Settings) -> Operation:
    """Describe `/metrics`, with a key if these settings have one."""
    answers = {200: text_answer("The metrics in text format.", CONTENT_TYPE)}
    if settings.metrics_key:
        answers[401] = text_answer("The server's `metrics_key` is missing or wrong.")
    return Operation(
        path="/metrics",
        name="metrics",
        summary="Metrics for Prometheus.",
        answers=answers,
        security=BEARER_KEY if settings.metrics_key else (),
    )


def metrics_routes(settings: Settings, metrics: Metrics) -> list[web.RouteDef]:
    """Return the route of `/metrics`, or nothing if the setting `metrics` is off."""
    key = settings.metrics_key
    made_s = float("-inf")
    making: asyncio.Task[bytes] | None = None

    async def make() -> bytes:
        nonlocal made_s, making
        loop = asyncio.get_running_loop()
        await asyncio.sleep(made_s + METRICS_INTERVAL_S - loop.time())
        made_s, making = loop.time(), None
        return metrics.exposition()

    async def handle(request: web.Request) -> web.Response:
        nonlocal making
        if key and not _is_bearer(request.headers.get("Authorization", ""), key.get_secret_value()):
            return web.Response(
                status=401,
                text="Send the server's metrics_key: Authorization: Bearer KEY\n",
                headers={"WWW-Authenticate": "Bearer"},
            )
        # The text is always made after the request, so that it holds what happened before.
        making = making or asyncio.create_task(make())
        text = await asyncio.shield(making)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    return [metrics_operation(settings).route(handle)] if settings.metrics else []


def page_routes() -> list[web.RouteDef]:
    """Return the routes of the web page: `/`, its files, and its configuration.

    This reads the files from the disk: call it before the server listens.
    """
    served = {
        name: StaticFile(body, PAGE_TYPES[name.rpartition(".")[2]], PAGE_HEADERS)
        for name, body in read_page_files().items()
    }
    config = {"version": __version__, "model": MODELS[0], "languages": list(LANGUAGES)}

    async def index(request: web.Request) -> web.Response:
        return served[INDEX].answer(request)

    async def page_file(request: web.Request) -> web.Response:
        found = served.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound(text="No such file belongs to the page.")
        return found.answer(request)

    async def page_config(request: web.Request) -> web.Response:
        return web.json_response(config, headers={**PAGE_HEADERS, "Cache-Control": "no-cache"})

    return [PAGE.route(index), PAGE_CONFIG.route(page_config), PAGE_FILE.route(page_file)]


def _is_bearer(authorization: str, key: str) -> bool:
    scheme, _, offered = authorization.strip().partition(" ")
    is_same = hmac.compare_digest(offered.strip().encode("utf-8", "surrogateescape"), key.encode())
    return scheme.lower() == "bearer" and is_same


class StaticFile:
    """A file that is the same for every client, with everything that an answer needs, so that a
    request computes nothing."""

    def __init__(self, body: bytes, media_type: str, headers: Mapping[str, str]) -> None:
        """Prepare a file. `headers` are sent with it besides those for caches."""
        gzipped = gzip.compress(body, mtime=0)
        self.body = body
        self._gzipped = gzipped if len(gzipped) < len(body) * 0.8 else None
        self._etag = hashlib.sha256(body).hexdigest()[:32]
        self._headers = {
            **headers,
            hdrs.CONTENT_TYPE: media_type,
            # Browsers keep the file but ask each time whether it has changed: after an upgrade of
            # the server no page mixes files of two versions.
            hdrs.CACHE_CONTROL: "no-cache",
            hdrs.ETAG: f'W/"{self._etag}"',  # weak: the same file, compressed or not
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
        }

    def answer(self, request: web.Request) -> web.Response:
        """Return the file, or 304 to a client that has it already."""
        if any(known.value in (self._etag, "*") for known in request.if_none_match or ()):
            headers = self._headers.copy()
            del headers[hdrs.CONTENT_TYPE]
            return web.Response(status=304, headers=headers)
        if self._gzipped is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            compressed = {**self._headers, hdrs.CONTENT_ENCODING: "gzip"}
            return web.Response(body=self._gzipped, headers=compressed)
        return web.Response(body=self.body, headers=self._headers)


def read_page_files() -> dict[str, bytes]:
    """Read every file of the web page from the disk, by name, with the sample and its text."""
    package = files("oyez")
    found = [
        *(package / "web" / "static").iterdir(),
        *(package / "assets" / name for name in SAMPLE),
    ]
    return {
        each.name: each.read_bytes() for each in found if each.name.rpartition(".")[2] in PAGE_TYPES
    }
