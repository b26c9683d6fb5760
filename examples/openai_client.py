"""Transcribe a whole file over HTTP with OpenAI's own package (pip install openai).

python examples/openai_client.py src/oyez/assets/two_cities.wav

A file of sound or video. Prints the text as it is known, then sentences with times.
"""

from __future__ import annotations

import argparse
import os

from openai import APIConnectionError, OpenAI

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
parser.add_argument("--api-key", default=os.environ.get("OPENAI_API_KEY", "any"))
arguments = parser.parse_args()

client = OpenAI(base_url=arguments.url, api_key=arguments.api_key)


def transcribe(path: str) -> None:
    with open(path, "rb") as file:
        for event in client.audio.transcriptions.create(model="whisper-1", file=file, stream=True):
            if event.type == "transcript.text.delta":
                print(event.delta, end="", flush=True)
    print()

    with open(path, "rb") as file:
        answer = client.audio.transcriptions.create(
            model="whisper-1", file=file, response_format="verbose_json"
        )
    for segment in answer.segments or ():
        print(f"{segment.start:7.2f} {segment.end:7.2f}  {segment.text}")


try:
    transcribe(arguments.file)
except APIConnectionError:
    raise SystemExit(f"No server answers at {arguments.url}: start one with oyez serve.") from None
