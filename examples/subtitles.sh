#!/bin/sh
# Subtitles of any recording or film, with curl alone:  examples/subtitles.sh FILE > FILE.srt
set -eu
curl --silent --show-error --fail-with-body \
    "${SERVER:-http://127.0.0.1:8080}/v1/audio/transcriptions" \
    --header "Authorization: Bearer ${API_KEY:-any}" \
    --form file=@"$1" \
    --form response_format=srt
