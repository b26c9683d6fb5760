"""A pipe that can be left while a thread waits for what comes out of it."""

from __future__ import annotations

import contextlib
import os
import select
from typing import BinaryIO


class PipeInput:
    """Reads a pipe without a buffer of its own: each read gives what is there.

    A thread that waits in Python's own reader can neither be ended nor left behind: the
    interpreter aborts where it finds that reader's lock taken.
    """

    def __init__(self, file: BinaryIO) -> None:
        """file: stays open, and nothing was read from it yet."""
        self._descriptor = file.fileno()
        self._left, self._leave = os.pipe()

    def read(self, size: int) -> bytes:
        """At least a byte, if it takes long; empty at the end and once it was left."""
        ready, _, _ = select.select([self._descriptor, self._left], [], [])
        return b"" if self._left in ready else os.read(self._descriptor, size)

    def seekable(self) -> bool:
        return False

    def leave(self) -> None:
        """End the read that waits, and every later one."""
        with contextlib.suppress(OSError):  # left before
            os.close(self._leave)
            self._leave = -1

    def close(self) -> None:
        """After the last read; the pipe itself stays open."""
        self.leave()
        os.close(self._left)
