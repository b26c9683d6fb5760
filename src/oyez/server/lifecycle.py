"""The life of a server process: prepare, load, listen, serve, drain, exit.

`run_server` does what must happen before the event loop runs, because it blocks; `_serve` is the
rest, on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from aiohttp import web

from oyez import __version__
from oyez.accounts.database import OFF, DatabaseError
from oyez.metrics import Metrics
from oyez.runtime.loader import Engines, LoadError, load_engines
from oyez.server.access.access import Access
from oyez.server.access.callers import Accounts
from oyez.server.app import Server
from oyez.server.process import resources, supervision
from oyez.server.process.connections import limit_bad_request_logs
from oyez.server.process.event_loop import new_event_loop
from oyez.server.process.listening import ListenError, Listening, bind
from oyez.server.process.supervision import Reloadable, ServiceManager
from oyez.server.process.tls import Certificate
from oyez.server.realtime import PATH
from oyez.settings import Settings, service_manager

THREADS_STOP_S = 2.0
"""How long the engine's threads may take to stop."""
LOST_DRAIN_S = 5.0
"""How long a shutdown takes after the engine is lost. There are no finals to wait for."""
LOST_EXIT_S = 30.0
"""The process is aborted this long after the engine is lost, even if native code still runs."""
LEDGER_STOP_S = 5.0
"""How long the last usage records may take to reach the database."""
EXAMPLE_MODEL = "qwen3-asr-flash-realtime"
"""The model's name in the URL that is shown to the operator."""

log = logging.getLogger(__name__)


class StartupError(Exception):
    """The server could not start; the message says what to do."""


class EngineLostError(Exception):
    """The engine does not come back. The server has shut down so that it is started again."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is made before the event loop runs."""

    settings: Settings
    listener: socket.socket
    certificate: Certificate | None
    reloadables: list[Reloadable]
    accounts: Accounts
    engines: Engines
    metrics: Metrics
    manager: ServiceManager


def run_server(settings: Settings, show: Callable[[str], None]) -> None:
    """Run a server until SIGTERM or SIGINT; a second signal ends it without waiting for turns.

    SIGHUP reloads keys and the certificate. A service manager is kept informed.

    Args:
        settings: All settings.
        show: Takes progress lines for the operator.

    Raises:
        SettingsError: Keys or certificate cannot be used. Raised before the server listens.
        StartupError: The port is taken, the database does not answer, or the model is missing.
            Raised before the server listens.
        EngineLostError: The engine was lost. Raised after the server has shut down.
    """
    limit_bad_request_logs()
    log.info("starting", extra={"fields": {"version": __version__, **settings.changed()}})
    for package in resources.outdated_packages():
        log.warning("%s: not what oyez was made for; install it again", package)
    manager = ServiceManager(*service_manager())

    def show_progress(line: str) -> None:
        show(line)
        manager.report(line)

    # Everything that can be wrong is found before seconds are spent on loading the model.
    settings.keys()
    reloadables: list[Reloadable] = []
    certificate = None
    if settings.tls_cert and settings.tls_key:
        files = settings.tls_cert, settings.tls_key, settings.tls_key_password_file
        certificate = Certificate(*files)
        reloadables.append(Reloadable("certificate", certificate.reload, *files))
    metrics = Metrics()
    try:
        with ExitStack() as stack:
            listener = stack.enter_context(bind(settings.host, settings.port))
            accounts = Accounts(settings, metrics)
            stack.callback(accounts.close, LEDGER_STOP_S)
            # The model is loaded before the event loop runs, so a signal ends loading at once.
            supervision.exit_on_sigterm()
            engines = load_engines(settings, show_progress, in_own_process=True)
            stack.enter_context(closing(engines))
            _check_memory(settings.max_memory_mb, engines)
            prepared = _Prepared(
                settings, listener, certificate, reloadables, accounts, engines, metrics, manager
            )
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(_serve(prepared, show))
    except (ListenError, DatabaseError, LoadError) as error:
        raise StartupError(str(error)) from error


def _check_memory(max_memory_mb: int, engines: Engines) -> None:
    """Raise StartupError if `max_memory_mb` leaves no memory for a single session."""
    if not max_memory_mb:
        return
    try:
        used_mb = resources.resident_mb(engines.pid)
    except OSError as error:
        raise StartupError(f"max_memory_mb: the memory in use is not known: {error}") from error
    if used_mb >= max_memory_mb:
        raise StartupError(
            f"max_memory_mb is {max_memory_mb}, but {used_mb:.0f} MiB are in use before the first "
            "session: raise it"
        )


async def _serve(prepared: _Prepared, show: Callable[[str], None]) -> None:
    settings, manager, certificate = prepared.settings, prepared.manager, prepared.certificate

    # Startup: from now on signals are handled by the event loop.
    stops = supervision.count_stop_signals()
    server = Server(settings, prepared.engines, prepared.metrics, prepared.accounts)
    reloadables = [
        *prepared.reloadables,
        Reloadable("keys", server.access.callers.reload, settings.api_keys_file),
    ]
    if settings.database != OFF:
        reloadables.append(Reloadable("database", prepared.accounts.reload))
    supervision.on_sighup(reloadables, stop=stops.release)
    runner = web.AppRunner(
        server.app,
        access_log=None,
        shutdown_timeout=1.0,
        auto_decompress=False,  # a few compressed bytes could become gigabytes
        keepalive_timeout=settings.keepalive_timeout_s,
    )
    await runner.setup()
    assert runner.server is not None
    background: list[asyncio.Task[None]] = []
    try:
        # Accept connections, and announce that the server is ready.
        context = certificate.context if certificate else None
        accepting = Listening(prepared.listener, runner.server, server.connections, tls=context)
        resources.freeze_loaded_objects()
        url = _announce(prepared.listener, settings, server.access, show)
        manager.report(f"listening on {url}", "READY")
        jobs = [
            *(each.watch() for each in reloadables),
            manager.keep_alive(lambda: server.engine_watch.is_alive),
            resources.tidy_memory(server.connections),
            *([certificate.watch()] if certificate else []),
        ]
        background += map(asyncio.create_task, jobs)

        # Serve until a signal comes, or until the engine is lost.
        await _wait_for_first(stops.acquire(), server.engine_watch.lost.wait())
        if is_lost := server.engine_watch.lost.is_set():
            await _fail_recognition(server)

        # Drain: refuse new sessions, and finish the open ones.
        log.info("draining: finishing what was said")
        manager.report(f"finishing {len(server.realtime.connections)} sessions", "STOPPING")
        await _drain(server, LOST_DRAIN_S if is_lost else settings.drain_timeout_s, stops)

        # Stop accepting connections; until now they got an answer that says why not.
        await accepting.close()
    finally:
        # Close what is still open, then the threads of the engine.
        await runner.cleanup()
        await asyncio.to_thread(server.realtime.stop, THREADS_STOP_S)
        for task in background:
            task.cancel()
    log.info("stopped")
    if is_lost:
        raise EngineLostError("the engine does not answer any more: see the log")


def _announce(
    listener: socket.socket, settings: Settings, access: Access, show: Callable[[str], None]
) -> str:
    """Show the operator where the server listens and who may use it. Returns the URL."""
    for line in access.remarks():
        log.warning(line)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "0.0.0.0"
    port = listener.getsockname()[1]
    secure = "s" if settings.tls_cert else ""
    if access.requires_key:
        show("callers need an API key")
    if settings.web_page:
        show(f"web page: http{secure}://{host}:{port}/")
    url = f"ws{secure}://{host}:{port}{PATH}"
    show(f"oyez is ready: {url}?model={EXAMPLE_MODEL}")
    return url


async def _fail_recognition(server: Server) -> None:
    """Stop the scheduler, so that every item that waits for the engine fails, and every later one
    too. The process is aborted after `LOST_EXIT_S` even if native code does not return."""
    log.critical("the engine is lost: leaving, to be started again")
    abort_later = threading.Timer(LOST_EXIT_S, os.abort)
    abort_later.daemon = True
    abort_later.start()
    await asyncio.to_thread(server.realtime.scheduler.stop, 0.0)


async def _drain(server: Server, timeout_s: float, stops: asyncio.Semaphore) -> None:
    """Finish sessions and files for at most `timeout_s`, or until another signal to stop comes."""
    draining = asyncio.create_task(server.drain(timeout_s))
    await _wait_for_first(draining, stops.acquire())
    if not draining.done():
        log.warning("second signal: leaving at once")
        await server.drain(0.0)


async def _wait_for_first(*waits: Awaitable[object]) -> None:
    """Wait until one of them is done, and cancel the others."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
