"""The HTTP application: every route, built from settings and loaded engines."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from oyez import __version__
from oyez.files.transcriber import Transcriber
from oyez.metrics import Metrics
from oyez.runtime.loader import Engines
from oyez.server import realtime
from oyez.server.access.access import Access
from oyez.server.access.accounts import Accounts
from oyez.server.access.key_watch import KeyWatch
from oyez.server.process.connections import Connections
from oyez.server.process.engine_watch import EngineWatch
from oyez.server.process.loop_watch import loop_watch
from oyez.server.realtime import Realtime
from oyez.server.reference.routes import reference_routes
from oyez.server.transcriptions.plain_errors import plain_errors
from oyez.server.transcriptions.routes import openai_routes
from oyez.server.transcriptions.transcriptions import Transcriptions
from oyez.server.web.cors import Cors
from oyez.server.web.health import http_routes
from oyez.server.web.metrics import metrics_routes
from oyez.server.web.page import page_routes
from oyez.server.web.proxies import TrustedProxies, believe
from oyez.server.web.watch import http_watch
from oyez.settings import Settings

FILES_STOP_S = 1.0
"""Until what could not be finished has been answered."""


class Server:
    """Build it on the event loop; run `app`; then `drain` and `stop`.

    Raises SettingsError when the keys file cannot be read.
    """

    def __init__(
        self, settings: Settings, engines: Engines, metrics: Metrics, accounts: Accounts
    ) -> None:
        self.metrics = metrics
        self.access = Access(settings, accounts)
        self.realtime = Realtime(settings, engines, metrics, self.access)
        transcriber = Transcriber(
            self.realtime.scheduler,
            self.realtime.vad_batcher,
            engines.emotion,
            engines.recogniser.info.parallel,
        )
        self.transcriptions = Transcriptions(
            settings, metrics, self.access, self.realtime.admission, transcriber, realtime.new_id
        )
        metrics.build.info(
            {
                "version": __version__,
                "engine": settings.engine,
                "model": Path(settings.model).name,
            }
        )
        self.engine_watch = EngineWatch(self.realtime.scheduler)
        trusts = TrustedProxies(settings.trusted_proxies).trusts
        self.connections = Connections.of(settings, trusts)
        cors = Cors(settings.allowed_origins)
        middlewares = [self.connections.middleware, *_middlewares(settings, metrics, cors)]
        self.app = web.Application(middlewares=middlewares)
        self.app.on_response_prepare.append(self.connections.upgraded)
        cors.join(self.app)
        watch = self.realtime.watch
        self.app.cleanup_ctx.append(loop_watch(self.metrics.loop_lag, watch.seldom))
        self.app.cleanup_ctx.append(self.engine_watch.run_with)
        self.app.cleanup_ctx.append(KeyWatch(self.access.static, accounts.directory).run_with)
        self.app.add_routes(
            [
                web.get(realtime.PATH, self.realtime.handle),
                web.get(realtime.PATH + "/", self.realtime.handle),
                *http_routes(self.realtime.admission, accounts, self.engine_watch),
                *openai_routes(self.transcriptions, self.access, watch, settings.models),
                *metrics_routes(settings, metrics),
                *(reference_routes(settings) if settings.docs else []),
                *(page_routes() if settings.web_page else []),
            ]
        )

    async def drain(self, timeout_s: float) -> None:
        """Let no one in; finish sessions, files and requests; what is left after `timeout_s` is
        closed (sessions, about a second later), answered 503 (files) or left alone (requests)."""
        await asyncio.gather(
            self.realtime.drain(timeout_s),
            self.transcriptions.drain(timeout_s),
            self.connections.no_requests(timeout_s + FILES_STOP_S),
        )


def _middlewares(settings: Settings, metrics: Metrics, cors: Cors) -> list[Middleware]:
    proxies = settings.trusted_proxies
    believing = [believe(TrustedProxies(proxies))] if proxies else []
    return [http_watch(metrics), *believing, cors.middleware, plain_errors]
