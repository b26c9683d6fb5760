"""One live session of `oyez listen`: audio from a source, captions on a screen, Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from oyez.cli.audio_sources import SILENT_DB, Source, SourceError, level_db
from oyez.cli.engines import on_signals, send_audio
from oyez.cli.errors import FAILED, NEVER_STARTED, CommandError
from oyez.cli.screens import REFRESH_S, Screen, Status
from oyez.client import (
    Captions,
    ClientError,
    ErrorEvent,
    Session,
    SessionOptions,
    Target,
    open_session,
)

BYTES_PER_S = 32_000


class LiveCaptions:
    """Use `run` once for each object."""

    def __init__(self, source: Source, options: SessionOptions, screen: Screen) -> None:
        self._source = source
        self._options = options
        self._screen = screen
        self._captions = Captions()
        self._sent_bytes = 0
        self._level_db = SILENT_DB
        self._ending = False
        self._signals = 0

    def run(self, server: contextlib.AbstractAsyncContextManager[Target]) -> bool:
        """Run until the source ends or Ctrl-C, and until everything is answered: return True.

        A second Ctrl-C ends it at once: return False. server: entered on the event loop of the
        session. Raises CommandError.
        """
        try:
            asyncio.run(self._run(server))
        except (asyncio.CancelledError, KeyboardInterrupt):
            return False
        except (ClientError, SourceError) as error:
            code = FAILED if self._sent_bytes else NEVER_STARTED
            raise CommandError(str(error), code) from error
        finally:
            self._screen.close()
        return True

    async def _run(self, server: contextlib.AbstractAsyncContextManager[Target]) -> None:
        main = asyncio.current_task()
        assert main is not None

        def on_signal() -> None:
            # The signals are counted: whether the audio has ended says nothing, because Ctrl-C ends
            # the other end of a pipe at the same time.
            self._signals += 1
            if self._signals > 1:
                main.cancel()
            self._ending = True
            self._source.stop()

        with on_signals(on_signal):
            async with server as target, open_session(target, self._options) as session:
                self._source.start()
                sending = asyncio.create_task(send_audio(session, self._packets()))
                refreshing = asyncio.create_task(self._refresh())
                try:
                    await self._receive(session)
                    with contextlib.suppress(ClientError):  # everything is answered
                        await sending
                finally:
                    self._source.close()
                    for task in (sending, refreshing):
                        task.cancel()
                    await asyncio.gather(sending, refreshing, return_exceptions=True)
                    for utterance in self._captions.unanswered:
                        self._screen.finished(utterance)

    async def _packets(self) -> AsyncIterator[bytes]:
        try:
            async for pcm in self._source.packets():
                self._level_db = level_db(pcm)
                self._sent_bytes += len(pcm)
                yield pcm
        finally:
            self._ending, self._level_db = True, SILENT_DB

    async def _receive(self, session: Session) -> None:
        async for event, raw in session.events():
            self._screen.event(raw)
            if isinstance(event, ErrorEvent):
                raise ClientError(event.error.message)
            utterance = self._captions.take(event)
            if utterance is not None:
                self._screen.finished(utterance)
                self._show()
        if not self._ending:
            raise ClientError(
                "the server ended the session: no audio came for too long, or the session reached "
                "the longest time that it may take"
            )

    async def _refresh(self) -> None:
        while True:
            self._show()
            await asyncio.sleep(REFRESH_S)

    def _show(self) -> None:
        audio_s = self._sent_bytes / BYTES_PER_S
        status = Status(audio_s, self._level_db, self._source.overflows, self._ending)
        self._screen.show(self._captions.current, status)
