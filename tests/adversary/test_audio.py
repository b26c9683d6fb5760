"""Audio that decodes to nothing, to hours, or to errors: cheap to send, dear to look through."""

from __future__ import annotations

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from support.adversary import MeasuredServer, Watch, bystanders, for_seconds
from support.blocking_websocket import append, message
from support.hostile_inputs import AUDIO, ogg_streams, opus_packets, webm_streams

OPUS = message("session.update", session={"input_audio_format": "opus"})


def stream(server: MeasuredServer, chunk: bytes, seconds: float) -> None:
    """Append the same chunk again and again, as fast as the server takes it."""
    once = append(chunk)
    with server.session() as session:
        session.send(OPUS)
        for _ in for_seconds(seconds):
            if not session.send(once, timeout_s=seconds):
                break


def test_audio_that_is_dear_to_decode(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:
        for name, chunk in AUDIO.items():
            watch.attack(name, partial(stream, server, chunk(), attack_s / 2))


def test_bare_packets(server: MeasuredServer, attack_s: float) -> None:
    """Without a container each message is a packet."""

    def attack() -> None:
        with server.session() as session:
            session.send(OPUS)
            for _ in for_seconds(attack_s):
                session.send(append(b"\xfb\x06") * 500, timeout_s=attack_s)

    with bystanders(server) as watch:
        watch.attack("bare packets", attack)


def test_generated_streams(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:
        generated(server, watch, round(30 * attack_s))


def generated(server: MeasuredServer, watch: Watch, examples: int) -> None:
    packets = st.lists(opus_packets(), min_size=1, max_size=3)
    chunks = st.one_of(packets, st.tuples(ogg_streams()), st.tuples(webm_streams()))

    @settings(max_examples=examples, deadline=None, database=None)
    @given(chunks)
    def run(chunks: list[bytes] | tuple[bytes]) -> None:
        def attack() -> None:
            with server.session() as session:
                session.send(OPUS, *[append(chunk) for chunk in chunks], timeout_s=2)
                session.send(message("session.finish"))
                # a few bytes may be hours of sound: whoever sent them does not wait for the end
                session.until(lambda one: b"session.finished" in one.payload, 1)

        assert watch.is_cheap(attack)

    run()
