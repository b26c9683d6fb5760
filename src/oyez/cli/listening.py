"""One live session in a terminal: audio from a source, captions on a screen, Ctrl-C to end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from typing import TYPE_CHECKING

from oyez.cli.audio_sources import SILENT_DB, Source, SourceError, level_db
from oyez.cli.caption_screen import Screen, Status
from oyez.cli.recognition import server_for
from oyez.client.captions import Captions
from oyez.client.events import Refused
from oyez.client.session import ClientError, Session, Target, Wishes, open_session

if TYPE_CHECKING:
    from oyez.runtime.loader import Engines

REFRESH_S = 0.1
BYTES_PER_S = 32_000


class Broken(Exception):
    """It ended by a fault; the message says which."""

    def __init__(self, message: str, *, began: bool) -> None:
        super().__init__(message)
        self.began = began
        """Whether there was audio before."""


class Listening:
    """Build it, then `run` once."""

    def __init__(self, source: Source, wishes: Wishes, screen: Screen) -> None:
        self._source = source
        self._wishes = wishes
        self._screen = screen
        self._captions = Captions()
        self._sent_bytes = 0
        self._level_db = SILENT_DB
        self._ending = False
        self._source_fault: SourceError | None = None

    @property
    def overflows(self) -> int:
        return self._source.overflows

    def run(self, target: Target | None, engines: Engines | None) -> bool:
        """Until the source ends or Ctrl-C, and everything said is answered: True. A second Ctrl-C
        leaves at once: False.

        target: the server; None: one in this process, with `engines`. Raises Broken.
        """
        try:
            asyncio.run(self._run(target, engines))
        except (asyncio.CancelledError, KeyboardInterrupt):
            return False
        except (ClientError, SourceError) as error:
            raise Broken(str(error), began=self._sent_bytes > 0) from error
        finally:
            self._screen.close()
        return True

    async def _run(self, target: Target | None, engines: Engines | None) -> None:
        self._end_on_signals()
        async with (
            server_for(target, engines) as place,
            open_session(place, self._wishes) as session,
        ):
            self._source.start()
            helpers = [
                asyncio.create_task(self._send(session)),
                asyncio.create_task(self._refresh()),
            ]
            try:
                await self._receive(session)
            finally:
                self._source.stop()
                for task in helpers:
                    task.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
                self._show_rest()
        if self._source_fault is not None:
            raise self._source_fault

    async def _receive(self, session: Session) -> None:
        async for event, raw in session.events():
            self._screen.event(raw)
            if isinstance(event, Refused):
                raise ClientError(event.error.message)
            over = self._captions.take(event)
            if over is not None:
                self._screen.over(over)
                self._show()
        if not self._ending:
            raise ClientError(
                "the server ended the session: it heard nothing for long, or lets none be longer"
            )

    async def _send(self, session: Session) -> None:
        # when the connection breaks, `_receive` tells
        with contextlib.suppress(ClientError):
            try:
                async for pcm in self._source.packets():
                    self._level_db = level_db(pcm)
                    await session.send(pcm)
                    self._sent_bytes += len(pcm)
            except SourceError as error:
                self._source_fault = error
            self._ending = True
            self._level_db = SILENT_DB
            await session.finish()

    async def _refresh(self) -> None:
        while True:
            self._show()
            await asyncio.sleep(REFRESH_S)

    def _show(self) -> None:
        audio_s = self._sent_bytes / BYTES_PER_S
        status = Status(audio_s, self._level_db, self._source.overflows, self._ending)
        self._screen.show(self._captions.current, status)

    def _show_rest(self) -> None:
        """What was not answered to its end is not lost."""
        for rest in self._captions.unanswered:
            self._screen.over(rest)

    def _end_on_signals(self) -> None:
        """The first ends the audio, a second everything."""
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None

        signals = itertools.count(1)

        def asked_to_end() -> None:
            # not whether the audio has ended: Ctrl-C ends the other end of a pipe at the same time
            if next(signals) > 1:
                main.cancel()
            self._ending = True
            self._source.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt comes
                loop.add_signal_handler(number, asked_to_end)
