"""Python runs this first where this folder is on its path: the fake engine then does what the
context of a request asks for. So faults can be had in the process of an engine."""

from __future__ import annotations

import ctypes
import logging
import os
import time

from oyez.engines import fake
from oyez.engines.base import Hypothesis, Request

_answer = fake.FakeRecogniser._answer


def _faulty(self: fake.FakeRecogniser, request: Request) -> Hypothesis:
    match request.context:
        case "segmentation fault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "exit":
            os._exit(3)
        case "hang":
            time.sleep(1e6)
        case "raise":
            raise ZeroDivisionError("of the engine")
        case "warn":
            logging.getLogger("oyez.engines.fake").warning(
                "from afar", extra={"fields": {"answer": 42}}
            )
    return _answer(self, request)


fake.FakeRecogniser._answer = _faulty  # type: ignore[method-assign]
