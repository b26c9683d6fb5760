"""Conversations beside a client that asks for all of the machine, in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from oyez.runtime import queue
from support.busy_machine import Flooder, Machine


@dataclass
class Figures:
    late_s: float
    """Finals, past the end of their turn: 95 of 100 are earlier."""
    final_s: float
    """From asked to answered, in the median."""
    gap_s: float
    """Between partials: 95 of 100 are shorter."""
    room: float
    flooded: int
    """Finals the floods got."""


def figures(speakers: int, floods: Sequence[str] = (), seconds: float = 15.0) -> Figures:
    """floods: the tenant of each. Those who speak are of a tenant of their own."""
    machine = Machine(assumed=0.015)
    for _ in range(speakers):
        machine.join("speakers")
    machine.run(12.0)
    flooders = [Flooder(machine, tenant) for tenant in floods]
    for speaker in machine.speakers:
        for measured in (speaker.late_s, speaker.finals_s, speaker.gaps_s):
            measured.clear()
    machine.run(12.0 + seconds)

    def quantile(share: float, lists: Sequence[list[float]]) -> float:
        return float(np.quantile(list(itertools.chain(*lists)), share))

    return Figures(
        late_s=quantile(0.95, [speaker.late_s for speaker in machine.speakers]),
        final_s=quantile(0.5, [speaker.finals_s for speaker in machine.speakers]),
        gap_s=quantile(0.95, [speaker.gaps_s for speaker in machine.speakers]),
        room=machine.room,
        flooded=sum(flooder.answered for flooder in flooders),
    )


@pytest.mark.parametrize("floods", [["flood"], ["flood"] * 20], ids=["one", "twenty of one key"])
@pytest.mark.parametrize("speakers", [4, 24])
def test_a_flood_delays_no_finals_of_others_and_takes_no_partials(
    speakers: int, floods: list[str]
) -> None:
    alone, beside = figures(speakers), figures(speakers, floods)
    assert beside.late_s <= 1.5 * alone.late_s + 0.05
    assert beside.final_s <= 1.5 * alone.final_s
    assert beside.gap_s < 2.5
    assert beside.flooded > 500, "nothing that is left over is wasted"
    assert beside.room > 5, "nor does the flood keep others out"


def test_without_a_flood_conversations_are_served_by_urgency_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fair = figures(40)
    monkeypatch.setattr(queue, "POSTPONED_S", 0.0)
    monkeypatch.setattr(queue, "MAX_LEAD", float("inf"))
    urgent = figures(40)
    assert fair.late_s <= urgent.late_s + 0.05
    assert fair.final_s == pytest.approx(urgent.final_s, rel=0.25)
    assert fair.gap_s == pytest.approx(urgent.gap_s, rel=0.25)
