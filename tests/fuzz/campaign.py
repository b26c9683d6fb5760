"""Many mutated inputs for everything that reads bytes of strangers.

    PYTHONPATH=tests .venv/bin/python tests/fuzz/campaign.py --bytes 10000000 --messages 1000000

Ends with 1 at the first input that is a fault of oyez, and writes it to a file.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from support.fuzz_targets import TARGETS, mutated


def inputs(target: str, seed: int, least_bytes: int, least_lines: int) -> Iterator[bytes]:
    """Mutated seeds, until there are as many bytes and lines as wanted."""
    dice, sent_bytes, lines = random.Random(f"{target} {seed}"), 0, 0
    while sent_bytes < least_bytes or lines < least_lines:
        data = mutated(target, dice)
        sent_bytes += len(data)
        lines += data.count(b"\n") + 1
        yield data


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=10_000_000, help="for each target")
    parser.add_argument("--messages", type=int, default=1_000_000, help="mutated messages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, action="append")
    chosen = parser.parse_args()
    for target in chosen.target or TARGETS:
        began_s, count, total_bytes, lines = time.monotonic(), 0, 0, 0
        wanted = chosen.messages if target == "messages" else 0
        for data in inputs(target, chosen.seed, chosen.bytes, wanted):
            count, total_bytes = count + 1, total_bytes + len(data)
            lines += data.count(b"\n") + 1
            try:
                TARGETS[target](data)
            except Exception:  # noqa: BLE001 - any is what is looked for
                traceback.print_exc()
                path = Path(f"fault-{target}-{hashlib.sha256(data).hexdigest()[:12]}")
                path.write_bytes(data)
                print(f"{target}: input {count} is a fault; it is in {path}")
                return 1
        what = f"{lines} messages" if target == "messages" else f"{count} inputs"
        print(
            f"{target}: {what}, {total_bytes} bytes, {time.monotonic() - began_s:.0f} s, no fault"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
