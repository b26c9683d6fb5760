"""Transcribe a file over a plain WebSocket (pip install websocket-client).

python examples/websocket_client.py src/oyez/assets/two_cities.wav

Prints each event as a line of JSON, and END-OK once the session has ended.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import threading
import time

import websocket
from common import CHUNK_SECONDS, MODEL, parse_arguments, read_chunks


class Client:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.finished = False
        self.app = websocket.WebSocketApp(
            f"{arguments.url}?model={MODEL}",
            header=[f"Authorization: Bearer {arguments.api_key}", "OpenAI-Beta: realtime=v1"],
            on_open=self.configure,
            on_message=self.receive,
            on_error=lambda app, error: print(f"error: {error}", file=sys.stderr),
        )

    def run(self) -> None:
        threading.Thread(target=self.send_audio, daemon=True).start()
        self.app.run_forever()
        if not self.finished:
            raise SystemExit("the connection ended before session.finished")
        print("END-OK", flush=True)

    def configure(self, app: websocket.WebSocketApp) -> None:
        language = self.arguments.language
        vad = {"type": "server_vad", "threshold": 0.0, "silence_duration_ms": 400}
        session = {
            "modalities": ["text"],
            "input_audio_format": "pcm",
            "sample_rate": 16000,
            "input_audio_transcription": {"language": language} if language else {},
            "turn_detection": None if self.arguments.manual else vad,
        }
        self.send({"event_id": "event_123", "type": "session.update", "session": session})

    def send_audio(self) -> None:
        time.sleep(3)  # long enough for the session to be configured
        for number, chunk in enumerate(read_chunks(self.arguments.file)):
            self.send(
                {
                    "event_id": f"event_{number}",
                    "type": "input_audio_buffer.append",
                    "audio": base64.b64encode(chunk).decode("ascii"),
                }
            )
            time.sleep(CHUNK_SECONDS)
        if self.arguments.manual:
            self.send({"event_id": "event_789", "type": "input_audio_buffer.commit"})
        self.send({"event_id": "event_987", "type": "session.finish"})

    def receive(self, app: websocket.WebSocketApp, message: str) -> None:
        event = json.loads(message)
        print(json.dumps(event, ensure_ascii=False), flush=True)
        if event["type"] == "session.finished":
            self.finished = True
            app.close()

    def send(self, event: dict[str, object]) -> None:
        self.app.send(json.dumps(event))


if __name__ == "__main__":
    Client(parse_arguments(__doc__)).run()
