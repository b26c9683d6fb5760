"""Start a server, stream the shipped sample through the official DashScope SDK, show the words.

Run it with `make demo`.
"""

from __future__ import annotations

import base64
import logging
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dashscope
from common import CHUNK_SECONDS, MODEL, read_chunks
from dashscope.audio.qwen_omni import (
    MultiModality,
    OmniRealtimeCallback,
    OmniRealtimeConversation,
)
from dashscope.audio.qwen_omni.omni_realtime import TranscriptionParams

SAMPLE = Path(__file__).parents[1] / "src/oyez/assets/two_cities.wav"
PROGRAM = Path(sys.executable).with_name("oyez")
READY = re.compile(r"oyez is ready: (ws://[^?\s]+)")
KEY = "demo-of-this-machine-alone"
FIRM, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


class Server:
    """`oyez serve` on a free port; what it prints is shown until it is ready, and kept."""

    def __init__(self) -> None:
        if not PROGRAM.exists():
            raise SystemExit(f"{PROGRAM} is missing: run `make setup` first")
        self.lines: list[str] = []
        self.url = ""
        self.is_settled = threading.Event()
        self.process = subprocess.Popen(
            [str(PROGRAM), "serve", "--port", "0", "--api-key", KEY, "--database", "off"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_until_ready(self) -> str:
        """Its URL. The very first start prepares the model, which takes a while."""
        start = time.monotonic()
        while not self.is_settled.wait(1):
            if sys.stdout.isatty():
                print(f"\r  … {time.monotonic() - start:.0f} s", end="", flush=True)
        if not self.url:
            raise SystemExit("The server did not start; its last words are above.")
        return self.url

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if not self.url:
                print(f"\r  {line.rstrip()}", flush=True)
            if ready := READY.search(line):
                self.url = ready[1]
                self.is_settled.set()
        self.is_settled.set()


class Screen(OmniRealtimeCallback):
    """Shows one growing line per turn: confirmed text firm, the tentative rest dim."""

    def __init__(self) -> None:
        self.finals: list[str] = []
        self.stopped_at: dict[str, float] = {}
        self.shown = ""

    def on_event(self, response: dict[str, Any]) -> None:
        kind = response["type"].rpartition(".")[2]
        if kind == "text":
            self.show_partial(response["text"], response["stash"])
        elif kind == "speech_stopped":
            self.stopped_at[response["item_id"]] = time.monotonic()
        elif kind == "completed":
            self.show_final(response)
        elif kind in ("error", "failed"):
            print(f"\nThe server reports: {response['error']['message']}", flush=True)

    def show_partial(self, text: str, stash: str) -> None:
        if sys.stdout.isatty():
            room = shutil.get_terminal_size().columns - 4
            cut = max(0, len(text + stash) - room)  # the end is where things happen
            firm, soft = text[cut:], stash[max(0, cut - len(text)) :]
            print(f"\r\033[K  {FIRM}{firm}{PLAIN}{DIM}{soft}{PLAIN}", end="", flush=True)
        elif (line := f"  {text}|{stash}") != self.shown:
            self.shown = line
            print(line, flush=True)

    def show_final(self, event: dict[str, Any]) -> None:
        stopped_at = self.stopped_at.pop(event["item_id"], time.monotonic())
        delay_ms = (time.monotonic() - stopped_at) * 1000
        if event["transcript"]:
            self.finals.append(event["transcript"])
        clear = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{clear}▸ {FIRM}{event['transcript']}{PLAIN}")
        facts = f"language {event['language']} · emotion {event['emotion']}"
        print(f"  {DIM}{facts} · final {delay_ms:.0f} ms after speech_stopped{PLAIN}", flush=True)


def stream(url: str, screen: Screen) -> None:
    """Send the sample in real time: a tenth of a second of sound every tenth of a second."""
    dashscope.api_key = KEY
    conversation = OmniRealtimeConversation(model=MODEL, url=url, callback=screen)
    conversation.connect()
    try:
        conversation.update_session(
            output_modalities=[MultiModality.TEXT],
            turn_detection_silence_duration_ms=400,
            transcription_params=TranscriptionParams(sample_rate=16000, input_audio_format="pcm"),
        )
        start = time.monotonic()
        for number, chunk in enumerate(read_chunks(SAMPLE), start=1):
            conversation.append_audio(base64.b64encode(chunk).decode("ascii"))
            time.sleep(max(0.0, start + number * CHUNK_SECONDS - time.monotonic()))
        conversation.end_session()
    finally:
        conversation.close()


def main() -> None:
    logging.basicConfig()  # the SDK logs why it could not connect
    print("Starting the server", flush=True)
    server = Server()
    screen = Screen()
    try:
        url = server.wait_until_ready()
        print(f"Streaming {SAMPLE.name} in real time through the DashScope SDK\n", flush=True)
        stream(url, screen)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        print("".join(server.lines[-20:]), file=sys.stderr)
        raise SystemExit(
            f"The session failed: {error}\nThe server's last words are above; "
            "`make test` tells which part is broken."
        ) from error
    finally:
        server.stop()
    if not screen.finals:
        raise SystemExit("Nothing was recognised. Try `make test`: it tells which part fails.")
    print("\nThat is all. To keep a server running: make run. More clients: examples/.")


if __name__ == "__main__":
    main()
