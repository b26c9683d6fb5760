"""Transcribe a file with the client of DashScope SDK 2 (pip install 'dashscope>=2').

python examples/python_sdk_v2.py src/oyez/assets/two_cities.wav

Prints each event as a line of JSON, and END-OK once the SDK has ended the session.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from common import CHUNK_SECONDS, MODEL, parse_arguments, read_chunks
from dashscope.v2 import Client


def send(session: Any, file: Path, manual: bool) -> None:
    for chunk in read_chunks(file):
        session.append_audio(chunk)
        time.sleep(CHUNK_SECONDS)
    if manual:
        session.commit()
    session.end_session()


def main() -> None:
    arguments = parse_arguments(__doc__)
    client = Client(api_key=arguments.api_key)
    with client.audio.realtime.connect(model=MODEL, ws_url=arguments.url) as session:
        session.update_session(
            output_modalities=["text"],
            enable_turn_detection=not arguments.manual,
            transcription_params={
                "language": arguments.language,
                "sample_rate": 16000,
                "input_audio_format": "pcm",
            },
        )
        sender = threading.Thread(target=send, args=(session, arguments.file, arguments.manual))
        sender.start()
        for event in session.events():
            print(json.dumps(event, ensure_ascii=False), flush=True)
        sender.join()
    print("END-OK", flush=True)


if __name__ == "__main__":
    main()
