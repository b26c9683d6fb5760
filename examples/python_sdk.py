"""Transcribe a file with the official DashScope SDK (pip install 'dashscope>=1.25.6').

python examples/python_sdk.py src/oyez/assets/two_cities.wav

Prints each event as a line of JSON, and END-OK once the SDK has ended the session.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import Any

import dashscope
from common import CHUNK_SECONDS, MODEL, parse_arguments, read_chunks
from dashscope.audio.qwen_omni import (
    MultiModality,
    OmniRealtimeCallback,
    OmniRealtimeConversation,
)
from dashscope.audio.qwen_omni.omni_realtime import TranscriptionParams


class PrintEvents(OmniRealtimeCallback):
    def on_event(self, response: dict[str, Any]) -> None:
        print(json.dumps(response, ensure_ascii=False), flush=True)


def main() -> None:
    arguments = parse_arguments(__doc__)
    logging.basicConfig()  # the SDK logs why it could not connect
    dashscope.api_key = arguments.api_key
    conversation = OmniRealtimeConversation(model=MODEL, url=arguments.url, callback=PrintEvents())
    conversation.connect()
    conversation.update_session(
        output_modalities=[MultiModality.TEXT],
        enable_input_audio_transcription=True,
        enable_turn_detection=not arguments.manual,
        transcription_params=TranscriptionParams(
            language=arguments.language, sample_rate=16000, input_audio_format="pcm"
        ),
    )
    try:
        for chunk in read_chunks(arguments.file):
            conversation.append_audio(base64.b64encode(chunk).decode("ascii"))
            time.sleep(CHUNK_SECONDS)
        if arguments.manual:
            conversation.commit()
        conversation.end_session()
    finally:
        conversation.close()
    print("END-OK", flush=True)


if __name__ == "__main__":
    main()
