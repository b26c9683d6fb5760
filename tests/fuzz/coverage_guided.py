"""Coverage-guided fuzzing of one target, by atheris, which is not among the development packages:

    .venv/bin/pip install atheris
    export PYTHONPATH=tests
    .venv/bin/python tests/fuzz/coverage_guided.py TARGET -max_total_time=600 FOLDER

TARGET: see `support/fuzz_targets.py`. FOLDER takes the inputs that reach new code; what is in
`tests/fuzz/corpus` is where it begins. Options are libFuzzer's; with -merge=1 it writes what is
needed of the second folder into the first.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["oyez", "websockets"]):
    from support.fuzz_targets import TARGETS, seeds

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT_BYTES = 4096
SLOW_S = 5


def main() -> None:
    target, *options = sys.argv[1:]
    own = CORPUS / target
    if not any(option.startswith("-merge") for option in options):
        own.mkdir(parents=True, exist_ok=True)
        if not any(own.iterdir()):
            for number, seed in enumerate(seeds(target)):
                (own / f"seed-{number}").write_bytes(seed[:MAX_INPUT_BYTES])
        options.append(str(own))
    warnings.simplefilter("ignore")  # of aiohttp, about every form that is malformed
    limits = [f"-max_len={MAX_INPUT_BYTES}", f"-timeout={SLOW_S}", "-rss_limit_mb=2048"]
    again = f"{sys.executable} {__file__} {target}"  # what -merge=1 starts for its parts
    atheris.Setup([again, *limits, *options], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
