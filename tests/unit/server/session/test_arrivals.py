from __future__ import annotations

import pytest

from oyez.server.session.session_metrics import REMEMBERED_PACKETS, Arrivals


def test_a_sample_came_with_its_packet() -> None:
    arrivals = Arrivals()
    for packet in range(10):
        arrivals.add((packet + 1) * 1600, 5.0 + packet * 0.1)
    assert arrivals.at_s(0) == 5.0
    assert arrivals.at_s(1599) == 5.0
    assert arrivals.at_s(1600) == pytest.approx(5.1)
    assert arrivals.at_s(15_999) == pytest.approx(5.9)
    assert arrivals.latest_s == pytest.approx(5.9)


def test_nothing_has_come_before_any_audio() -> None:
    assert Arrivals().at_s(0) is None


def test_one_message_of_many_slices_came_once() -> None:
    arrivals = Arrivals()
    for part in range(1000):
        arrivals.add((part + 1) * 32_768, 1.0)
    assert arrivals.at_s(0) == arrivals.at_s(20_000_000) == 1.0


def test_what_is_remembered_covers_the_reach_of_a_start_in_tiny_packets_too() -> None:
    """The first speech of a turn lies up to 1.024 s back when the turn begins."""
    arrivals = Arrivals()
    for packet in range(3000):  # of a millisecond
        arrivals.add((packet + 1) * 16, packet / 1000)
    end_s = 2.999
    assert arrivals.at_s(3000 * 16 - 1024 * 16) == pytest.approx(end_s - 1.024, abs=0.031)


def test_it_is_bounded_and_answers_with_the_earliest_it_has() -> None:
    arrivals = Arrivals()
    for packet in range(10_000):
        arrivals.add((packet + 1) * 1600, packet * 0.1)
    assert arrivals.at_s(0) == pytest.approx((10_000 - REMEMBERED_PACKETS) * 0.1)
