"""The HTTP application: every route, built from settings and loaded engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from oyez import __version__
from oyez.files.transcriber import Transcriber
from oyez.metrics import Metrics
from oyez.runtime.loader import Engines
from oyez.server.access.access import Access
from oyez.server.access.callers import Accounts
from oyez.server.process.connections import Connections
from oyez.server.process.event_loop import measure_lag
from oyez.server.process.supervision import EngineWatch
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
        self.engine_watch = EngineWatch(self.realtime.scheduler)
        transcriber = Transcriber(
            self.realtime.scheduler,
            self.realtime.vad_batcher,
            engines.emotion,
            engines.recogniser.info.parallel,
        )
        self.transcriptions = Transcriptions(
            settings, metrics, self.access, self.realtime.admission, transcriber, new_id
        )
        model = Path(settings.model).name
        metrics.build.info({"version": __version__, "engine": settings.engine, "model": model})
        proxies = TrustedProxies(settings.trusted_proxies)
        self.connections = Connections(settings, proxies.trusts)
        cors = Cors(settings.allowed_origins)
        self.app = web.Application(
            middlewares=[
                self.connections.middleware,
                count_requests(metrics),
                *([resolve_client(proxies)] if settings.trusted_proxies else []),
                cors.middleware,
                answer_errors(self.realtime.watch.refused),
            ]
        )
        self.app.on_response_prepare.append(self.connections.on_response_prepare)
        cors.join(self.app)
        self.app.cleanup_ctx.append(self._watch)
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

    async def _watch(self, app: web.Application) -> AsyncIterator[None]:
        """Check the engine and the event loop while the application runs."""
        lag = measure_lag(self.metrics.loop_lag, self.realtime.watch.seldom)
        tasks = [asyncio.create_task(each) for each in (self.engine_watch.run(), lag)]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
