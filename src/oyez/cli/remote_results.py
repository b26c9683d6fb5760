"""A file through a server: the same results as of one transcribed in this process, without the
times of words, which the protocol does not tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator

from oyez.audio.pcm import SAMPLE_RATE, Samples, samples_to_pcm16
from oyez.client.captions import Captions, Utterance
from oyez.client.events import Refused
from oyez.client.session import ClientError, Session, Target, Wishes, open_session
from oyez.files.results import Partial, Progress, Result, Segment

PACKET_SAMPLES = SAMPLE_RATE
"""A second: small beside any server's limit of an append."""


async def remote_results(
    target: Target, wishes: Wishes, blocks: Iterator[Samples]
) -> AsyncGenerator[Result]:
    """As `Transcriber.transcribe`; what `blocks` raise is raised here. Raises ClientError."""
    captions = Captions()
    async with open_session(target, wishes) as session:
        sending = asyncio.create_task(_send(session, blocks))
        try:
            async for event, _ in session.events():
                if sending.done() and sending.exception():
                    break
                if isinstance(event, Refused):
                    raise ClientError(event.error.message)
                if over := captions.take(event):
                    for result in _results(over):
                        yield result
                elif current := captions.current:
                    yield Partial(current[-1].text, current[-1].tentative, current[-1].language)
            sent_s = await sending
            yield Progress(sent_s)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(session: Session, blocks: Iterator[Samples]) -> float:
    """Seconds sent. The session is asked to end, also where the file breaks off."""
    sent_samples = 0
    try:
        while (block := await _next(blocks)) is not None:
            for start in range(0, len(block), PACKET_SAMPLES):
                packet = block[start : start + PACKET_SAMPLES]
                await session.send(samples_to_pcm16(packet).tobytes())
                sent_samples += len(packet)
    except Exception:
        with contextlib.suppress(ClientError):
            await session.finish()
        raise
    await session.finish()
    return sent_samples / SAMPLE_RATE


async def _next(blocks: Iterator[Samples]) -> Samples | None:
    fetching = asyncio.ensure_future(asyncio.to_thread(next, blocks, None))
    try:
        return await asyncio.shield(fetching)
    except asyncio.CancelledError:
        # whoever cancels closes the file next, which must not be read meanwhile
        await asyncio.gather(fetching, return_exceptions=True)
        raise


def _results(over: Utterance) -> Iterator[Result]:
    start_s = over.start_s or 0.0
    end_s = start_s if over.end_s is None else over.end_s
    if over.text or over.failure:
        yield Segment(start_s, end_s, over.text, over.language, over.emotion, (), over.failure)
    yield Progress(end_s)
