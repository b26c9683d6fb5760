#!/usr/bin/env bash
# The weights that come with oyez, from a manifest that holds their corpora (see README.md here).
# The same recordings give the same files.
set -euo pipefail
manifest=${1:?usage: train.sh MANIFEST}
data=$(dirname "$0")/../../src/oyez/engines/emotion/data
oyez emotion train --manifest "$manifest" --corpora emodb,emogator --output "$data/open.npz"
oyez emotion train --manifest "$manifest" --corpora emodb,emogator,nemo,ravdess \
    --output "$data/research.npz"
