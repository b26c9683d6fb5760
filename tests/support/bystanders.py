"""Who uses a server beside an attacker: a speaker in real time, and a prober of /healthz. They have
a process of their own, so that the attacker's work does not count as the server's delay.

    python -m support.bystanders ADDRESS KEY [CA_FILE] [WAV_FILE]

A line on the standard input begins ("begin") or ends ("end") a session with its probes; the end is
answered with a line of JSON. CA_FILE: of a server with TLS; "" for none. WAV_FILE: what is said,
again and again; without one a synthetic turn every second.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import threading
import time
import wave
from dataclasses import asdict, dataclass, field
from typing import Any

from support.blocking_websocket import TEXT, BlockingWebSocket, append, message
from support.order import COMMITTED, COMPLETED, FAILED, STOPPED

RATE = 16_000
PACKET_MS = 50
SILENCE_MS = 200
PROBE_INTERVAL_S = 0.05
PROBE_TIMEOUT_S = 5.0
FINISH_S = 15.0
TURN_OF_NOISE = (b"\x40\x1f\xc0\xe0" * (RATE * 6 // 20)) + bytes(2 * (RATE * 4 // 10))
"""0.6 s that an energy detector takes for speech, then 0.4 s of silence."""


@dataclass
class Account:
    """What the bystanders saw."""

    probes_s: list[float] = field(default_factory=list)
    """How long each answer to /healthz took, connecting included."""
    failed_probes: list[str] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    """Of each final: from the packet that ended its turn to the answer."""
    transcripts: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    finished: bool = False


class Speaker:
    """One session, paced as speech is, for as long as `talking`."""

    def __init__(self, address: str, key: str, tls: ssl.SSLContext | None, pcm: bytes) -> None:
        self._address, self._key, self._tls, self._pcm = address, key, tls, pcm
        self._ended_s: dict[str, float] = {}
        """When the packet was sent that ended the turn of an item."""

    def talk(self, talking: threading.Event, account: Account) -> None:
        packet_bytes = 2 * RATE * PACKET_MS // 1000
        packets = [
            self._pcm[at : at + packet_bytes] for at in range(0, len(self._pcm), packet_bytes)
        ]
        sent_s: list[float] = []
        turn_detection = {"type": "server_vad", "silence_duration_ms": SILENCE_MS}
        with BlockingWebSocket(
            self._address, self._key, tls=self._tls, timeout_s=FINISH_S
        ) as session:
            session.send(message("session.update", session={"turn_detection": turn_detection}))
            session.until_event("session.updated", FINISH_S)
            began_s = time.monotonic()
            # whole turns only: what is said does not depend on when the attack ends
            while talking.is_set() or len(sent_s) % len(packets):
                due_s = began_s + len(sent_s) * PACKET_MS / 1000
                self._note(session.frames(max(0.0, due_s - time.monotonic())), sent_s, account)
                if not session.send(append(packets[len(sent_s) % len(packets)])):
                    return
                sent_s.append(time.monotonic())
            session.send(message("session.finish"))
            last = session.until(lambda one: b'"session.finished"' in one.payload, FINISH_S)
            self._note(last, sent_s, account)

    def _note(self, frames: list[Any], sent_s: list[float], account: Account) -> None:
        for one in frames:
            if one.opcode != TEXT:
                continue
            event = one.event
            match event["type"]:
                case name if name == STOPPED:
                    packet = (event["audio_end_ms"] + SILENCE_MS) // PACKET_MS
                    self._ended_s[event["item_id"]] = sent_s[min(packet, len(sent_s) - 1)]
                case name if name == COMMITTED:
                    account.committed.append(event["item_id"])
                case name if name == COMPLETED:
                    account.answered.append(event["item_id"])
                    account.transcripts.append(event["transcript"])
                    ended_s = self._ended_s.get(event["item_id"], one.arrived_s)
                    account.delays_s.append(max(0.0, one.arrived_s - ended_s))
                case name if name == FAILED:
                    account.answered.append(event["item_id"])
                    account.failures.append(str(event))
                case "error":
                    account.failures.append(str(event))
                case "session.finished":
                    account.finished = True


def probe(
    address: str, tls: ssl.SSLContext | None, probing: threading.Event, account: Account
) -> None:
    """Ask for /healthz over a connection of its own, again and again."""
    host, _, port = address.rpartition(":")
    while probing.is_set():
        began_s = time.monotonic()
        connection = (
            http.client.HTTPSConnection(host, int(port), timeout=PROBE_TIMEOUT_S, context=tls)
            if tls
            else http.client.HTTPConnection(host, int(port), timeout=PROBE_TIMEOUT_S)
        )
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                account.failed_probes.append(f"HTTP {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            account.failed_probes.append(repr(error))
        finally:
            connection.close()
        account.probes_s.append(time.monotonic() - began_s)
        time.sleep(PROBE_INTERVAL_S)


def serve(address: str, key: str, ca_file: str = "", wav_file: str = "") -> None:
    """Do as the standard input says, until it ends."""
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
    pcm = TURN_OF_NOISE
    if wav_file:
        with wave.open(wav_file) as recording:
            pcm = recording.readframes(recording.getnframes())
    active = threading.Event()
    account, threads = Account(), list[threading.Thread]()
    for line in sys.stdin:
        if line.strip() == "begin":
            account = Account()
            active.set()
            speaker = Speaker(address, key, tls, pcm)
            threads = [
                threading.Thread(target=speaker.talk, args=(active, account), daemon=True),
                threading.Thread(target=probe, args=(address, tls, active, account), daemon=True),
            ]
            for thread in threads:
                thread.start()
        else:
            active.clear()
            for thread in threads:
                thread.join()
            print(json.dumps(asdict(account)), flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
