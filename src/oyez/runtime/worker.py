"""Runs one batch on one engine and turns every way of failing into an answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from oyez.engines.base import Hypothesis, Recogniser, RecognitionError, Request

Outcome = Hypothesis | Exception
"""What a job ends in: the words, or why there are none."""

log = logging.getLogger(__name__)


class EngineLost(RecognitionError):
    """The engine ended while it worked on the call: nothing is known of any of its requests."""


class EngineAway(EngineLost):
    """The engine has ended and is not back yet: the call has not begun."""


def run_batch(recogniser: Recogniser, requests: Sequence[Request]) -> list[Outcome]:
    """Answer every request, in order. Whatever the engine raises becomes an answer, SystemExit
    included; EngineLost alone is raised again.

    When the engine fails as a whole, each request is tried alone, so that a bad one harms
    only itself.
    """
    try:
        return _call(recogniser, requests)
    except EngineLost:
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything
        fields = {"requests": len(requests)}
        log.warning("the engine failed on a batch", extra={"fields": fields, "rate_limit": True})
        if len(requests) == 1:
            return [_as_recognition_error(error)]
        return [outcome for request in requests for outcome in run_batch(recogniser, [request])]


def _call(recogniser: Recogniser, requests: Sequence[Request]) -> list[Outcome]:
    answers = recogniser.recognise(requests)
    if len(answers) != len(requests):
        raise RecognitionError(f"{len(requests)} requests, {len(answers)} answers")
    return list(answers)


def _as_recognition_error(error: BaseException) -> RecognitionError:
    if isinstance(error, RecognitionError):
        return error
    log.error("the engine raised", exc_info=error, extra={"rate_limit": True})
    wrapped = RecognitionError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
