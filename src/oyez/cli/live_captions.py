"""One live session of `oyez listen`: audio from a source, captions on a screen, Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from oyez.cli.audio_sources import SILENT_DB, Source, SourceError, level_db
from oyez.cli.engines import captioned, on_signals
from oyez.cli.errors import FAILED, NEVER_STARTED, CommandError
from oyez.cli.screens import REFRESH_S, Screen, Status
from oyez.client import Captions, ClientError, SessionOptions, Target

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
        self._started = False
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

        refreshing = asyncio.create_task(self._refresh())
        with on_signals(on_signal):
            async with server as target:
                events = captioned(target, self._options, self._packets(), self._captions)
                try:
                    async with contextlib.aclosing(events):
                        async for raw, utterance in events:
                            self._screen.event(raw)
                            if utterance is not None:
                                self._screen.finished(utterance)
                                self._show()
                finally:
                    self._source.stop()
                    refreshing.cancel()
                    await asyncio.gather(refreshing, return_exceptions=True)
                    for unanswered in self._captions.unanswered:
                        self._screen.finished(unanswered)

    async def _packets(self) -> AsyncIterator[bytes]:
        """Start the source and yield its audio: the session is open."""
        self._source.start()
        self._started = True
        try:
            async for pcm in self._source.packets():
                self._level_db = level_db(pcm)
                self._sent_bytes += len(pcm)
                yield pcm
        finally:
            self._ending, self._level_db = True, SILENT_DB

    async def _refresh(self) -> None:
        while True:
            if self._started:
                self._show()
            await asyncio.sleep(REFRESH_S)

    def _show(self) -> None:
        audio_s = self._sent_bytes / BYTES_PER_S
        status = Status(audio_s, self._level_db, self._source.overflows, self._ending)
        self._screen.show(self._captions.current, status)
