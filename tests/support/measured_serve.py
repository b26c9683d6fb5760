"""`oyez serve` in a process whose event loop is measured from outside: CPU time of every
iteration.

    python measured_serve.py SOCKET DELAY_S FLAGS...

A thread answers at the Unix socket: a byte brings the figures since the byte before, as a line of
JSON. DELAY_S: how long each call of the fake engine takes.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import socket
import sys
import threading
import time
from typing import Any

from oyez.cli.main import main
from oyez.engines.fake import FakeRecogniser

WORTH_NAMING_S = 0.002


class Iterations:
    """The longest iteration of the event loop, and the longest callback, in seconds of CPU."""

    def __init__(self) -> None:
        self.reset()
        self._collecting_since_s = 0.0
        self._callbacks: list[tuple[float, str]] = []
        gc.callbacks.append(self._collected)

    def reset(self) -> None:
        self.iterations = 0
        self.longest_iteration_s = 0.0
        self.longest_iteration: list[str] = []
        self.longest_callback_s = 0.0
        self.longest_callback = ""
        self.longest_collection_s = 0.0

    def measure(self) -> None:
        """Patch asyncio. Before the event loop runs."""
        handle_class: Any = asyncio.Handle
        loop_class: Any = asyncio.BaseEventLoop  # its types leave out what is private
        run_handle, run_once = handle_class._run, loop_class._run_once

        def handle(self_: Any) -> None:
            began_s = time.thread_time()
            run_handle(self_)
            took_s = time.thread_time() - began_s
            if took_s > WORTH_NAMING_S:
                self._note_callback(took_s, self_)

        def once(self_: Any) -> None:
            self._callbacks.clear()
            began_s = time.thread_time()
            run_once(self_)
            took_s = time.thread_time() - began_s
            self.iterations += 1
            if took_s > self.longest_iteration_s:
                self.longest_iteration_s = took_s
                largest = sorted(self._callbacks, reverse=True)[:3]
                self.longest_iteration = [
                    f"{1000 * cost_s:.1f} ms: {what}" for cost_s, what in largest
                ]

        handle_class._run = handle
        loop_class._run_once = once

    def figures(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def _note_callback(self, took_s: float, handle: Any) -> None:
        what = _described(handle._callback)
        self._callbacks.append((took_s, what))
        if took_s > self.longest_callback_s:
            self.longest_callback_s, self.longest_callback = took_s, what

    def _collected(self, phase: str, _: object) -> None:
        if phase == "start":
            self._collecting_since_s = time.thread_time()
            return
        took_s = time.thread_time() - self._collecting_since_s
        self.longest_collection_s = max(self.longest_collection_s, took_s)


def _described(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        return f"{getattr(callback, '__qualname__', callback)} of {type(owner).__name__}"
    frames = owner.get_stack(limit=1)
    where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "its end"
    return f"{owner.get_coro().__qualname__} up to {where}"  # type: ignore[union-attr]


def answer_at(path: str, iterations: Iterations) -> None:
    """Answer whoever connects, one at a time, for ever."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        while True:
            asker, _ = listener.accept()
            with asker:
                while asker.recv(1):
                    asker.sendall(json.dumps(iterations.figures()).encode() + b"\n")
                    iterations.reset()

    threading.Thread(target=serve, daemon=True).start()


if __name__ == "__main__":
    socket_path, delay_s, *flags = sys.argv[1:]
    iterations = Iterations()
    iterations.measure()
    answer_at(socket_path, iterations)
    FakeRecogniser.load = classmethod(  # type: ignore[method-assign,assignment]
        lambda cls, *_: cls(remembered=0, delay_s=float(delay_s))
    )
    sys.exit(functools.partial(main, ["serve", *flags])())
