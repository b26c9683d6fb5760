"""No bytes make one call of `next_windows` long: what it does is counted, and ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oyez.engines.emotion import Neutral
from oyez.protocol.client_events import AudioAppend, SessionUpdate
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.effects import Effect, Send
from oyez.protocol.errors import ClientError
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.server_events import ErrorEvent
from oyez.protocol.session import Session
from property.test_cost import calls_of
from support.opus_streams import (
    element,
    hum,
    mux,
    ogg_page,
    ogg_stream,
    opus_head,
    packets_of,
    webm_block,
    webm_stream,
    webm_track,
)

MOST_BYTES = 15 * 2**20
MOST_CALLS = 12_000
"""Of functions in one call of `next_windows`: some 3 ms on an Intel Xeon (Emerald Rapids)."""
MOST_S = 0.005
SLOWNESS = 4
"""How much slower a busy machine may be."""
MOST_SAMPLES = 2 * 16_000 + 2_000
"""And what a resampler held back."""

_PACKETS = packets_of(mux("ogg", hum(2.0)))
_TRACK = webm_track(1, b"A_OPUS", opus_head())
_SILENT_120_MS = b"\xff\x06"
_HEADS = {
    "nothing": b"",
    "ogg": ogg_stream([]),
    "ogg of another codec": ogg_stream([], head=b"\x7fFLAC\1\0\0\1fLaC"),
    "webm": webm_stream(_TRACK, b""),
    "webm without tracks": element("1a45dfa3", b"") + element("18538067", b"", unknown_size=True),
}
_PIECES = {
    "void": b"\xec\x80",
    "void of one byte": b"\xec\x81\0",
    "cluster": element("1f43b675", b"", unknown_size=True),
    "cluster's id": b"\x1f\x43\xb6\x75",
    "endless void": b"\xec\xff",
    "webm head": webm_stream(_TRACK, b""),
    "track": _TRACK,
    "block of two bytes": element("a3", webm_block(_SILENT_120_MS)),
    "corrupt block": element("a3", webm_block(b"\xff\xff\xff")),
    "block of another track": element("a3", webm_block(b"", track=2)),
    "laced block": element("a3", webm_block(b"", flags=6)),
    "picture": element("a3", webm_block(bytes(70_000), track=2)),
    "empty page": ogg_page([], b"", sequence=0, serial=9),
    "first page": ogg_page([19], opus_head(), sequence=0, flags=2),
    "page of 255 packets": ogg_page([2] * 255, _SILENT_120_MS * 255, sequence=2),
    "page of 255 corrupt packets": ogg_page([3] * 255, b"\xff\xff\xff" * 255, sequence=2),
    "page of 255 empty packets": ogg_page([0] * 255, b"", sequence=2),
    "first page of 255 packets": ogg_page([19] + [0] * 254, opus_head(), sequence=0, flags=2),
    "full page": ogg_page([255] * 255, bytes(65_025), sequence=2),
    "full page with a wrong checksum": ogg_page([255] * 255, bytes(65_025), sequence=2)[:-1] + b"x",
    "beginning of a page": b"OggS",
    "page that never ends": b"OggS" + bytes(22) + b"\xff" * 256,
    "speech": ogg_stream(_PACKETS),
    "speech in webm": b"".join(element("a3", webm_block(packet)) for packet in _PACKETS),
    "zeros": bytes(1000),
    "noise": np.random.default_rng(1).bytes(1000),
}


def _session(codec: str, rate: int = 16_000) -> Session:
    limits = SessionLimits(max_append_bytes=MOST_BYTES)
    session = Session(
        model="m",
        dialect=QwenDialect(limits),
        new_id=lambda kind: kind,
        limits=limits,
        emotions=Neutral(),
        now_ms=0,
    )
    form = {"format": {"type": codec, "rate": rate}}
    session.receive(SessionUpdate(None, {"audio": {"input": form}}), 0)
    return session


def _append(data: bytes) -> AudioAppend:
    return AudioAppend(None, data)


def _steps(session: Session, most: int) -> Iterator[tuple[float, int, list[Effect]]]:
    """CPU time of each call, how many samples it decoded, and what `scored` answered to it."""
    for _ in range(most):
        heard, began_s = session.decoded_samples, time.thread_time()
        windows = session.next_windows(64)
        took_s = time.thread_time() - began_s
        if windows is None:
            return
        effects = session.scored(np.zeros(len(windows) // 512, np.float32), 0)
        yield took_s, session.decoded_samples - heard, effects


def _long(head: str, pieces: list[str], size: int = MOST_BYTES) -> bytes:
    piece = b"".join(_PIECES[name] for name in pieces)
    return (_HEADS[head] + piece * (size // len(piece)))[:size]


@pytest.mark.parametrize("head", _HEADS)
@pytest.mark.parametrize("piece", _PIECES)
def test_each_kind_of_stream_is_decoded_in_short_calls(head: str, piece: str) -> None:
    session = _session("opus")
    session.receive(_append(_long(head, [piece], 2**17)), 0)
    steps = list(_steps(session, 9))
    assert max(samples for _, samples, _ in steps) <= MOST_SAMPLES
    times = [took_s for took_s, _, _ in steps]
    assert statistics.median(times) < SLOWNESS * MOST_S
    calls = calls_of(lambda: [*_steps(session, 1)].clear())
    assert calls < MOST_CALLS


@settings(max_examples=25, deadline=None)
@given(
    head=st.sampled_from(sorted(_HEADS)),
    pieces=st.lists(st.sampled_from(sorted(_PIECES)), min_size=1, max_size=6),
    garbage=st.binary(max_size=40),
)
def test_any_mixture_is_decoded_in_short_calls(
    head: str, pieces: list[str], garbage: bytes
) -> None:
    session = _session("opus")
    session.receive(_append(_long(head, pieces, 2**18) + garbage), 0)
    took = [took_s for took_s, _, _ in _steps(session, 30)]
    assert statistics.median(took) < SLOWNESS * MOST_S
    assert calls_of(lambda: [*_steps(session, 3)].clear()) < 3 * MOST_CALLS


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_fifteen_mebibytes_of_pcm_are_decoded_in_short_calls(rate: int) -> None:
    session = _session("pcm", rate)
    session.receive(_append(bytes(MOST_BYTES)), 0)
    assert session.encoded_bytes == MOST_BYTES
    steps = list(_steps(session, 100))
    assert max(samples for _, samples, _ in steps) <= MOST_SAMPLES
    assert statistics.median(took_s for took_s, _, _ in steps) < SLOWNESS * MOST_S


@pytest.mark.parametrize(("head", "piece"), [("webm", "void"), ("ogg", "empty page")])
def test_fifteen_mebibytes_of_nothing_hold_nobody_up(head: str, piece: str) -> None:
    session = _session("opus")
    session.receive(_append(_long(head, [piece])), 0)
    steps = list(_steps(session, 100))
    assert len(steps) == 100 and session.busy
    assert session.encoded_bytes == MOST_BYTES
    assert statistics.median(took_s for took_s, _, _ in steps) < SLOWNESS * MOST_S


def test_an_append_brings_one_error_at_most() -> None:
    session = _session("opus")
    corrupt = _HEADS["ogg"] + _PIECES["page of 255 corrupt packets"] * 3
    for data in (corrupt, _PIECES["page of 255 corrupt packets"]):
        session.receive(_append(data), 0)
        effects = [effect for _, _, effects in _steps(session, 10_000) for effect in effects]
        errors = [e for e in effects if isinstance(e, Send) and isinstance(e.event, ErrorEvent)]
        assert len(errors) == 1
        assert session.encoded_bytes == 0


def test_a_session_that_ends_drops_what_it_has_not_decoded() -> None:
    session = _session("opus")
    session.receive(_append(_long("webm", ["void"])), 0)
    assert next(_steps(session, 1))
    session.end(ClientError("The key was revoked.", code="InvalidApiKey"), 0)
    assert session.encoded_bytes == 0
    assert len(list(_steps(session, 10))) == 1
    assert session.finished
