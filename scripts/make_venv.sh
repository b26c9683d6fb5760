#!/bin/sh
# Create a virtual environment with the first Python that is new enough: make_venv.sh FOLDER
# Set PYTHON to choose one yourself.
set -eu

usable() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

for python in ${PYTHON:-python3.13 python3.12 python3.11 python3 python3.14}; do
    if usable "$python"; then
        echo "Setting up $1 with $("$python" --version). The first time takes a few minutes."
        exec "$python" -m venv "$1"
    fi
done

echo "oyez needs Python 3.11 or later with its venv module; found none (tried: ${PYTHON:-python3.11 … python3.14, python3})." >&2
echo "Debian, Ubuntu: sudo apt-get install python3-venv    macOS: brew install python    or name one: make setup PYTHON=/path/to/python" >&2
exit 1
