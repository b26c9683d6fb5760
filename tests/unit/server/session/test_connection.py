from __future__ import annotations

import pytest

from oyez.server.session.connection import TRANSITIONS, State


def test_every_state_has_its_transitions_and_only_leads_on() -> None:
    order = list(State)
    assert set(TRANSITIONS) == set(order)
    for state, following in TRANSITIONS.items():
        assert all(order.index(each) > order.index(state) for each in following)


@pytest.mark.parametrize("state", [each for each in State if each is not State.CLOSED])
def test_a_socket_may_be_gone_at_any_time(state: State) -> None:
    assert State.CLOSED in TRANSITIONS[state]
