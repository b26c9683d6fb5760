#!/usr/bin/env bash
# Trains the weights that come with oyez, from a manifest that holds their corpora (see README.md).
# The same recordings give the same files.
set -euo pipefail
manifest=$(realpath "${1:?usage: train.sh MANIFEST}")
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
data=src/oyez/engines/emotion_data
"$python" -m research.emotion.train --manifest "$manifest" \
    --corpora emodb,emogator --output "$data/open.npz"
"$python" -m research.emotion.train --manifest "$manifest" \
    --corpora emodb,emogator,nemo,ravdess --output "$data/research.npz"
