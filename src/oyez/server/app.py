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
from oyez.server.access.access import Access, Accounts
from oyez.server.access.callers import KeyWatch
from oyez.server.process.connections import Connections
from oyez.server.process.event_loop import lag_watch
from oyez.server.process.watchdog import EngineWatch
from oyez.server.realtime import Realtime, new_id
from oyez.server.reference.openapi import upgrade_operations
from oyez.server.reference.page import reference_routes
from oyez.server.transcriptions.endpoint import Transcriptions
from oyez.server.transcriptions.errors import answer_errors
from oyez.server.web.middleware import Cors, TrustedProxies, count_requests, resolve_client
from oyez.server.web.pages import health_routes, metrics_routes, page_routes
from oyez.settings import Settings

FILES_STOP_S = 1.0
"""How long files that could not be finished may take to be answered."""


class Server:
    """The whole server behind its HTTP application.

    Make it on the event loop and run `app`. To shut down, call `drain` and then `realtime.stop`.
    """

    def __init__(
        self, settings: Settings, engines: Engines, metrics: Metrics, accounts: Accounts
    ) -> None:
        """Build every part from the settings and the loaded engines. Raises SettingsError if the
        keys file cannot be read."""
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
            settings, metrics, self.access, self.realtime.admission, transcriber, new_id
        )
        metrics.build.info(
            {
                "version": __version__,
                "engine": settings.engine,
                "model": Path(settings.model).name,
            }
        )
        self.engine_watch = EngineWatch(self.realtime.scheduler)
        proxies = TrustedProxies(settings.trusted_proxies)
        self.connections = Connections.from_settings(settings, proxies.trusts)
        cors = Cors(settings.allowed_origins)
        middlewares = [self.connections.middleware, *_middlewares(settings, metrics, cors)]
        middlewares.append(answer_errors(self.realtime.watch.refused))
        self.app = web.Application(middlewares=middlewares)
        self.app.on_response_prepare.append(self.connections.on_response_prepare)
        cors.join(self.app)
        watch = self.realtime.watch
        self.app.cleanup_ctx.append(lag_watch(metrics.loop_lag, watch.seldom))
        self.app.cleanup_ctx.append(self.engine_watch.run_with)
        self.app.cleanup_ctx.append(KeyWatch(self.access.static, accounts.directory).run_with)
        self.app.add_routes(
            [
                *(each.route(self.realtime.handle) for each in upgrade_operations(settings)),
                *health_routes(self.realtime.admission, accounts, self.engine_watch),
                *self.transcriptions.routes(),
                *metrics_routes(settings, metrics),
                *(reference_routes(settings) if settings.docs else []),
                *(page_routes() if settings.web_page else []),
            ]
        )

    async def drain(self, timeout_s: float) -> None:
        """Refuse new sessions and files, and finish the open ones.

        What is left after `timeout_s` is closed (sessions, about a second later), answered 503
        (files) or left alone (other requests).
        """
        await asyncio.gather(
            self.realtime.drain(timeout_s),
            self.transcriptions.drain(timeout_s),
            self.connections.wait_for_requests(timeout_s + FILES_STOP_S),
        )


def _middlewares(settings: Settings, metrics: Metrics, cors: Cors) -> list[Middleware]:
    """Return those between the middleware of connections and that of errors, from the outermost."""
    proxies = settings.trusted_proxies
    resolving = [resolve_client(TrustedProxies(proxies))] if proxies else []
    return [count_requests(metrics), *resolving, cors.middleware]
