"""Recognition jobs as the server makes them, without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from oyez.engines.base import Purpose, Request
from oyez.runtime.job import Job, Outcome, Urgency


def make_job(
    urgency: Urgency = Urgency.FINAL,
    *,
    owner: object = "owner",
    segment: object = 0,
    samples: int = 16_000,
    deadline_s: float = 0.0,
    callback: Callable[[Outcome], None] = lambda outcome: None,
    tenant: object = None,
    **fields: Any,
) -> Job:
    """Told apart in tests by the length of its audio, or by its owner."""
    purpose = Purpose.PARTIAL if urgency is Urgency.PARTIAL else Purpose.FINAL
    return Job(
        owner,
        "item",
        segment,
        Request(np.zeros(samples, np.float32), purpose),
        urgency,
        deadline_s,
        callback,
        tenant=tenant,
        is_replaceable=urgency in (Urgency.PARTIAL, Urgency.SPECULATIVE),
        **fields,
    )
