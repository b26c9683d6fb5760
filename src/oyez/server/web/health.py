"""What operators and load balancers ask over plain HTTP. None of it needs a key."""

from __future__ import annotations

from aiohttp import web

from oyez import __version__
from oyez.server.access.access import Accounts
from oyez.server.access.admission import Admission
from oyez.server.bodies import Health, Readiness, json_response
from oyez.server.process.engine_watch import EngineWatch


def http_routes(
    admission: Admission, accounts: Accounts, engine: EngineWatch
) -> list[web.RouteDef]:
    """`/healthz`: the process is alive. `/readyz`: sessions are let in, and recognised."""

    async def healthz(request: web.Request) -> web.Response:
        health = Health(status=engine.state, version=__version__)
        return json_response(health, 200 if engine.is_alive else 503)

    async def readyz(request: web.Request) -> web.Response:
        # the socket listens only once the model is warm: see lifecycle
        if admission.draining:
            return json_response(Readiness(status="draining"), 503)
        if (state := engine.state) != "ok":
            return json_response(Readiness(status=state), 503)
        return json_response(
            Readiness(status="ready", room=admission.room, database=accounts.state)
        )

    return [
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
    ]
