"""Files that are no sound, sent to be transcribed."""

from __future__ import annotations

import io
import random
import socket
import wave
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from property.strategies import spoiled
from support.adversary import ATTACKER, MeasuredServer, bystanders, for_seconds
from support.hostile_inputs import (
    AUDIO,
    ogg_streams,
    picture,
    session_description,
    webm_streams,
)
from support.opus_streams import hum, mux
from support.raw_http import ask, post, status, upload

PLAYLISTS = {
    "m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:%d/a.ts\n",
    "ffconcat": b"ffconcat version 1.0\nfile 'http://127.0.0.1:%d/a.wav'\n",
    "DASH": b'<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>'
    b"http://127.0.0.1:%d/</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "M3U of a file": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n# %d\n",
}
REFUSED = (400, 429, 503)
PATIENCE_S = 20.0


def sent(server: MeasuredServer, file: bytes) -> int:
    return status(ask(server.address, upload(ATTACKER, file), seconds=PATIENCE_S))


def test_pictures(server: MeasuredServer, attack_s: float) -> None:
    """2 MB that would be 2 GB of points."""
    file = picture()

    def attack() -> None:
        with ThreadPoolExecutor(2) as two:
            for _ in for_seconds(attack_s):
                assert set(two.map(lambda _: sent(server, file), range(2))) <= set(REFUSED)

    with bystanders(server) as watch:
        watch.attack("pictures", attack)


@pytest.mark.parametrize("tracks", [1, 300])
def test_session_descriptions(server: MeasuredServer, tracks: int) -> None:
    """They are refused before a socket is opened: the ports are free for us meanwhile."""
    with bystanders(server):
        port = free_udp_port()
        before = server.descriptors
        with ThreadPoolExecutor(1) as one:
            answer = one.submit(sent, server, session_description(port, tracks))
            while not answer.done():
                assert server.descriptors < before + 16
                with closing(socket.socket(type=socket.SOCK_DGRAM)) as ours:
                    ours.bind(("127.0.0.1", port))
        assert answer.result() == 400


def free_udp_port() -> int:
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]) & ~1


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists_open_nothing(server: MeasuredServer, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap, bystanders(server):
        trap.setblocking(False)
        assert sent(server, PLAYLISTS[kind] % trap.getsockname()[1]) == 400
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_streams_that_are_dear_to_decode(server: MeasuredServer, attack_s: float) -> None:
    """The same bytes that make trouble over a WebSocket."""
    with bystanders(server) as watch:
        for name in ("WebM of void elements", "WebM of corrupt packets", "Ogg of tiny packets"):
            file = AUDIO[name]()[:100_000]
            watch.attack(name, partial(taken_or_refused, server, file))


def taken_or_refused(server: MeasuredServer, file: bytes) -> None:
    assert sent(server, file) in (200, *REFUSED)


def test_clients_that_leave(server: MeasuredServer, attack_s: float) -> None:
    """Files that take long, from clients that do not wait: what comes next is served."""
    file = AUDIO["Ogg of tiny packets"]()
    with bystanders(server):
        for _ in for_seconds(attack_s):
            ask(server.address, upload(ATTACKER, file), seconds=0.1)
        assert sent(server, b"no audio") == 400


def a_wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(random.Random(1).randbytes(16_000))
    return file.getvalue()


def test_generated_files(server: MeasuredServer, attack_s: float) -> None:
    whole = st.sampled_from([a_wav(), mux("ogg", hum(0.3)), mux("webm", hum(0.3))])
    damaged = whole.flatmap(lambda file: spoiled(file, 4))
    files = st.one_of(damaged, ogg_streams(), webm_streams(), st.binary(max_size=300))
    with bystanders(server) as watch:

        @settings(max_examples=round(10 * attack_s), deadline=None, database=None)
        @given(files)
        def run(file: bytes) -> None:
            def attack() -> None:
                # some bytes are hours of sound: whoever sent them does not wait for the end
                answer = ask(server.address, upload(ATTACKER, file), seconds=0.5)
                assert status(answer) in (0, 200, *REFUSED)

            assert watch.is_cheap(attack)

        run()


def test_no_more_than_a_file(server: MeasuredServer) -> None:
    """An upload that ends early leaves nothing."""
    half = post(
        ATTACKER, "multipart/form-data; boundary=b", upload("", a_wav())[:5000], claimed_bytes=10**6
    )
    with bystanders(server):
        for _ in range(20):
            ask(server.address, half, seconds=0.05)
